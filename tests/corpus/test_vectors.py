"""Files of vectors: formats, order, and errors that name file, key and fix."""

import json
import re
from copy import copy, deepcopy

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from safetensors.numpy import save_file

from genir import write_vectors
from genir.corpus.vectors import as_queries, read_vectors, with_document_vectors, with_vectors
from genir.errors import InputError
from genir.types import Document, Query
from genir.vector_query import VectorQuery

KEYS = ["b", "a", "c"]
VECTORS = np.array([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]], dtype=np.float32)
UNIT = {"b": [0.6, 0.8], "a": [0.0, 1.0], "c": [1.0, 0.0]}


def write(path, keys=KEYS, vectors=VECTORS):
    """Write a file of vectors in the format of its name."""
    if path.suffix == ".npy":
        np.save(path, vectors)
    elif path.suffix == ".parquet":
        parquet.write_table(pa.table({"_id": keys, "vector": list(vectors)}), path)
    else:
        save_file({"vectors": vectors}, path, metadata={"ids": json.dumps(keys)})
    return path


@pytest.mark.parametrize("name", ["v.safetensors", "v.parquet"])
def test_vectors_are_found_by_key_at_unit_length(tmp_path, name):
    found = read_vectors(write(tmp_path / name), ["a", "b"])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [UNIT["a"], UNIT["b"]], rtol=1e-6)


def test_npy_rows_are_in_the_order_of_all_keys(tmp_path):
    path = write(tmp_path / "v.npy", vectors=VECTORS.astype(np.float16))
    np.testing.assert_allclose(read_vectors(path, KEYS, ["c", "b"]), [UNIT["c"], UNIT["b"]], 1e-3)


def test_written_vectors_are_read_again(tmp_path):
    path = tmp_path / "v.safetensors"
    write_vectors(path, KEYS, VECTORS.tolist())
    np.testing.assert_allclose(read_vectors(path, KEYS), [UNIT[key] for key in KEYS], rtol=1e-6)


@pytest.mark.parametrize("kind", ["list", "fixed", "large"])
def test_parquet_lists_of_each_kind(tmp_path, kind):
    kinds = {"list": pa.list_(pa.float64()), "fixed": pa.list_(pa.float32(), 2),
             "large": pa.large_list(pa.float32())}  # fmt: skip
    table = pa.table({"_id": KEYS, "vector": pa.array(VECTORS.tolist(), kinds[kind])})
    parquet.write_table(table, tmp_path / "v.parquet", row_group_size=2)
    found = read_vectors(tmp_path / "v.parquet", ["c", "b"])
    np.testing.assert_allclose(found, [UNIT["c"], UNIT["b"]], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "keys", "vectors", "message"),
    [
        ("v.npy", KEYS, VECTORS[:2], "2 vectors for 3 keys"),
        ("v.safetensors", ["a", "a", "b"], VECTORS, "'a' has two vectors"),
        ("v.safetensors", ["a", "b", "d"], VECTORS, r"no vector for 'c' \(missing: 1 of 3\)"),
        ("v.safetensors", ["a", "b"], VECTORS, "2 ids for 3 vectors"),
        ("v.safetensors", [1, 2, 3], VECTORS, "ids are not a list of strings"),
        ("v.parquet", KEYS, VECTORS * [[1.0], [0.0], [1.0]], "the vector of 'a' is zero"),
        ("v.npy", KEYS, VECTORS * [[1.0], [np.nan], [1.0]], "the vector of 'a' is not finite"),
        ("v.npy", KEYS, VECTORS[0], "shape \\[2\\]"),
        ("v.npy", KEYS, VECTORS.astype(str), "no matrix of numbers"),
        ("v.csv", KEYS, VECTORS, "give a file that ends in .safetensors, .npy, .parquet"),
        ("v.parquet", KEYS, [[1.0, 2.0], [1.0], [2.0, 1.0]], "lengths"),
    ],
)
def test_errors_name_the_file_and_the_key(tmp_path, name, keys, vectors, message):
    path = write(tmp_path / name, keys, vectors)
    with pytest.raises(InputError, match=f"{re.escape(name)}.*{message}"):
        read_vectors(path, ["b", "a", "c"])


@pytest.mark.parametrize("name", ["v.safetensors", "v.npy", "v.parquet"])
def test_a_damaged_file_is_an_input_error(tmp_path, name):
    path = write(tmp_path / name)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=f"{name}.*cannot be read"):
        read_vectors(path, KEYS)
    with pytest.raises(InputError, match="no such file"):
        read_vectors(tmp_path / f"other-{name}", KEYS)


def _npy(header):
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(48)


