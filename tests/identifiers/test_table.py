import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from genir.errors import InputError
from genir.identifiers.table import (
    PAD,
    IdentifierTable,
    check_row_depths,
    check_symbol_ranges,
    sorted_order,
)

symbol = st.integers(0, 2**31 - 1) | st.integers(0, 3)
body = st.lists(symbol, min_size=1, max_size=5)
END = 2**31 - 1


@st.composite
def assignments(draw):
    """Identifiers that an end symbol makes prefix-free; documents may share some."""
    bodies = st.lists(st.integers(0, 3), min_size=0, max_size=4).map(lambda s: (*s, END))
    return draw(st.lists(st.lists(bodies, min_size=1, max_size=3, unique=True), max_size=12))


def build(identifiers):
    return IdentifierTable.build(identifiers, [f"k{n}" for n in range(len(identifiers))])


def test_rows_are_sorted_and_padded():
    table = build([[(3, 0)], [(1, 2, 2), (0, 9)], [(1, 2, 0)]])
    assert table.symbols.tolist() == [[0, 9, PAD], [1, 2, 0], [1, 2, 2], [3, 0, PAD]]
    assert table.symbols.dtype == np.int16
    assert table.documents.tolist() == [1, 2, 1, 0] and table.documents.dtype == np.int32
    assert table.live.all() and len(table) == 4 and table.depth == 3
    assert table.identifier(0) == (0, 9) and table.key_of(3) == "k0"
    assert table.rows_of(1).tolist() == [0, 2]
    assert table.identifiers_of(1) == [(0, 9), (1, 2, 2)]
    assert table.number("k2") == 2 and "k2" in table and "k3" not in table


def test_rows_of_one_identifier_are_in_document_order():
    table = build([[(5,)], [(4,)], [(5,)]])
    assert table.documents.tolist() == [1, 0, 2] and table.row_of((5,)) == 1


def test_an_unknown_key_is_named():
    with pytest.raises(InputError, match="'k7'"):
        build([[(0,)]]).number("k7")


@pytest.mark.parametrize(
    "absent", [(1, 2), (1, 2, 3, 4), (1, 2, 4), (9,), (), (3, PAD), (1, 2, 2), (2**16 + 3,)]
)
def test_row_of_an_absent_identifier_raises_key_error(absent):
    with pytest.raises(KeyError):
        build([[(1, 2, 3)], [(3,)]]).row_of(absent)


@pytest.mark.parametrize("short", [(1,), (1, 2)])
def test_a_prefix_is_refused_with_both_documents_named(short):
    with pytest.raises(InputError, match=r"'k2' is a prefix of \(1, 2, 3\) of 'k1'"):
        build([[(1, 5)] if short != (1,) else [(0,)], [(1, 2, 3)], [short]])


def test_a_prefix_held_twice_or_by_its_own_document_is_refused():
    with pytest.raises(InputError, match="prefix"):
        build([[(1,)], [(1,)], [(1, 0)]])
    with pytest.raises(InputError, match="prefix"):
        build([[(1,), (1, 0)]])


def test_a_document_without_identifiers_is_named():
    with pytest.raises(InputError, match="'k1' has no identifier"):
        build([[(1,)], []])


def test_a_key_given_twice_is_named():
    with pytest.raises(InputError, match="two documents have the key 'b'"):
        IdentifierTable.build([[(1,)], [(2,)], [(3,)]], ["a", "b", "b"])


@pytest.mark.parametrize("odd", ["\0", "a\0b", "\ud800"])
def test_a_key_that_cannot_be_saved_is_refused(odd):
    with pytest.raises(InputError, match="holds a NUL or half a surrogate pair"):
        IdentifierTable.build([[(1,)], [(2,)]], ["a", odd])


@pytest.mark.parametrize("bad", [(), (-2,), (1, -1), (PAD, 1)])
def test_empty_and_negative_identifiers_are_refused(bad):
    with pytest.raises(InputError, match="identifier of 'k0' is empty or holds a negative"):
        build([[bad], [(7, 7)]])


def test_as_many_keys_as_documents_are_needed():
    with pytest.raises(ValueError, match="identifiers of 2 documents, but 1 key;"):
        IdentifierTable.build([[(1,)], [(2,)]], ["a"])


def test_from_arrays_equals_build():
    rng = np.random.default_rng(0)
    symbols = rng.integers(0, 3, (50, 4)).astype(np.int32)
    documents = rng.permutation(50)
    keys = [f"k{n}" for n in range(50)]
    table = IdentifierTable.from_arrays(symbols, documents, keys)
    identifiers = [[tuple(symbols[row].tolist())] for row in np.argsort(documents)]
    same = IdentifierTable.build(identifiers, keys)
    assert (table.symbols == same.symbols).all() and (table.documents == same.documents).all()


@given(st.lists(body, min_size=1, max_size=20))
def test_sorted_order_is_that_of_tuples(rows):
    depth = max(map(len, rows))
    padded = [(*row, *[PAD] * (depth - len(row))) for row in rows]
    order = sorted_order(np.array(padded, dtype=np.int32))
    assert order.tolist() == sorted(range(len(rows)), key=lambda n: padded[n])  # both stable


@given(assignments())
def test_every_identifier_is_found_at_its_row(identifiers):
    table = build(identifiers)
    rows = [table.identifier(row) for row in range(len(table))]
    assert rows == sorted(i for own in identifiers for i in own)
    for number, own in enumerate(identifiers):
        assert table.identifiers_of(number) == sorted(own)
        for identifier in own:
            assert rows.index(identifier) == table.row_of(identifier)


