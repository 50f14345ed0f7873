"""The files of a downward API volume: one `key="value"` a line, quoted as Go quotes (`%q`). Pure."""

import re

_LINE = re.compile(r'([^="]+)="((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))")
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_HIGHEST = 0x10FFFF
_UNKNOWN = "\N{REPLACEMENT CHARACTER}"


def pairs(text: str) -> dict[str, str]:
    """Labels or annotations by name; a line that is none is left out."""
    found = (_LINE.fullmatch(line) for line in text.split("\n"))
    return {match[1]: _ESCAPE.sub(_meant, match[2]) for match in found if match is not None}


def _meant(escape: re.Match[str]) -> str:
    digits = escape[1] or escape[2] or escape[3]
    if digits is None:
        return _LETTERS.get(escape[4], escape[4])
    number = int(digits, 16)
    return chr(number) if number <= _HIGHEST and not 0xD800 <= number <= 0xDFFF else _UNKNOWN
