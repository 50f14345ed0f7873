"""Where requests go, and their heads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmroute.upstream import Origin, build_head


@pytest.mark.parametrize(
    ("url", "origin", "authority"),
    [
        ("https://api.openai.com/v1", Origin("https", "api.openai.com", 443), "api.openai.com"),
        ("http://vllm:8000/v1", Origin("http", "vllm", 8000), "vllm:8000"),
        ("HTTP://VLLM.Shop.svc.:80", Origin("http", "vllm.shop.svc", 80), "vllm.shop.svc"),
        ("https://[::1]:8443/v1", Origin("https", "::1", 8443), "[::1]:8443"),
        ("http://[fd00::1]", Origin("http", "fd00::1", 80), "[fd00::1]"),
        ("https://user:secret@host/", Origin("https", "host", 443), "host"),
        ("https://bücher.example", Origin("https", "xn--bcher-kva.example", 443), "xn--bcher-kva.example"),
    ],
)
def test_the_origin_of_a_url(url: str, origin: Origin, authority: str) -> None:
    assert Origin.of(url) == origin
    assert Origin.of(url).authority == authority


@pytest.mark.parametrize("url", ["", "api.openai.com", "ftp://host", "https://", "https:///v1", "http://host:port"])
def test_what_is_no_origin(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Origin.of(url)


def test_a_head_has_a_line_for_each_header() -> None:
    head = build_head("POST", "/v1/x?y=z", "host:1", [("a", "b"), ("c", "d é")])
    assert head == "POST /v1/x?y=z HTTP/1.1\r\nhost: host:1\r\na: b\r\nc: d é\r\n".encode()


@pytest.mark.parametrize(
    ("method", "path", "host", "header"),
    [
        ("POST", "/v1 x", "h", ("a", "b")),
        ("POST", "v1", "h", ("a", "b")),
        ("POST", "/v1\r\nx: y", "h", ("a", "b")),
        ("POST", "/v1", "h\r\nx: y", ("a", "b")),
        ("POST", "/v1", "h", ("a", "b\r\nx: y")),
        ("POST", "/v1", "h", ("a", "b\nx: y")),
        ("POST", "/v1", "h", ("a\r\nb", "c")),
        ("POST", "/v1", "h", ("a", "b\0")),
        ("POST\r\nx: y", "/v1", "h", ("a", "b")),
    ],
)
def test_nothing_can_start_a_header_of_its_own(method: str, path: str, host: str, header: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=r"."):
        build_head(method, path, host, [header])


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), max_size=5))
def test_a_head_has_as_many_lines_as_headers_or_is_refused(headers: list[tuple[str, str]]) -> None:
    try:
        head = build_head("POST", "/", "h", headers)
    except ValueError:
        return
    assert head.count(b"\r\n") == head.count(b"\n") == head.count(b"\r") == len(headers) + 2
