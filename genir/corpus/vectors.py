"""Files of vectors that a model of the user's choice made of documents or queries.

Formats by extension: `.safetensors` (tensor "vectors" [N, H] and metadata "ids", a JSON list of N
keys), `.parquet` (columns `_id` and `vector`) and `.npy` ([N, H] without keys: rows in the order of
the corpus or of the queries).
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from genir.arguments import as_path, as_texts
from genir.corpus.serialization import documents_of
from genir.errors import InputError
from genir.outputs import write_error
from genir.plurals import counted
from genir.types import Document, Query
from genir.vector_query import VectorQuery

Vectors = NDArray[np.float32]
MAX_DIMENSION = 2**16
"""Largest number of columns."""


def read_vectors(
    path: str | Path, keys: Sequence[str], wanted: Sequence[str] | None = None
) -> Vectors:
    """Return the unit vectors of documents or queries, float32 [wanted, H].

    Args:
        path: The file. Further keys in it are ignored.
        keys: Keys of all documents or queries, whose order an .npy file has.
        wanted: Keys of the rows, in order; by default all.

    Raises:
        InputError: The file is missing, damaged or of an unknown format; a key is missing or occurs
            twice; a vector is zero or not finite.
    """
    path = Path(path)
    ids, vectors = _read(path)
    if ids is None and len(vectors) != len(keys):
        raise InputError(
            f"{path}: {counted(len(vectors), 'vector')} for {counted(len(keys), 'key')}; an .npy "
            "file has one row for each, in order; write a .safetensors or .parquet file with ids "
            "otherwise"
        )
    own, wanted = keys if ids is None else ids, keys if wanted is None else wanted
    places = {key: place for place, key in enumerate(own)}
    if len(places) < len(own):
        twice = next(key for place, key in enumerate(own) if places[key] != place)
        raise InputError(f"{path}: {twice!r} has two vectors; keep one")
    missing = [key for key in wanted if key not in places]
    if missing:
        raise InputError(
            f"{path}: no vector for {missing[0]!r} (missing: {len(missing):,} of {len(wanted):,}); "
            "add one for each"
        )
    return unit_vectors(vectors[[places[key] for key in wanted]], str(path), wanted)


def dimension(path: str | Path) -> int:
    """Return the number of columns of a file of vectors. Raises InputError as `read_vectors`."""
    return int(_read(Path(path))[1].shape[1])


def with_vectors(
    queries: Mapping[str, Query], path: str | Path | None, wanted: Iterable[str]
) -> dict[str, Query]:
    """Return queries, of which the wanted ones have the vectors of a file; None: no file.

    Raises:
        InputError: As `read_vectors`.
    """
    if path is None:
        return dict(queries)
    wanted = [key for key in dict.fromkeys(wanted) if key in queries]
    vectors = read_vectors(path, list(queries), wanted)
    given = zip(wanted, vectors, strict=True)
    own = {key: Query(key, VectorQuery(queries[key].text, vector)) for key, vector in given}
    return {**queries, **own}


def write_vectors(path: str | Path, keys: Sequence[str], vectors: Any) -> None:
    """Write a .safetensors file of vectors for `genir train --vectors` or `--query-vectors`.

    Args:
        path: The file, whose name ends in .safetensors.
        keys: N keys of documents or queries.
        vectors: Their vectors, [N, H].

    Raises:
        InputError: Another extension, keys that are not text, vectors that do not fit the keys, or
            a file that cannot be written.

    Examples:
        >>> from genir import write_vectors
        >>> write_vectors("vectors.safetensors", ["copy", "move"], [[1.0, 0.0], [0.6, 0.8]])
    """
    path, keys = as_path(path, "path"), as_texts(keys, "keys")
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: give a name that ends in .safetensors")
    array = as_matrix(vectors, str(path))
    if len(array) != len(keys) or len(set(keys)) < len(keys):
        raise InputError(
            f"{path}: {counted(len(keys), 'key')} for {counted(len(array), 'vector')}; give "
            "distinct keys, one for each vector"
        )
    unit_vectors(array, str(path), keys)
    try:
        save_file({"vectors": array}, path, metadata={"ids": json.dumps(keys)})
    except (OSError, SafetensorError) as error:
        raise write_error(path, error) from None


def with_document_vectors(documents: Any, vectors: Mapping[str, Any] | None) -> list[Document]:
    """Return documents with the given unit vectors, by key.

    Raises:
        InputError: Not documents, vectors that are not given by key, another key, or a vector that
            is zero or not finite.
    """
    if not isinstance(vectors, Mapping | None):
        raise InputError(f"vectors: got a {type(vectors).__name__}; give a dict from key to vector")
    known = {document.key: document for document in documents_of(documents)}
    for key, vector in (vectors or {}).items():
        where = f"vectors: {key!r:.60}"
        if key not in known:
            raise InputError(f"{where} is not the key of a given document; check the keys")
        row = unit_vectors(as_matrix(vector, where, alone=True), where, [key])
        if len(row) > 1:
            raise InputError(f"{where} has {len(row)} vectors; give one")
        known[key] = replace(known[key], vector=row[0])
    return list(known.values())


def as_queries(queries: Any, vectors: Any = None) -> list[str]:
    """Return queries as a list, with unit vectors if they are given.

    Args:
        queries: Q texts, a string, or None with vectors.
        vectors: [Q, H], or [H] for one query.

    Raises:
        InputError: Not texts, another number of vectors, or one that is zero or not finite.
    """
    if vectors is None:
        return as_texts(queries)
    where = "vectors"
    array = as_matrix(vectors, where, alone=True)
    queries = [""] * len(array) if queries is None or queries == "" else as_texts(queries)
    if len(array) != len(queries):
        raise InputError(
            f"{where}: {counted(len(array), 'vector')} for "
            f"{counted(len(queries), 'query', 'queries')}; give one each"
        )
    array = unit_vectors(array, where, [f"query {number}" for number in range(len(array))])
    return [VectorQuery(text, row) for text, row in zip(queries, array, strict=True)]


def as_matrix(given: Any, where: str, alone: bool = False) -> Vectors:
    """Return numbers as a matrix, float32 [N, H]; alone: a single row may be given as [H].

    Raises InputError for another shape or type.
    """
    try:
        array = np.asarray(given)
        if array.dtype.kind not in "fiu":
            raise ValueError(f"values of type {array.dtype}")
        with np.errstate(over="ignore"):  # `unit_vectors` refuses infinity
            array = np.ascontiguousarray(array, dtype=np.float32)
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: a tensor with gradients
        raise InputError(
            f"{where}: no matrix of numbers ({error!s:.100}); give one row a vector"
        ) from None
    if alone and array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or not 1 <= array.shape[1] <= MAX_DIMENSION:
        raise InputError(
            f"{where}: shape {list(array.shape)} instead of [vectors, 1 to {MAX_DIMENSION:,}]; "
            "give one row a vector"
        )
    return array


def unit_vectors(vectors: Vectors, where: str, keys: Sequence[Any]) -> Vectors:
    """Return rows at unit length.

    Raises:
        InputError: A row is zero or not finite, as float32.
    """
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    wrong = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
    if len(wrong):
        kind = "zero" if lengths[wrong[0]] == 0 else "not finite"
        raise InputError(
            f"{where}: the vector of {keys[wrong[0]]!r} is {kind} in float32; give it a direction"
        )
    return np.asarray(vectors / lengths[:, None], dtype=np.float32)


def _read(path: Path) -> tuple[list[str] | None, Vectors]:
    """Return the keys, None in an .npy file, and the vectors of a file."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: give a file that ends in {', '.join(READERS)}")
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    try:
        keys, vectors = reader(path)
    except MemoryError:
        raise
    except Exception as error:  # libraries may raise anything for damaged or other files
        raise InputError(f"{path}: cannot be read as vectors ({error!s:.200})") from None
    vectors = as_matrix(vectors, str(path))
    if keys is not None and not (
        isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    ):
        raise InputError(f"{path}: the ids are not a list of strings; write them as strings")
    if keys is not None and len(keys) != len(vectors):
        raise InputError(f"{path}: {len(keys):,} ids for {len(vectors):,} vectors; write one each")
    return keys, vectors


