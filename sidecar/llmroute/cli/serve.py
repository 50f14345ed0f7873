"""`llmroute serve FILE...`: the sidecar, on a laptop or in a pod."""

import argparse
import asyncio
import gc
import logging
import signal
from pathlib import Path
from random import Random

import uvloop

from llmroute.server import sidecar
from llmroute.settings import Settings
from llmroute.spec import Duration, Quantity

SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = logging.getLogger("llmroute")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `serve`; the defaults are those of Settings."""
    default = Settings()
    add = parser.add_argument
    add("files", nargs="+", type=Path, metavar="FILE", help="YAML files with LLMRoutes, and Secrets for their keys")
    add(
        "--listen",
        type=address,
        metavar="HOST:PORT",
        default=(default.listen_host, default.listen_port),
        help="where apps call (default 127.0.0.1:4000, and [::1]:4000)",
    )
    add(
        "--admin",
        type=address,
        metavar="HOST:PORT",
        default=(default.admin_host, default.admin_port),
        help="metrics, probes and /status (default 127.0.0.1:4001)",
    )
    add("--secrets-dir", metavar="DIR", help="keys as files: DIR/<secret name>/<key>; re-read when they change")
    add("--ca-file", metavar="PEM", help="certificate authorities to trust besides the system's")
    add("--max-body", type=Quantity.parse, default=default.max_body, metavar="SIZE", help="largest body (default 32Mi)")
    add(
        "--max-buffer",
        type=Quantity.parse,
        default=default.max_buffer,
        metavar="SIZE",
        help="bytes buffered over all requests; more get 503 (default 64Mi)",
    )
    add("--body-timeout", type=Duration.parse, default=default.body_timeout, metavar="TIME", help="default 30s")
    add("--header-timeout", type=Duration.parse, default=default.header_timeout, metavar="TIME", help="default 10s")
    add("--drain-timeout", type=Duration.parse, default=default.drain_timeout, metavar="TIME", help="default 30s")
    add("--allow-host", action="append", default=[], metavar="NAME", help="a Host name besides loopback's to answer to")
    add("--allow-origin", action="append", default=[], metavar="ORIGIN", help="a web origin that may call")
    add("--no-access-log", action="store_true", help="no line per request")


def address(text: str) -> tuple[str, int]:
    """`127.0.0.1:4000`, `[::1]:4000` or `:4000`."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"expected HOST:PORT, got {text!r}")
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; then drain, until the next one."""
    settings = Settings(
        listen_host=arguments.listen[0],
        listen_port=arguments.listen[1],
        admin_host=arguments.admin[0],
        admin_port=arguments.admin[1],
        secrets_dir=arguments.secrets_dir,
        ca_file=arguments.ca_file,
        max_body=arguments.max_body,
        max_buffer=arguments.max_buffer,
        header_timeout=arguments.header_timeout,
        body_timeout=arguments.body_timeout,
        drain_timeout=arguments.drain_timeout,
        allowed_hosts=tuple(arguments.allow_host),
        allowed_origins=tuple(arguments.allow_origin),
        access_log=not arguments.no_access_log,
    )
    uvloop.run(_serve(settings, arguments.files))
    return 0


async def _serve(settings: Settings, files: list[Path]) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in SIGNALS:
        loop.add_signal_handler(number, stop.set)
    async with sidecar(settings, files, Random()) as running:
        # What start-up built lives as long as the process: collections need not look at it again.
        gc.collect()
        gc.freeze()
        log.info("serving on http://%s:%d/v1", settings.listen_host, running.app_port)
        log.info("metrics and /status on http://%s:%d", settings.admin_host, running.admin_port)
        await stop.wait()
        log.info("draining; again to stop now")
        for number in SIGNALS:
            loop.add_signal_handler(number, running.stop_now)
