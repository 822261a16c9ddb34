"""The table of valid identifiers: sorted rows, the documents they belong to, and the live mask.

Knows no model and no device; `decoding.trie` is the table as the decoder sees it.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from genir.errors import InputError
from genir.identifiers.keys import read_keys, write_keys
from genir.records import Identifier

PAD = -1
"""Fills the rest of a row whose identifier is shorter than the deepest one."""

Symbols = NDArray[np.signedinteger[Any]]
"""Symbols of rows: int16 where they fit, else int32."""

ARRAYS = ("symbols", "documents", "live", "numbers")
"""What a file of rows holds; `numbers` are those of the keys, in marisa's order."""


class IdentifierTable:
    """Identifier <-> document rows.

    symbols: int16 (int32 where they do not fit) [rows, depth], sorted, padded with PAD.
    documents: int32 [rows], the number (place in the corpus) of the row's document.
    live: bool [rows]; a deleted document's rows are False.
    keys: list of the documents' keys, by number.
    """

    def __init__(
        self,
        symbols: Symbols,
        documents: NDArray[np.signedinteger[Any]],
        keys: Sequence[str],
        live: NDArray[np.bool_] | None = None,
    ) -> None:
        self.symbols = narrowest(symbols)
        self.documents: NDArray[np.int32] = documents.astype(np.int32, copy=False)
        self.keys = keys
        self.live = np.ones(len(symbols), dtype=bool) if live is None else live
        # Of which live mask, and its running sum: masks are replaced, not written to.
        self._running: tuple[NDArray[np.bool_], NDArray[np.int32]] | None = None

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """The number of each key; not made for those who only look keys up by number."""
        return {key: number for number, key in enumerate(self.keys)}

    @classmethod
    def build(cls, identifiers: Sequence[Sequence[Identifier]], keys: Sequence[str]) -> Self:
        """Sort every document's identifiers into rows.

        Raises InputError as `from_arrays` does.
        """
        if len(identifiers) != len(keys):
            raise ValueError(f"{len(identifiers)} documents' identifiers, but {len(keys)} keys")
        counts = [len(own) for own in identifiers]
        rows = list(chain.from_iterable(identifiers))
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        symbols = np.full((len(rows), int(lengths.max(initial=1))), PAD, dtype=np.int32)
        flat = np.fromiter(chain.from_iterable(rows), dtype=np.int32, count=int(lengths.sum()))
        flat[flat == PAD] -= 1  # still refused, but not mistaken for padding
        symbols[np.arange(symbols.shape[1]) < lengths[:, None]] = flat
        return cls.from_arrays(symbols, np.repeat(np.arange(len(counts)), counts), keys)

    @classmethod
    def from_arrays(
        cls, symbols: Symbols, documents: NDArray[np.signedinteger[Any]], keys: Sequence[str]
    ) -> Self:
        """Sort rows: symbols int [rows, depth] padded with PAD, documents int [rows].

        Raises InputError when two documents have one key, when a document has no identifier or an
        empty one, and when one identifier is a proper prefix of another (the decoder could not
        tell where it ends).
        """
        order = np.argsort(documents, kind="stable")
        order = order[sorted_order(symbols[order])]
        table = cls(symbols[order], documents[order], keys)
        table._refuse_keys()
        table._refuse_malformed()
        table._refuse_prefixes()
        return table

    def _refuse_keys(self) -> None:
        """Every document has a row, and a key of its own that the saved trie can hold."""
        odd = next((key for key in self.keys if "\0" in key or not is_unicode(key)), None)
        if odd is not None:
            raise InputError(f"key {odd!r} holds a NUL or half a surrogate pair; rename it")
        if len(self._numbers) < len(self.keys):
            twice = next(key for n, key in enumerate(self.keys) if self._numbers[key] != n)
            raise InputError(f"two documents have the key {twice!r}; every document needs its own")
        bare = np.bincount(self.documents, minlength=len(self.keys)) == 0
        if bare.any():
            key = self.keys[int(bare.argmax())]
            raise InputError(f"document {key!r} has no identifier; every document needs one")

    def _refuse_malformed(self) -> None:
        """A row is one symbol or more, none negative, and then only padding."""
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
        """Sorting puts a prefix right before its first extension (PAD is below every symbol)."""
        ahead, behind = self.symbols[:-1], self.symbols[1:]
        ended = ahead == PAD
        prefix = ((ahead == behind) | ended).all(axis=1) & (ended & (behind != PAD)).any(axis=1)
        if prefix.any():
            row = int(prefix.argmax())
            raise InputError(
                f"identifier {self.identifier(row)} of {self.key_of(row)!r} is a prefix of "
                f"{self.identifier(row + 1)} of {self.key_of(row + 1)!r}; end both with a symbol "
                "that stands nowhere else"
            )

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.symbols)

    @property
    def depth(self) -> int:
        """Return the length of the longest identifier."""
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
        """Tell whether a key is in the table, live or not."""
        return key in self._numbers

    def rows_of(self, number: int) -> NDArray[np.int64]:
        """Return the rows of a document."""
        order, starts = self._by_document()
        return order[starts[number] : starts[number + 1]]

    def identifiers_of(self, number: int) -> list[Identifier]:
        """Return a document's identifiers."""
        return [self.identifier(int(row)) for row in self.rows_of(number)]

    def row_of(self, identifier: Identifier) -> int:
        """Return the first row that holds an identifier. Raises KeyError when there is none."""
        return self.rows_with(identifier).start

    def rows_with(self, identifier: Identifier) -> range:
        """Return the rows that hold an identifier. Raises KeyError when there is none."""
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
        """Tell whether a document may be found; False for an unknown key."""
        return key in self and bool(self.live[self.rows_of(self.number(key))].any())

    def set_live(self, numbers: Iterable[int], live: bool) -> None:
        """Delete documents, or undo that. Masks made before stay as they are."""
        rows = [self.rows_of(number) for number in numbers]
        changed = self.live.copy()
        changed[np.concatenate([np.empty(0, dtype=np.int64), *rows])] = live
        self.live = changed

    def between(
        self, low: NDArray[np.int64], high: NDArray[np.int64], rows: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """Return how many of `rows`, bool [rows], lie in each range [low, high), in its shape."""
        if self._running is None or self._running[0] is not rows:
            self._running = (rows, np.append(0, rows.cumsum(dtype=np.int32)))
        before = self._running[1]
        return before[high].astype(np.int64) - before[low]

    def put(self, identifiers: Mapping[int, Sequence[Identifier]], keys: Sequence[str]) -> Self:
        """Return a table in which documents, by number, have these identifiers and no others.

        keys: those of the numbers that follow the highest there is. Raises InputError when an
        identifier is malformed or a prefix of another.
        """
        everyone = [*self.keys, *keys]
        own = type(self).build(list(identifiers.values()), [everyone[n] for n in identifiers])
        kept = ~np.isin(self.documents, list(identifiers))
        depth = max(self.depth, own.depth)
        symbols = np.concatenate([_padded(self.symbols[kept], depth), _padded(own.symbols, depth)])
        numbers = np.array(list(identifiers), dtype=np.int32)[own.documents]
        documents = np.concatenate([self.documents[kept], numbers])
        order = sorted_order(symbols)
        live = np.concatenate([self.live[kept], own.live])[order]
        table = type(self)(symbols[order], documents[order], everyone, live)
        table._numbers = self._numbers | {k: n for n, k in enumerate(keys, len(self.keys))}
        table._refuse_prefixes()
        return table

    def _by_document(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if not hasattr(self, "_order"):
            self._order = np.argsort(self.documents, kind="stable")
            counts = np.bincount(self.documents, minlength=len(self.keys))
            self._starts = np.concatenate([[0], np.cumsum(counts)])
        return self._order, self._starts

    def save(self, folder: Path) -> None:
        """Write `rows.safetensors` and `keys.marisa` into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        numbers = write_keys(folder / "keys.marisa", self.keys)
        arrays = map(np.ascontiguousarray, (self.symbols, self.documents, self.live, numbers))
        save_file(dict(zip(ARRAYS, arrays, strict=True)), folder / "rows.safetensors")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read back what `save` wrote. Raises InputError naming a missing or damaged file.

        The rows are mapped, not read: what is never looked at takes no memory, and processes share
        the rest. Writing to them leaves the file as it is.
        """
        rows, keys = folder / "rows.safetensors", folder / "keys.marisa"
        for path in (rows, keys):
            if not path.is_file():
                raise InputError(f"{path}: missing from the model folder; train it again")
        try:
            arrays = _mapped(rows)
        except (SafetensorError, RuntimeError, TypeError, OSError) as error:
            raise InputError(
                f"{rows}: damaged identifier table ({error}); restore the folder or train it again"
            ) from None
        _refuse_misshapen(rows, arrays)
        names = read_keys(keys, arrays["numbers"])
        table = cls(arrays["symbols"], arrays["documents"], names, arrays["live"])
        try:
            table._refuse_foreign_rows()
        except InputError as error:
            raise InputError(f"{rows}: damaged: {error}; restore it or train it again") from None
        return table

    def _refuse_foreign_rows(self) -> None:
        """Raise InputError for rows that `from_arrays` could not have made."""
        if len(self) and not 0 <= self.documents.min() <= self.documents.max() < len(self.keys):
            raise InputError(f"a row is of no document: there are {len(self.keys)}")
        self._refuse_keys()
        self._refuse_malformed()
        self._refuse_prefixes()
        if not _is_sorted(self.symbols):
            raise InputError("the rows are not sorted")


def refuse_foreign_symbols(
    table: IdentifierTable, sizes: Sequence[int], folder: Path, any_depth: bool
) -> None:
    """Raise InputError for a symbol outside its level.

    sizes: the symbols of each level; any_depth: one size holds for all levels (identifiers of
    text), however deep.
    """
    mend = "restore the folder or train it again"
    depth = table.depth if any_depth else len(sizes)
    if table.depth > depth:
        raise InputError(
            f"{folder}: identifiers of {table.depth} levels instead of {depth}; {mend}"
        )
    for level, highest in enumerate(table.symbols.max(axis=0, initial=PAD).tolist()):
        size = sizes[0 if any_depth else level]
        if highest >= size:
            raise InputError(
                f"{folder}: symbol {highest} at level {level}, which has {size}; {mend}"
            )


def refuse_short_rows(table: IdentifierTable, levels: int, folder: Path) -> None:
    """Raise InputError for an identifier that has no symbol at one of the levels."""
    short = table.depth < levels or bool((table.symbols == PAD).any())
    if short and len(table):
        raise InputError(
            f"{folder}: an identifier of fewer than {levels} levels; restore the folder or train "
            "it again"
        )


def _padded(symbols: Symbols, depth: int) -> Symbols:
    """Return rows of symbols padded to a depth."""
    short = depth - symbols.shape[1]
    return np.pad(symbols, ((0, 0), (0, short)), constant_values=PAD) if short else symbols


def _refuse_misshapen(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise InputError unless the arrays have the shapes and types that `save` writes."""
    rows = len(arrays["symbols"]) if arrays["symbols"].ndim else -1
    for name, array in arrays.items():
        dimensions, kind = (2 if name == "symbols" else 1), ("b" if name == "live" else "i")
        count = rows if name != "numbers" else len(array) if array.ndim else -1
        if array.ndim != dimensions or array.dtype.kind != kind or len(array) != count:
            raise InputError(
                f"{path}: damaged identifier table: {name} is {array.dtype} {list(array.shape)}; "
                "restore the folder or train it again"
            )


def _is_sorted(symbols: Symbols) -> bool:
    """Return whether rows of symbols are in lexicographic order."""
    ahead, behind = symbols[:-1], symbols[1:]
    undecided = np.ones(len(ahead), dtype=bool)
    for level in range(symbols.shape[1]):
        if (ahead[undecided, level] > behind[undecided, level]).any():
            return False
        undecided[undecided] = ahead[undecided, level] == behind[undecided, level]
    return True


def _mapped(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file without reading them; only through torch are they not copied."""
    with safe_open(path, framework="pt", device="cpu") as file:
        return {name: file.get_tensor(name).numpy() for name in ARRAYS}


def is_unicode(text: str) -> bool:
    """Tell whether a text can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def narrowest(symbols: Symbols) -> Symbols:
    """Return integers as int16 where they fit, else as int32; unchanged if they are so already."""
    fits = symbols.dtype == np.int16 or symbols.max(initial=0) <= np.iinfo(np.int16).max
    return symbols.astype(np.int16 if fits else np.int32, copy=False)


def sorted_order(symbols: Symbols) -> NDArray[np.int64]:
    """Return the stable lexicographic order [rows] of symbols [rows, depth].

    Sorts by a few 63-bit keys that hold several columns each, 3 times faster than by column.
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
