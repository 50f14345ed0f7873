"""Start the Rust gateway that TensorZero's wheel carries, and say which port it took.

The wheel has no command for it: this is what its `patch_openai_client` calls. The port is always an ephemeral one.
Runs in TensorZero's own environment; only the imports of `tensorzero` cost time that the bare gateway would not need.
"""

import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

import tensorzero


def main(config: str, port_file: str) -> None:
    gateway = tensorzero._start_http_gateway(
        config_file=config, clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False
    )
    Path(port_file).write_text(str(urlsplit(gateway.base_url).port))
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main(*sys.argv[1:])
