"""What a pod's annotations may tune of its sidecar: validated, with a default and a warning for what is wrong. Pure.

A wrong value never keeps a pod from starting: the API server would refuse the whole pod for one bad quantity.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from llmroute.written import RESOURCE_PATTERN
from llmroute_operator import names
from llmroute_operator.settings import LEVELS

PORTS = range(1024, 65536)
"""Ports that a process without rights may listen on."""
MOST_SECRETS = 32
"""Each is a volume of the pod."""
_NAME_LENGTH = 253
_SHOWN = 60
"""Characters of a wrong value that a warning repeats."""

_NUMBER = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(Ki|Mi|Gi|Ti|[mkMGT]?)")
_FACTORS = {"": Decimal(1), "m": Decimal("0.001")} | {
    unit + binary: Decimal(1024 if binary else 1000) ** power
    for power, units in enumerate(("kK", "M", "G", "T"), start=1)
    for unit in units
    for binary in ("", "i")
}
_BOUNDS: Mapping[str, tuple[str, str]] = {"cpu": ("1m", "1k"), "memory": ("32Mi", "1Ti")}
"""Least and greatest; less memory than the least cannot start a sidecar."""
_ANNOTATIONS: Mapping[str, tuple[str, str]] = {
    "cpu": (names.CPU_REQUEST, names.CPU_LIMIT),
    "memory": (names.MEMORY_REQUEST, names.MEMORY_LIMIT),
}
_IMAGE = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]{1,5})?/)?"
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
"""The reference of an image: registry, path, tag, digest."""


class Resource(msgspec.Struct, frozen=True):
    """Request and limit of CPU or memory, as Kubernetes writes quantities; request ≤ limit."""

    request: str
    limit: str


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """All that may differ from one pod's sidecar to another's."""

    image: str
    port: int = names.APP_PORT
    log_level: str = "info"
    secrets: tuple[str, ...] = (names.CREDENTIALS_SECRET,)
    """Secrets whose keys routes may use here, without doubles."""
    cpu: Resource = Resource("50m", "1")
    memory: Resource = Resource("96Mi", "256Mi")


def quantity(text: str, kind: str) -> Decimal:
    """Cores or bytes of a Kubernetes quantity. Raises ValueError for what is none, or is out of `kind`'s bounds."""
    least, most = (_amount(bound) for bound in _BOUNDS[kind])
    amount = _amount(text)
    if not least <= amount <= most:
        raise ValueError("from {} to {}".format(*_BOUNDS[kind]))
    return amount


def _amount(text: str) -> Decimal:
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError("a quantity such as 250m or 256Mi")
    return Decimal(match[1]) * _FACTORS[match[2]]


def image_reference(text: str) -> str:
    """Raises ValueError for what is no reference of an image."""
    if len(text) > _NAME_LENGTH or not _IMAGE.fullmatch(text):
        raise ValueError("an image such as registry.example/llmroute/sidecar:1.2.3")
    return text


def port_of(annotations: Mapping[str, Any]) -> int:
    """Where the sidecar listens for the app: the annotation's port, else 4000."""
    try:
        return _port(annotations.get(names.PORT) or "")
    except ValueError:
        return names.APP_PORT


def tune(annotations: Mapping[str, Any], defaults: Tuning) -> tuple[Tuning, list[str]]:
    """The tuning of a pod with these annotations, and a warning for each value that is not taken."""
    warnings: list[str] = []

    def tuned(annotation: str, parse: Callable[[str], Any], default: Any) -> Any:
        text = annotations.get(annotation)
        if text is None:
            return default
        try:
            return parse(text)
        except ValueError as error:
            warnings.append(f"annotation {annotation} is {shown(text)}: expected {error}; using {default}")
            return default

    tuning = Tuning(
        image=tuned(names.IMAGE, image_reference, defaults.image),
        port=tuned(names.PORT, _port, defaults.port),
        log_level=tuned(names.LOG_LEVEL, _log_level, defaults.log_level),
        secrets=_secrets(annotations.get(names.SECRETS) or "", defaults.secrets, warnings),
        cpu=_resource("cpu", annotations, defaults.cpu, warnings),
        memory=_resource("memory", annotations, defaults.memory, warnings),
    )
    return tuning, warnings


def shown(text: str) -> str:
    """A value of a user's in a warning: quoted, short, printable (it becomes an HTTP header)."""
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{4,5}", text) or int(text) not in PORTS or int(text) == names.ADMIN_PORT:
        raise ValueError(f"a port from {PORTS[0]} to {PORTS[-1]} other than {names.ADMIN_PORT}")
    return int(text)


def _log_level(text: str) -> str:
    if text not in LEVELS:
        raise ValueError(f"one of {', '.join(LEVELS)}")
    return text


def _secrets(text: str, always: tuple[str, ...], warnings: list[str]) -> tuple[str, ...]:
    """Those that are always mounted, then the listed ones. Never the fleet's key: no route may send it anywhere."""
    secrets = dict.fromkeys(always)
    for name in filter(None, (part.strip() for part in text.split(","))):
        if not re.fullmatch(RESOURCE_PATTERN, name) or len(name) > _NAME_LENGTH or name == names.FLEET_SECRET:
            warnings.append(
                f"annotation {names.SECRETS} lists {shown(name)}: not the name of a Secret that routes may use"
            )
        elif len(secrets) == MOST_SECRETS and name not in secrets:
            warnings.append(
                f"annotation {names.SECRETS} lists more than {MOST_SECRETS} Secrets: {shown(name)} is left out"
            )
        else:
            secrets[name] = None
    return tuple(secrets)


def _resource(kind: str, annotations: Mapping[str, Any], default: Resource, warnings: list[str]) -> Resource:
    """One given without the other moves the other along, where the request would else exceed the limit."""
    given: list[str | None] = []
    for annotation, fallback in zip(_ANNOTATIONS[kind], (default.request, default.limit), strict=True):
        text = annotations.get(annotation)
        try:
            if text is not None:
                quantity(text, kind)
        except ValueError as error:
            warnings.append(f"annotation {annotation} is {shown(str(text))}: expected {error}; using {fallback}")
            text = None
        given.append(text)
    request, limit = given
    if quantity(request or default.request, kind) <= quantity(limit or default.limit, kind):
        return Resource(request or default.request, limit or default.limit)
    if request and limit:
        warnings.append(
            f"annotation {_ANNOTATIONS[kind][0]} is above {_ANNOTATIONS[kind][1]}: "
            f"using {default.request} and {default.limit}"
        )
        return default
    either = request or limit or default.request
    return Resource(either, either)
