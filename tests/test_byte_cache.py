"""A cache bounded by bytes, and the measured size of its values."""

import sys
from dataclasses import dataclass

import numpy as np

from genir.byte_cache import ENTRY_BYTES, ByteCache, digest_of, size_of
from genir.types import Selection


def test_the_least_recently_used_value_goes_when_bytes_run_out():
    cache = ByteCache(3 * (ENTRY_BYTES + 100))
    for name in "abc":
        cache.put(name, name, 100)
    assert cache.get("a") == "a"
    cache.put("d", "d", 100)
    assert [cache.get(name) for name in "abcd"] == ["a", None, "c", "d"]
    assert cache.bytes == 3 * (ENTRY_BYTES + 100)
    cache.put("d", "smaller", 10)
    assert cache.bytes == 3 * ENTRY_BYTES + 210 and len(cache) == 3
    cache.put("e", "large", 2 * ENTRY_BYTES + 200)
    assert cache.get("e") == "large" and cache.bytes <= cache.limit
    cache.put("f", "larger than all", cache.limit)
    assert cache.get("f") is None and cache.get("e") == "large"
    cache.clear()
    assert not len(cache) and cache.bytes == 0


def test_values_are_measured_with_all_they_hold():
    @dataclass(slots=True)
    class Slotted:
        text: str

    class Plain:
        def __init__(self, text):
            self.text = text

    text = "x" * 100_000
    for value in ([text], (text,), {text: 1}, {"a": [text]}, {text}, Slotted(text), Plain(text)):
        assert 100_000 < size_of(value) < 102_000
    assert size_of([text, text]) < 102_000  # counted once
    assert size_of(np.zeros(1000)[::2]) >= 4_000
    assert size_of(text.encode()) == sys.getsizeof(text.encode())
    circle = []
    circle.append(circle)
    assert size_of(circle) < 1_000


def test_a_selection_s_name_is_a_digest_that_only_equal_ones_share():
    key = "k" * 1000
    names = [
        Selection(allow=["a", "b"]).name,
        Selection(allow=["ab"]).name,
        Selection(deny=["a", "b"]).name,
        Selection(allow=[]).name,
        Selection().name,
        Selection(({"a": 1},)).name,
        Selection(({"a": True},)).name,
        Selection(({"a": "1"},)).name,
        Selection(allow=[f"{key}{n}" for n in range(1000)]).name,
    ]
    assert len({*names}) == len(names) and {len(name) for name in names} == {32}
    assert Selection(allow=["b", "a"]).name == names[0]
    assert digest_of("\ud800") != digest_of("\ud801")
