"""Process facts fixed at start: addresses, paths, limits. What may change while running is in the LLMRoutes."""

import msgspec

MEBIBYTE = 1024 * 1024


class Pod(msgspec.Struct, frozen=True, kw_only=True):
    """The pod that this sidecar is in."""

    directory: str
    """Where routes, labels, keys and state are mounted."""
    name: str = ""
    namespace: str = ""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Set by the command line and the environment, once."""

    listen_host: str = "127.0.0.1"
    listen_port: int = 4000
    admin_host: str = "127.0.0.1"
    """Empty: all addresses."""
    admin_port: int = 4001
    pod: Pod | None = None
    """None outside of a cluster."""
    secrets_dir: str | None = None
    """Directory of mounted Secrets: `<dir>/<secret name>/<key>`."""
    ca_file: str | None = None
    """PEM bundle trusted besides the system's."""
    max_body: int = 32 * MEBIBYTE
    max_buffer: int = 64 * MEBIBYTE
    """Bytes of requests and held answers buffered at once; beyond it 503 with Retry-After."""
    header_timeout: float = 10.0
    body_timeout: float = 30.0
    """Longest silence while the app sends a body, in seconds."""
    drain_timeout: float = 30.0
    allowed_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    """Host names besides loopback's that apps may call us by."""
    log_level: str = "info"
    access_log: bool = True
