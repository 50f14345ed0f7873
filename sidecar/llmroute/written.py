"""Values that people write as text in an LLMRoute: patterns, as regular expressions and in words, and their meaning.

Patterns mean the same to RE2 (the API server) and to Python: anchored, no classes whose meaning differs (`\\s`, `\\d`).
"""

import re

DURATION_PATTERN = r"^([0-9]{1,5}(\.[0-9]{1,3})?(h|m|s|ms)){1,4}$"
QUANTITY_PATTERN = r"^[1-9][0-9]{0,11}(Ki|Mi|Gi)?$"
MONEY_PATTERN = r"^[0-9]{1,7}(\.[0-9]{1,9})?$"
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
RESOURCE_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
MODEL_PATTERN = r"^[A-Za-z0-9@._:/+-]+$"
LABEL_PATTERN = r"^[A-Za-z0-9]([-A-Za-z0-9._/]*[A-Za-z0-9])?$"
LABEL_NAME_PATTERN = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
LABEL_VALUE_PATTERN = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
API_VERSION_PATTERN = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?v[0-9][a-z0-9]*$"
KIND_PATTERN = r"^[A-Z][A-Za-z0-9]*$"
PORT_PATTERN = r"^([a-z0-9]|[a-z0-9]-)*[a-z](-?[a-z0-9])*$"
PATH_PATTERN = r"^/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*$"
KEY_PATTERN = r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$"
_GROUP = "[0-9A-Fa-f]{1,4}"
_IPV6 = "|".join(
    [
        f"({_GROUP}:){{7}}{_GROUP}",
        f"({_GROUP}:){{1,7}}:",
        *(f"({_GROUP}:){{1,{before}}}(:{_GROUP}){{1,{7 - before}}}" for before in range(6, 0, -1)),
        f":((:{_GROUP}){{1,7}}|:)",
    ]
)
URL_PATTERN = (
    rf"^https?://([A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[({_IPV6})\])"
    r"(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
    r"(/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?$"
)

WRITTEN = {
    DURATION_PATTERN: "a duration such as 500ms, 2s or 1m30s",
    QUANTITY_PATTERN: "a size such as 512Ki or 64Mi",
    MONEY_PATTERN: 'dollars as a decimal string such as "2.50"',
    NAME_PATTERN: "lower-case letters, digits and '-'",
    RESOURCE_PATTERN: "lower-case letters, digits, '-' and '.'",
    MODEL_PATTERN: "letters, digits and @ . _ : / + -",
    LABEL_PATTERN: "letters, digits and - . _ / inside",
    LABEL_NAME_PATTERN: "the name of a label, such as app or example.com/tier",
    LABEL_VALUE_PATTERN: "the value of a label: letters, digits and - . _ inside",
    API_VERSION_PATTERN: "a version such as v1 or apps/v1",
    KIND_PATTERN: "a kind such as Deployment",
    PORT_PATTERN: "a port's number from 1 to 65535, or its name",
    PATH_PATTERN: "a path that begins with /",
    KEY_PATTERN: "letters, digits and - . _",
    URL_PATTERN: "an http:// or https:// URL without user, query and fragment",
}
"""Each pattern in words, for errors and the reference."""

DURATION_MAX_LENGTH = 44
QUANTITY_MAX_LENGTH = 14
MONEY_MAX_LENGTH = 17
PORT_MAX_LENGTH = 15
HIGHEST_PORT = 65535

_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|ms|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_BYTES = {"": 1, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3}


class Duration(float):
    """Seconds; written as `500ms`, `2s`, `1m30s`."""

    @classmethod
    def parse(cls, text: str) -> "Duration":
        """Raises ValueError for anything but the written form."""
        if not re.fullmatch(DURATION_PATTERN, text):
            raise ValueError(f"expected {WRITTEN[DURATION_PATTERN]}, got {text!r}")
        return cls(sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text)))

    def written(self) -> str:
        """The shortest written form; what is below a microsecond is cut off."""
        left, parts = round(self * 1000, 3), ""
        for unit, milliseconds in (("h", 3_600_000), ("m", 60_000), ("s", 1000)):
            whole, left = divmod(left, milliseconds)
            parts += f"{whole:.0f}{unit}" if whole else ""
        left = round(left, 3)
        return parts + (f"{left:g}ms" if left or not parts else "")


class Quantity(int):
    """Bytes; written as `64Mi`."""

    @classmethod
    def parse(cls, text: str) -> "Quantity":
        """Raises ValueError for anything but the written form."""
        if not re.fullmatch(QUANTITY_PATTERN, text):
            raise ValueError(f"expected {WRITTEN[QUANTITY_PATTERN]}, got {text!r}")
        digits = text.rstrip("KMGi")
        return cls(int(digits) * _BYTES[text[len(digits) :]])

    def written(self) -> str:
        """The shortest written form."""
        unit = next(unit for unit in ("Gi", "Mi", "Ki", "") if self % _BYTES[unit] == 0)
        return f"{self // _BYTES[unit]}{unit}"


class Port(str):
    """A port of a Service, by its number or by its name: `8000` (a number, not text), `http`."""

    @classmethod
    def parse(cls, written: int | str) -> "Port":
        """Raises ValueError for anything but a port's number or a port's name."""
        if isinstance(written, str):
            fits = len(written) <= PORT_MAX_LENGTH and re.fullmatch(PORT_PATTERN, written) is not None
        else:
            fits = not isinstance(written, bool) and 1 <= written <= HIGHEST_PORT
        if not fits:
            raise ValueError(f"expected {WRITTEN[PORT_PATTERN]}, got {written!r}")
        return cls(written)

    @property
    def number(self) -> int | None:
        """None for a port that is known by its name."""
        return int(self) if self.isdigit() else None


def decode_written(kind: type, text: object) -> object:
    """The `dec_hook` of msgspec for these types: a value of its written form. Raises ValueError."""
    if kind is Port and isinstance(text, int | str):
        return Port.parse(text)
    if kind in (Duration, Quantity) and isinstance(text, str):
        return kind.parse(text)
    raise ValueError(f"expected {kind.__name__} as text")
