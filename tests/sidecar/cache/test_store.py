"""The store forgets in time and stays within its bound."""

import gc
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from llmroute.cache import Entry, Store
from llmroute.cache.store import ENTRY_OVERHEAD
from llmroute.request import Usage


def answer(size: int = 100, at: float = 0.0) -> Entry:
    return Entry(body=bytes(size), stream=False, target="a", usage=None, stored_at=at)


def room_for(entries: int, size: int = 100) -> int:
    return entries * (size + ENTRY_OVERHEAD)


def test_what_was_never_stored_is_a_miss() -> None:
    store = Store(max_bytes=room_for(8), ttl=60.0)
    assert store.get(b"k", now=0.0) is None
    assert (store.hits, store.misses) == (0, 1)


def test_a_stored_answer_is_served_until_its_time_is_over() -> None:
    store = Store(max_bytes=room_for(8), ttl=60.0)
    entry = answer(at=10.0)
    assert store.put(b"k", entry)
    assert store.get(b"k", now=69.9) is entry
    assert store.get(b"k", now=70.0) is None
    assert (store.hits, store.misses, store.bytes, len(store)) == (1, 1, 0, 0)


def test_the_least_recently_used_goes_first() -> None:
    store = Store(max_bytes=room_for(4), ttl=60.0)
    for name in (b"a", b"b", b"c", b"d"):
        store.put(name, answer())
    assert store.get(b"a", now=1.0)
    store.put(b"e", answer())
    assert [name for name in (b"a", b"b", b"c", b"d", b"e") if store.get(name, now=1.0)] == [b"a", b"c", b"d", b"e"]


def test_an_answer_larger_than_a_quarter_of_the_bound_is_not_kept() -> None:
    store = Store(max_bytes=room_for(4), ttl=60.0)
    assert store.put(b"fits", answer(100))
    assert not store.put(b"large", answer(101))
    assert store.get(b"large", now=0.0) is None
    assert store.get(b"fits", now=0.0)


def test_a_newer_answer_takes_the_place_of_the_older() -> None:
    store = Store(max_bytes=room_for(8), ttl=60.0)
    store.put(b"k", answer(50, at=0.0))
    store.put(b"k", answer(70, at=30.0))
    assert store.bytes == 70 + ENTRY_OVERHEAD
    assert store.get(b"k", now=80.0)


def test_a_newer_answer_that_is_too_large_leaves_no_older_one_behind() -> None:
    store = Store(max_bytes=room_for(4), ttl=60.0)
    store.put(b"k", answer(50))
    store.put(b"k", answer(5000))
    assert store.get(b"k", now=1.0) is None
    assert store.bytes == 0


def test_stale_answers_do_not_hold_memory_until_the_bound_is_reached() -> None:
    store = Store(max_bytes=room_for(100), ttl=60.0)
    for number in range(10):
        store.put(bytes([number]), answer(at=0.0))
    store.put(b"fresh", answer(at=60.0))
    assert len(store) == 1


def test_the_accounted_bytes_are_honest() -> None:
    store = Store(max_bytes=1 << 30, ttl=60.0)
    count, size = 5000, 300
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(count):
            usage = Usage(input=1000 + number, output=2000 + number, cached_input=3000 + number)
            entry = Entry(bytes(size), False, "openai-east", usage, stored_at=1.0 + number / 1e6)
            store.put(number.to_bytes(32, "big"), entry)
        gc.collect()
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.8 * store.bytes <= used <= store.bytes


@given(
    st.lists(st.tuples(st.sampled_from(["put", "get"]), st.integers(0, 12), st.integers(0, 900), st.integers(0, 40)))
)
def test_it_behaves_like_a_dictionary_that_forgets(steps: list[tuple[str, int, int, int]]) -> None:
    store, written, now = Store(max_bytes=room_for(6), ttl=50.0), dict[bytes, Entry](), 0.0
    for verb, number, size, passed in steps:
        now += passed
        name = bytes([number])
        if verb == "put":
            entry = answer(size, now)
            kept = store.put(name, entry)
            assert kept == (entry.size * 4 <= store.max_bytes)
            written[name] = entry
        else:
            found = store.get(name, now)
            assert found is None or (found is written[name] and now - found.stored_at < 50.0)
        assert 0 <= store.bytes <= store.max_bytes
        assert (store.bytes == 0) == (len(store) == 0)


def test_its_repr_shows_no_answer() -> None:
    store = Store(max_bytes=4000, ttl=1.0)
    store.put(b"k", Entry(b"private words", False, "a", None, 0.0))
    assert repr(store) == f"<Store 1 entries, {13 + ENTRY_OVERHEAD} of 4000 bytes>"
