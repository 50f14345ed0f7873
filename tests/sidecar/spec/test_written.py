"""Durations and sizes mean what they say, both ways; URLs are such that a connection can be made."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmroute.spec import Duration, Port, Quantity
from llmroute.written import URL_PATTERN


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("2s", 2), ("1m30s", 90), ("1.5h", 5400), ("0.25ms", 0.00025), ("1s1s", 2)]
)
def test_durations(text: str, seconds: float) -> None:
    assert Duration.parse(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "2", "s", "-1s", "+1s", "1d", "1 s", "1s ", "1s\n", "1.s", ".5s", "1e3s", "1h1m1s1ms1h", "١s"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration such as 500ms, 2s or 1m30s"):
        Duration.parse(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.4, "400ms"), (2, "2s"), (90, "1m30s"), (3600, "1h"), (0.0005, "0.5ms"), (90.5, "1m30s500ms")],
)
def test_durations_are_written_shortly(seconds: float, text: str) -> None:
    assert Duration(seconds).written() == text


@given(st.integers(0, 359_996_400_000).map(lambda milliseconds: Duration(milliseconds / 1000)))
def test_a_written_duration_means_the_same(duration: Duration) -> None:
    assert Duration.parse(duration.written()) == pytest.approx(duration, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("1000", 1000), ("512Ki", 512 * 1024), ("64Mi", 64 * 1024**2), ("2Gi", 2**31)]
)
def test_sizes(text: str, size: int) -> None:
    assert Quantity.parse(text) == size


@pytest.mark.parametrize("text", ["", "0", "0Mi", "064Mi", "64MB", "64M", "1.5Gi", "-1", "64Mi\n", "1_000"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size such as 512Ki or 64Mi"):
        Quantity.parse(text)


@given(st.integers(1, 2**39).map(Quantity))
def test_a_written_size_means_the_same(size: Quantity) -> None:
    assert Quantity.parse(size.written()) == size


@pytest.mark.parametrize("host", ["::1", "1::", "::", "1:2:3:4:5:6:7:8", "2001:db8::1", "fe80::1:2"])
def test_a_url_may_hold_an_ipv6_address(host: str) -> None:
    assert re.fullmatch(URL_PATTERN, f"http://[{host}]:8000/v1")


@pytest.mark.parametrize("host", ["::::", "1", "127.0.0.1", "1::2::3", "1:2:3:4:5:6:7:8:9", "12345::", ""])
def test_a_url_may_hold_nothing_else_in_brackets(host: str) -> None:
    assert not re.fullmatch(URL_PATTERN, f"http://[{host}]/v1")


@pytest.mark.parametrize("written", [1, 65535, "http", "a", "h2-c", "x" * 15, "80a"])
def test_a_port_is_a_number_or_a_name(written: int | str) -> None:
    port = Port.parse(written)
    assert port == str(written)
    assert port.number == (written if isinstance(written, int) else None)


@pytest.mark.parametrize("written", [0, 65536, -1, True, "", "80", "-a", "a-", "a--b", "A", "x" * 16, "a\n"])
def test_what_is_no_port(written: int | str) -> None:
    with pytest.raises(ValueError, match="expected a port's number from 1 to 65535, or its name"):
        Port.parse(written)
