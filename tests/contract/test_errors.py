"""The error tree is what its drawing says, and only leaves can be raised."""

import re
from collections.abc import Iterator

import pytest

from llmroute import errors
from llmroute.errors import LLMRouteError, RequestError


def below(kind: type[LLMRouteError]) -> Iterator[type[LLMRouteError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from below(child)


REQUEST_ERRORS = [kind for kind in below(RequestError) if issubclass(kind, RequestError)]
LEAVES = [kind for kind in REQUEST_ERRORS if not kind.__subclasses__()]
INNER = [kind for kind in REQUEST_ERRORS if kind.__subclasses__()]


def made(kind: type[RequestError]) -> RequestError:
    return kind("why", upstream_status=500) if kind is errors.Rejected else kind("why")


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_leaf_knows_its_code_and_status(leaf: type[RequestError]) -> None:
    error = made(leaf)
    assert re.fullmatch("[a-z_]+", error.code)
    assert 400 <= error.status < 600
    assert str(error) == error.message == "why"


def test_no_two_leaves_share_a_code() -> None:
    assert len({leaf.code for leaf in LEAVES}) == len(LEAVES)


@pytest.mark.parametrize("inner", INNER)
def test_an_inner_node_cannot_be_raised(inner: type[RequestError]) -> None:
    with pytest.raises(TypeError, match="raise a leaf"):
        inner("why")


def test_the_drawing_shows_every_error_with_its_status_and_code() -> None:
    drawn = re.findall(r"─ (\w+)(?: +(\d{3}) (\w+))?", errors.__doc__ or "")
    real = [
        (kind.__name__, str(kind.status), kind.code) if kind in LEAVES else (kind.__name__, "", "")
        for kind in below(LLMRouteError)
    ]
    assert drawn == real[1:]
