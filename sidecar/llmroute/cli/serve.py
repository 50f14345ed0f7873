"""`llmroute serve FILE...`: the sidecar, on a laptop or in a pod."""

import argparse
import asyncio
import gc
import logging
import os
import signal
from pathlib import Path
from random import Random

import uvloop

from llmroute.server import sidecar
from llmroute.settings import Pod, Settings
from llmroute.spec import Duration, Quantity

SIGNALS = (signal.SIGTERM, signal.SIGINT)
LEVELS = ("debug", "info", "warning", "error")

log = logging.getLogger("llmroute")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `serve`; the defaults are those of Settings."""
    default = Settings()
    add = parser.add_argument
    either = parser.add_mutually_exclusive_group(required=True).add_argument
    told = "YAML files with LLMRoutes, and Secrets for their keys"
    either("files", nargs="*", type=Path, default=[], metavar="FILE", help=told)
    either("--pod", metavar="DIR", help="in a pod, instead of files: what is mounted there (POD_NAME, POD_NAMESPACE)")
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
        default=("", default.admin_port),
        help="metrics, probes and /status (default 127.0.0.1:4001; with --pod all addresses)",
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
    add("--log-level", choices=LEVELS, default=default.log_level, help="least level of what is logged (default info)")
    add("--no-access-log", action="store_true", help="no line per request")


def address(text: str) -> tuple[str, int]:
    """`127.0.0.1:4000`, `[::1]:4000` or `:4000`, whose host is empty."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"expected HOST:PORT, got {text!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; then drain, until the next one."""
    default, (listen_host, listen_port), (admin_host, admin_port) = Settings(), arguments.listen, arguments.admin
    pod = None
    if arguments.pod is not None:
        name, namespace = (os.environ.get(variable, "") for variable in ("POD_NAME", "POD_NAMESPACE"))
        pod = Pod(directory=arguments.pod, name=name, namespace=namespace)
    settings = Settings(
        listen_host=listen_host or default.listen_host,
        listen_port=listen_port,
        admin_host=admin_host or (default.admin_host if pod is None else ""),
        admin_port=admin_port,
        pod=pod,
        secrets_dir=arguments.secrets_dir,
        ca_file=arguments.ca_file,
        max_body=arguments.max_body,
        max_buffer=arguments.max_buffer,
        header_timeout=arguments.header_timeout,
        body_timeout=arguments.body_timeout,
        drain_timeout=arguments.drain_timeout,
        allowed_hosts=tuple(arguments.allow_host),
        allowed_origins=tuple(arguments.allow_origin),
        log_level=arguments.log_level,
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
        log.info("metrics and /status on http://%s:%d", settings.admin_host or "*", running.admin_port)
        await stop.wait()
        log.info("draining; again to stop now")
        for number in SIGNALS:
            loop.add_signal_handler(number, running.stop_now)