@given(st.lists(body.map(tuple), min_size=1, max_size=12))
def test_prefixes_are_refused_exactly_where_there_are_any(rows):
    clash = any(a != b and b[: len(a)] == a for a in rows for b in rows)
    if clash:
        with pytest.raises(InputError, match="is a prefix of"):
            build([[row] for row in rows])
    else:
        assert len(build([[row] for row in rows])) == len(rows)


@settings(max_examples=30)
@given(assignments(), st.data())
def test_a_saved_table_loads_alike(tmp_path_factory, identifiers, data):
    text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
    size = len(identifiers)
    keys = data.draw(st.lists(text, min_size=size, max_size=size, unique=True))
    table = IdentifierTable.build(identifiers, keys)
    table.live[::2] = False
    folder = tmp_path_factory.mktemp("table")
    table.save(folder)
    again = IdentifierTable.load(folder)
    assert again.keys == keys
    for name in ("symbols", "documents", "live"):
        ours, theirs = getattr(table, name), getattr(again, name)
        assert ours.dtype == theirs.dtype and ours.tolist() == theirs.tolist()
    for key in keys:
        assert again.number(key) == table.number(key)


@pytest.mark.parametrize(("highest", "dtype"), [(2**15 - 1, np.int16), (2**15, np.int32)])
def test_symbols_are_as_narrow_as_they_can_be(tmp_path, highest, dtype):
    table = build([[(highest, 0)], [(3,)]])
    assert table.symbols.dtype == dtype
    table.save(tmp_path)
    assert IdentifierTable.load(tmp_path).symbols.dtype == dtype
    assert table.row_of((highest, 0)) == 1


def test_a_folder_of_wider_numbers_loads(tmp_path):
    """Version 0.1 wrote symbols in 4 bytes and documents in 8."""
    table = build([[(5, 6)], [(1,)], [(5, 2)]])
    table.save(tmp_path)
    arrays = load_file(tmp_path / "rows.safetensors")
    wider = {"symbols": np.int32, "documents": np.int64}
    for name, dtype in wider.items():
        arrays[name] = arrays[name].astype(dtype)
    save_file(arrays, tmp_path / "rows.safetensors")
    again = IdentifierTable.load(tmp_path)
    assert again.symbols.dtype == np.int16 and again.symbols.tolist() == table.symbols.tolist()
    assert again.documents.dtype == np.int32 and again.key_of(0) == "k1"


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory maps of the kernel")
def test_rows_are_mapped_and_the_file_is_left_alone(tmp_path):
    build([[(5, 6)], [(1,)]]).save(tmp_path)
    before = (tmp_path / "rows.safetensors").read_bytes()
    table = IdentifierTable.load(tmp_path)
    mapped = {
        line.split()[-1]: tuple(int(part, 16) for part in line.split()[0].split("-"))
        for line in Path("/proc/self/maps").read_text().splitlines()
    }
    low, high = mapped[str(tmp_path / "rows.safetensors")]
    for array in (table.symbols, table.documents, table.live):
        assert low <= array.ctypes.data < high
    table.live[:] = False
    assert (tmp_path / "rows.safetensors").read_bytes() == before


@pytest.mark.parametrize("name", ["rows.safetensors", "keys.marisa"])
def test_missing_and_damaged_files_are_named(tmp_path, name):
    build([[(1,)], [(2,)]]).save(tmp_path)
    content = (tmp_path / name).read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"x" * 99):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(InputError, match="damaged identifier table"):
            IdentifierTable.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=f"{name}: missing"):
        IdentifierTable.load(tmp_path)


def test_files_of_two_tables_are_refused(tmp_path):
    build([[(1,)], [(2,)]]).save(tmp_path / "small")
    build([[(n,)] for n in range(3)]).save(tmp_path / "large")
    for name, other in (("small", "large"), ("large", "small")):
        keys = (tmp_path / name / "keys.marisa").read_bytes()
        (tmp_path / "mixed").mkdir(exist_ok=True)
        (tmp_path / "mixed" / "keys.marisa").write_bytes(keys)
        rows = (tmp_path / other / "rows.safetensors").read_bytes()
        (tmp_path / "mixed" / "rows.safetensors").write_bytes(rows)
        with pytest.raises(InputError, match=r"damaged|do not belong together"):
            IdentifierTable.load(tmp_path / "mixed")


@pytest.mark.parametrize(
    ("identifiers", "sizes", "any_depth", "message"),
    [
        ([[(1,)], [(2,)]], [3], False, ""),
        ([[(1,)], [(2,)]], [2], False, "symbol 2 at level 0, which has 2"),
        ([[(1, 0)], [(2, 0)]], [3], False, "identifiers of 2 levels instead of 1"),
        ([[(1, 0)], [(2, 0)]], [3], True, ""),
        ([[(1, 5)], [(2, 0)]], [3], True, "symbol 5 at level 1, which has 3"),
        ([[(1, 5)], [(2, 0)]], [3, 6], False, ""),
    ],
)
def test_symbols_of_another_scheme_are_refused(tmp_path, identifiers, sizes, any_depth, message):
    table = build(identifiers)
    if not message:
        check_symbol_ranges(table, sizes, tmp_path, any_depth)
        return
    with pytest.raises(InputError, match=f"^{tmp_path}: {message}; restore"):
        check_symbol_ranges(table, sizes, tmp_path, any_depth)


def test_rows_shorter_than_the_codes_are_refused(tmp_path):
    check_row_depths(build([[(1, 0)], [(2, 0)]]), 2, tmp_path)
    for short in (build([[(1, 0)], [(2, 0)]]), build([[(1, 0, 0)], [(2, 0)]])):
        with pytest.raises(InputError, match="an identifier of fewer than 3 levels"):
            check_row_depths(short, 3, tmp_path)