def _read_safetensors(path: Path) -> tuple[Any, Any]:
    with safe_open(path, "np") as file:
        names = list(file.keys())
        if "vectors" not in names:
            raise ValueError(f"no tensor 'vectors', but {', '.join(names) or 'none'}")
        ids = (file.metadata() or {}).get("ids")
        if ids is None:
            raise ValueError("no metadata 'ids', a JSON list of the keys")
        return json.loads(ids), file.get_tensor("vectors")


def _read_npy(path: Path) -> tuple[Any, Any]:
    return None, np.load(path, mmap_mode="r", allow_pickle=False)


def _read_parquet(path: Path) -> tuple[Any, Any]:
    from pyarrow import compute, parquet  # takes 0.2 s

    names = parquet.read_schema(path).names
    for column in ("_id", "vector"):
        if column not in names:
            raise ValueError(f"no column {column!r}, but {', '.join(names)}")
    table = parquet.read_table(path, columns=["_id", "vector"]).combine_chunks()
    keys, vectors = table["_id"], table["vector"]
    lengths = compute.list_value_length(vectors).unique().to_pylist()
    if keys.null_count or len(lengths) != 1 or not lengths[0]:
        raise ValueError(f"ids or vectors are missing, or vectors have lengths {lengths[:5]}")
    numbers = compute.list_flatten(vectors).to_numpy()
    return keys.to_pylist(), numbers.reshape(-1, lengths[0])


READERS: Mapping[str, Callable[[Path], tuple[Any, Any]]] = {
    ".safetensors": _read_safetensors,
    ".npy": _read_npy,
    ".parquet": _read_parquet,
}
