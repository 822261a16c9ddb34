"""The table of valid identifiers: sorted rows, their documents, and the live mask.

`decoding.trie` is its representation on the device.
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from genir.arguments import is_unicode
from genir.errors import InputError
from genir.identifiers.keys import read_keys, write_keys
from genir.plurals import counted
from genir.types import Identifier

PAD = -1
"""Padding of rows shorter than the longest identifier."""

Symbols = NDArray[np.signedinteger[Any]]
"""Symbols of rows: int16 if they fit, else int32."""

ARRAYS = ("symbols", "documents", "live", "numbers")
"""Arrays of a row file; `numbers` are the document numbers of the keys in marisa's order."""
SPANS = "spans"
"""Array of a row file, if documents have units."""
Spans = NDArray[np.int32]
UnitSpans = Sequence[Sequence[tuple[int, int]]]
"""Spans of the units of each document, one for each of its identifiers."""


class IdentifierTable:
    """Table of identifiers and their documents.

    Attributes:
        symbols: Sorted rows padded with PAD, int16 (int32 if they do not fit) [rows, depth].
        documents: Document number (position in the corpus) of each row, int32 [rows].
        live: False for rows of deleted documents, bool [rows].
        keys: Document keys by number.
        spans: Start and end of each row's unit in the text of its document, int32 [rows, 2]; None
            without units.
    """

    def __init__(
        self,
        symbols: Symbols,
        documents: NDArray[np.signedinteger[Any]],
        keys: Sequence[str],
        live: NDArray[np.bool_] | None = None,
        spans: Spans | None = None,
    ) -> None:
        self.symbols = smallest_int(symbols)
        self.documents: NDArray[np.int32] = documents.astype(np.int32, copy=False)
        self.keys = keys
        self.live = np.ones(len(symbols), dtype=bool) if live is None else live
        self.spans = spans
        # A live mask and its cumulative sum; masks are replaced, never modified.
        self._running: tuple[NDArray[np.bool_], NDArray[np.int32]] | None = None

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {key: number for number, key in enumerate(self.keys)}

    @classmethod
    def build(
        cls,
        identifiers: Sequence[Sequence[Identifier]],
        keys: Sequence[str],
        spans: UnitSpans | None = None,
    ) -> Self:
        """Sort the identifiers of all documents into rows. Raises like `from_arrays`."""
        if len(identifiers) != len(keys):
            raise ValueError(
                f"IdentifierTable.build: identifiers of {counted(len(identifiers), 'document')}, "
                f"but {counted(len(keys), 'key')}; pass one key per document"
            )
        counts = [len(own) for own in identifiers]
        rows = list(chain.from_iterable(identifiers))
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        symbols = np.full((len(rows), int(lengths.max(initial=1))), PAD, dtype=np.int32)
        flat = np.fromiter(chain.from_iterable(rows), dtype=np.int32, count=int(lengths.sum()))
        flat[flat == PAD] -= 1  # rejected later, but not mistaken for padding
        symbols[np.arange(symbols.shape[1]) < lengths[:, None]] = flat
        own = None if spans is None else np.array(list(chain.from_iterable(spans)), dtype=np.int32)
        return cls.from_arrays(symbols, np.repeat(np.arange(len(counts)), counts), keys, own)

    @classmethod
    def from_arrays(
        cls,
        symbols: Symbols,
        documents: NDArray[np.signedinteger[Any]],
        keys: Sequence[str],
        spans: Spans | None = None,
    ) -> Self:
        """Build from unsorted rows.

        Args:
            symbols: Rows padded with PAD, int [rows, depth].
            documents: Document number of each row, int [rows].
            keys: Document keys by number.
            spans: Unit of each row, int32 [rows, 2]; None without units.

        Raises:
            InputError: Duplicate keys, a document without an identifier, an empty identifier, or
                one that is a proper prefix of another.
        """
        order = np.argsort(documents, kind="stable")
        order = order[sorted_order(symbols[order])]
        spans = None if spans is None else spans[order]
        table = cls(symbols[order], documents[order], keys, spans=spans)
        table._refuse_keys()
        table._refuse_malformed()
        table._refuse_prefixes()
        return table

    def _refuse_keys(self) -> None:
        """Require a row and a unique key for every document; keys must be storable."""
        odd = next((key for key in self.keys if "\0" in key or not is_unicode(key)), None)
        if odd is not None:
            raise InputError(f"key {odd!r} holds a NUL or half a surrogate pair; rename it")
        if len(self._numbers) < len(self.keys):
            twice = next(key for n, key in enumerate(self.keys) if self._numbers[key] != n)
            raise InputError(f"two documents have the key {twice!r}; rename one")
        bare = np.bincount(self.documents, minlength=len(self.keys)) == 0
        if bare.any():
            key = self.keys[int(bare.argmax())]
            raise InputError(f"document {key!r} has no identifier; every document needs one")

    def _refuse_malformed(self) -> None:
        """Require rows of at least one symbol, none negative, followed by padding only."""
        lengths = (self.symbols != PAD).sum(axis=1, keepdims=True)
        good = (self.symbols >= 0) == (np.arange(self.depth) < lengths)
        bad = ~good.all(axis=1) | (lengths[:, 0] == 0)
        if bad.any():
            row = int(bad.argmax())
            raise InputError(
                f"an identifier of {self.key_of(row)!r} is empty or holds a negative symbol; "
                "symbols count from 0"
            )

    def _refuse_prefixes(self) -> None:
        """Require that no row is a prefix of the next; PAD sorts below every symbol."""
        ahead, behind = self.symbols[:-1], self.symbols[1:]
        ended = ahead == PAD
        prefix = ((ahead == behind) | ended).all(axis=1) & (ended & (behind != PAD)).any(axis=1)
        if prefix.any():
            row = int(prefix.argmax())
            raise InputError(
                f"identifier {self.identifier(row)} of {self.key_of(row)!r} is a prefix of "
                f"{self.identifier(row + 1)} of {self.key_of(row + 1)!r}; end both with a symbol "
                "that occurs nowhere else"
            )

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.symbols)

    @property
    def depth(self) -> int:
        """Length of the longest identifier."""
        return self.symbols.shape[1]

    def identifier(self, row: int) -> Identifier:
        """Return the identifier of a row, without padding."""
        symbols = self.symbols[row]
        return tuple(int(s) for s in symbols[symbols != PAD])

    def key_of(self, row: int) -> str:
        """Return the key of a row's document."""
        return self.keys[int(self.documents[row])]

    def number(self, key: str) -> int:
        """Return a document's number. Raises InputError for an unknown key."""
        if key not in self._numbers:
            raise InputError(
                f"no document with key {key!r} in the table of identifiers; check the key"
            )
        return self._numbers[key]

    def __contains__(self, key: object) -> bool:
        """Return whether a key is in the table, live or not."""
        return key in self._numbers

    def rows_of(self, number: int) -> NDArray[np.int64]:
        """Return the rows of a document."""
        order, starts = self._by_document
        return order[starts[number] : starts[number + 1]]

    def identifiers_of(self, number: int) -> list[Identifier]:
        """Return a document's identifiers."""
        return [self.identifier(int(row)) for row in self.rows_of(number)]

    def row_of(self, identifier: Identifier) -> int:
        """Return the first row with an identifier. Raises KeyError if there is none."""
        return self.rows_with(identifier).start

    def rows_with(self, identifier: Identifier) -> range:
        """Return the rows with an identifier. Raises KeyError if there is none."""
        if len(identifier) > self.depth or PAD in identifier:
            raise KeyError(identifier)
        low, high = 0, len(self)
        wanted = (*identifier, *[PAD] * (self.depth - len(identifier)))
        if max(wanted) > np.iinfo(self.symbols.dtype).max:
            raise KeyError(identifier)
        for level, symbol in enumerate(np.array(wanted, dtype=self.symbols.dtype)):
            column = self.symbols[low:high, level]
            low, high = (
                low + int(np.searchsorted(column, symbol, "left")),
                low + int(np.searchsorted(column, symbol, "right")),
            )
        if low >= high:
            raise KeyError(identifier)
        return range(low, high)

    def is_live(self, key: str) -> bool:
        """Return whether a document may be found; False for an unknown key."""
        return key in self and bool(self.live[self.rows_of(self.number(key))].any())

    def with_live(self, numbers: Iterable[int], live: bool) -> Self:
        """Return a table in which documents are deleted or restored; it shares the rows."""
        rows = [self.rows_of(number) for number in numbers]
        if not rows:
            return self
        changed = copy(self)
        changed.live = self.live.copy()
        changed.live[np.concatenate(rows)] = live
        return changed

    def count_in_ranges(
        self, low: NDArray[np.int64], high: NDArray[np.int64], rows: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """Return the number of `rows`, bool [rows], in each range [low, high)."""
        if self._running is None or self._running[0] is not rows:
            self._running = (rows, np.append(0, rows.cumsum(dtype=np.int32)))
        before = self._running[1]
        return before[high].astype(np.int64) - before[low]

    def with_documents(
        self,
        identifiers: Mapping[int, Sequence[Identifier]],
        keys: Sequence[str],
        spans: UnitSpans | None = None,
    ) -> Self:
        """Return a table in which the given documents have these identifiers only.

        Args:
            identifiers: New identifiers by document number.
            keys: Keys of new documents, with numbers after the highest existing one.
            spans: Units of the given documents, if the documents of the table have units.

        Raises:
            InputError: An identifier is malformed, or a prefix of another.
        """
        everyone = [*self.keys, *keys]
        own = type(self).build(
            list(identifiers.values()), [everyone[n] for n in identifiers], spans
        )
        kept = ~np.isin(self.documents, list(identifiers))
        depth = max(self.depth, own.depth)
        symbols = np.concatenate([_padded(self.symbols[kept], depth), _padded(own.symbols, depth)])
        numbers = np.array(list(identifiers), dtype=np.int32)[own.documents]
        documents = np.concatenate([self.documents[kept], numbers])
        order = sorted_order(symbols)
        live = np.concatenate([self.live[kept], own.live])[order]
        units = None
        if self.spans is not None and own.spans is not None:
            units = np.concatenate([self.spans[kept], own.spans])[order]
        table = type(self)(symbols[order], documents[order], everyone, live, units)
        table._numbers = self._numbers | {k: n for n, k in enumerate(keys, len(self.keys))}
        table._refuse_prefixes()
        return table

    def unit(self, row: int) -> tuple[int, int] | None:
        """Return the start and end of a row's unit in its document's text; None without units."""
        return None if self.spans is None else (int(self.spans[row, 0]), int(self.spans[row, 1]))

    @cached_property
    def max_units(self) -> int:
        """Largest number of units of a document; 1 without units."""
        return 1 if self.spans is None else int(np.bincount(self.documents).max(initial=1))

    @cached_property
    def units(self) -> NDArray[np.int64]:
        """Number of each row's unit among all, by document and symbol, [rows]; without units, the
        number of its document.
        """
        if self.spans is None:
            return self.documents.astype(np.int64)
        numbers = np.empty(len(self), dtype=np.int64)
        numbers[self._by_document[0]] = np.arange(len(self))
        return numbers

    @cached_property
    def _by_document(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows in document order, and where each document's rows start in it."""
        counts = np.bincount(self.documents, minlength=len(self.keys))
        starts = np.concatenate([[0], np.cumsum(counts)])
        return np.argsort(self.documents, kind="stable"), starts

    def save(self, folder: Path) -> None:
        """Write `rows.safetensors` and `keys.marisa` to a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        numbers = write_keys(folder / "keys.marisa", self.keys)
        arrays = dict(zip(ARRAYS, (self.symbols, self.documents, self.live, numbers), strict=True))
        if self.spans is not None:
            arrays[SPANS] = self.spans
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        save_file(contiguous, folder / "rows.safetensors")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load a saved table. Raises InputError if a file is missing or damaged.

        The rows are memory-mapped copy-on-write: processes share them, and unused ones need no
        memory.
        """
        rows, keys = folder / "rows.safetensors", folder / "keys.marisa"
        for path in (rows, keys):
            if not path.is_file():
                raise InputError(f"{path}: missing from the model folder; train it again")
        try:
            # safetensors maps arrays into memory through torch only.
            with safe_open(rows, framework="pt", device="cpu") as file:
                units = [SPANS] if SPANS in file.keys() else []  # noqa: SIM118
                arrays = {name: file.get_tensor(name).numpy() for name in (*ARRAYS, *units)}
        except (SafetensorError, RuntimeError, TypeError, OSError) as error:
            raise InputError(
                f"{rows}: damaged identifier table ({error}); restore the folder or train it again"
            ) from None
        _refuse_misshapen(rows, arrays)
        names = read_keys(keys, arrays["numbers"])
        spans = arrays.get(SPANS)
        table = cls(arrays["symbols"], arrays["documents"], names, arrays["live"], spans)
        try:
            table._refuse_foreign_rows()
        except InputError as error:
            raise InputError(f"{rows}: damaged: {error}; restore it or train it again") from None
        return table

    def _refuse_foreign_rows(self) -> None:
        """Raise InputError for rows that `from_arrays` cannot produce."""
        if len(self) and not 0 <= self.documents.min() <= self.documents.max() < len(self.keys):
            raise InputError(f"a row has a document number outside 0 to {len(self.keys) - 1}")
        if self.spans is not None and not _are_ordered(self.spans):
            raise InputError("a unit ends before its start")
        self._refuse_keys()
        self._refuse_malformed()
        self._refuse_prefixes()
        if not _has_sorted_rows(self.symbols):
            raise InputError("the rows are not sorted")


def check_symbol_ranges(
    table: IdentifierTable, sizes: Sequence[int], folder: Path, any_depth: bool
) -> None:
    """Raise InputError for a symbol outside its level.

    sizes: number of symbols of each level. any_depth: the first size applies to all levels (text).
    """
    remedy = "restore the folder or train it again"
    depth = table.depth if any_depth else len(sizes)
    if table.depth > depth:
        raise InputError(
            f"{folder}: identifiers of {table.depth} levels instead of {depth}; {remedy}"
        )
    for level, highest in enumerate(table.symbols.max(axis=0, initial=PAD).tolist()):
        size = sizes[0 if any_depth else level]
        if highest >= size:
            raise InputError(
                f"{folder}: symbol {highest} at level {level}, which has {size}; {remedy}"
            )


def check_row_depths(table: IdentifierTable, levels: int, folder: Path) -> None:
    """Raise InputError for an identifier shorter than the number of levels."""
    short = table.depth < levels or bool((table.symbols == PAD).any())
    if short and len(table):
        raise InputError(
            f"{folder}: an identifier of fewer than {levels} levels; restore the folder or train "
            "it again"
        )


def _padded(symbols: Symbols, depth: int) -> Symbols:
    short = depth - symbols.shape[1]
    return np.pad(symbols, ((0, 0), (0, short)), constant_values=PAD) if short else symbols


def _refuse_misshapen(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise InputError unless the arrays have the shapes and dtypes written by `save`."""
    rows = len(arrays["symbols"]) if arrays["symbols"].ndim else -1
    for name, array in arrays.items():
        dimensions, kind = 1 + (name in ("symbols", SPANS)), "b" if name == "live" else "i"
        count = rows if name != "numbers" else len(array) if array.ndim else -1
        bad = array.ndim != dimensions or array.dtype.kind != kind or len(array) != count
        if bad or (name == SPANS and (array.shape[1] != 2 or array.dtype != np.int32)):
            raise InputError(
                f"{path}: damaged identifier table: {name} is {array.dtype} {list(array.shape)}; "
                "restore the folder or train it again"
            )


def _are_ordered(spans: Spans) -> bool:
    return bool(((spans[:, 0] >= 0) & (spans[:, 0] <= spans[:, 1])).all())


def _has_sorted_rows(symbols: Symbols) -> bool:
    ahead, behind = symbols[:-1], symbols[1:]
    undecided = np.ones(len(ahead), dtype=bool)
    for level in range(symbols.shape[1]):
        if (ahead[undecided, level] > behind[undecided, level]).any():
            return False
        undecided[undecided] = ahead[undecided, level] == behind[undecided, level]
    return True


def smallest_int(symbols: Symbols) -> Symbols:
    """Return integers as int16 if they fit, else as int32; no copy if unchanged."""
    fits = symbols.dtype == np.int16 or symbols.max(initial=0) <= np.iinfo(np.int16).max
    return symbols.astype(np.int16 if fits else np.int32, copy=False)


def sorted_order(symbols: Symbols) -> NDArray[np.int64]:
    """Return the stable lexicographic order [rows] of symbols [rows, depth].

    Columns are packed into 63-bit keys, 3 times faster than sorting by column.
    """
    keys, room = [np.zeros(len(symbols), dtype=np.int64)], 63
    for column in symbols.T:
        bits = (int(column.max(initial=0)) - PAD).bit_length()
        if bits > room:
            keys.append(np.zeros(len(symbols), dtype=np.int64))
            room = 63
        keys[-1] = (keys[-1] << bits) | (column.astype(np.int64) - PAD)
        room -= bits
    return np.lexsort(keys[::-1])
