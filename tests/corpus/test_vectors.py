"""Files of vectors: formats, order, and errors that name file, key and fix."""

import json
import re
from copy import copy, deepcopy

import numpy as np
import pyarrow as pa
import pytest
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
        ([[0, 0], [1, 0]], "the vector of 0 is zero"),
        ([[1, float("inf")], [1, 0]], "the vector of 0 is not finite"),
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
    with pytest.raises(InputError, match="'c' is not the key"):
        with_document_vectors(documents, {"c": [3, 4]})