def _safetensors(ids, kind="F32", size=4):
    tensor = {"dtype": kind, "shape": [2, 1], "data_offsets": [0, 2 * size]}
    header = {"__metadata__": {"ids": ids}, "vectors": tensor}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(2 * size)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("v.npy", _npy(b"{'descr': '<f8', 'fortran_order': (, 'shape': (2, 3), }\n")),
        ("v.npy", _npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (10**99, 3), }\n")),
        ("v.npy", _npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (" + b"9" * 24
                       + b", 3), }\n")),
        ("v.safetensors", _safetensors("[" * 100_000)),
        ("v.safetensors", _safetensors('["a", "b"]', "F8_E4M3", 1)),
    ],
)  # fmt: skip
def test_errors_of_all_libraries_are_input_errors(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}.*cannot be read"):
        read_vectors(tmp_path / name, ["a", "b"])


@pytest.mark.parametrize("column", [[1.0, 2.0], ["x", "y"], [{"x": 1}, {"x": 2}]])
def test_a_parquet_column_of_another_type_is_refused(tmp_path, column):
    parquet.write_table(pa.table({"_id": ["a", "b"], "vector": column}), tmp_path / "v.parquet")
    with pytest.raises(InputError, match=r"v\.parquet.*cannot be read"):
        read_vectors(tmp_path / "v.parquet", ["a", "b"])


@pytest.mark.parametrize(
    ("keys", "vectors", "message"),
    [
        ("ab", [[1.0], [2.0]], "1 key for 2 vectors"),
        ([1, 2], [[1.0], [2.0]], r"keys\[0\]: got 1 \(int\)"),
        (np.array([1, 2]), [[1.0], [2.0]], r"keys\[0\]"),
        ({"a", "b"}, [[1.0], [2.0]], "unordered"),
        (None, [[1.0]], "keys: got None"),
        ([["a"]], [[1.0]], r"keys\[0\]"),
        (["\ud800"], [[1.0]], "unpaired surrogate"),
        (["a", "a"], [[1.0], [2.0]], "distinct keys"),
        (["a"], torch.ones(1, 2, requires_grad=True), "no matrix of numbers"),
        (["a"], [[1e300]], "not finite in float32"),
        (["a"], [[1e-300]], "zero in float32"),
    ],
)
def test_what_cannot_be_read_again_is_not_written(tmp_path, keys, vectors, message):
    with pytest.raises(InputError, match=message):
        write_vectors(tmp_path / "v.safetensors", keys, vectors)
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written(tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    for path in (tmp_path / "none" / "v.safetensors", tmp_path / "folder.safetensors"):
        with pytest.raises(InputError, match="cannot be written"):
            write_vectors(path, ["a"], [[1.0]])
    with pytest.raises(InputError, match="path: got None"):
        write_vectors(None, ["a"], [[1.0]])


def test_a_pickle_in_an_npy_file_is_refused(tmp_path):
    np.save(tmp_path / "v.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="cannot be read"):
        read_vectors(tmp_path / "v.npy", ["a"])


def test_queries_with_vectors_differ_from_their_texts(tmp_path):
    queries = {"b": Query("b", "same"), "a": Query("a", "same"), "x": Query("x", "same")}
    found = with_vectors(queries, write(tmp_path / "v.parquet"), ["a", "b"])
    b, a, x = (found[key].text for key in "bax")
    assert b == VectorQuery("same", np.float32([0.6, 0.8])) and b != a and b != "same" == x
    assert len({b, a, x}) == 3
    assert b.with_text("other").vector is b.vector
    assert copy(b) == b == deepcopy(b)


def test_vectors_of_a_search():
    (one,) = as_queries(None, [3, 4])
    assert one == VectorQuery("", np.float32([0.6, 0.8]))
    assert as_queries("text") == ["text"]
    assert [str(two) for two in as_queries(["p", "q"], VECTORS[:2])] == ["p", "q"]
    for wrong, message in (
        (VECTORS, "3 vectors for 2 queries"),
        ([[0, 0], [1, 0]], "the vector of 'query 0' is zero in float32"),
        ([[1, float("inf")], [1, 0]], "the vector of 'query 0' is not finite"),
        ([[1], [1, 2]], "no matrix of numbers"),
        ("text", "no matrix of numbers"),
    ):
        with pytest.raises(InputError, match=message):
            as_queries(["p", "q"], wrong)


def test_vectors_of_added_documents():
    documents = [Document("a", "text"), {"_id": "b", "text": "more"}]
    found = with_document_vectors(documents, {"b": [3, 4]})
    assert found[0].vector is None
    np.testing.assert_allclose(found[1].vector, [0.6, 0.8], rtol=1e-6)
    for wrong in ([[3, 4], [3, 4]], "b", np.ones((2, 2))):
        with pytest.raises(InputError, match="give a dict from key to vector"):
            with_document_vectors(documents, wrong)
    with pytest.raises(InputError, match="'c' is not the key"):
        with_document_vectors(documents, {"c": [3, 4]})
