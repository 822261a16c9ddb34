"""Quality report on identifiers, computed in seconds before training."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from numpy.typing import NDArray
from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from scipy.stats import entropy

from genir.errors import InputError
from genir.identifiers.base import Scheme
from genir.identifiers.codes import CodeScheme
from genir.identifiers.table import PAD, IdentifierTable
from genir.identifiers.text import TextScheme
from genir.plurals import counted

INK_COLOR, SOFT_COLOR = "#2f5d8a", "#cfdbe7"
"""Colours of the chart: measured value, and maximum."""

LEVELS_SHOWN = 20


@dataclass(frozen=True)
class LevelReport:
    """Statistics of one level.

    Attributes:
        name: Level number, or "tie".
        size: Number of symbols of the scheme.
        used: Number of symbols in the table.
        entropy: Bits, over the rows that reach the level; at most log2(size).
        mean_children: Mean number of children of the trie's inner nodes at this depth.
        max_children: Maximum number of children.
        undecided: Number of rows that the levels before it do not separate from all others.
    """

    name: str
    size: int
    used: int
    entropy: float
    mean_children: float
    max_children: int
    undecided: int


@dataclass(frozen=True)
class IdentifierReport:
    """Statistics of a table of identifiers.

    Attributes:
        rows: Number of identifiers.
        uniqueness: Share of documents with an identifier that no other document has.
        shared: Share of rows whose identifier another document has, too.
        alike: Share of documents with exactly the same identifiers as another.
        tied: Share of documents separated by an arbitrary number at the end.
        lengths: Number of rows by length in symbols.
        bytes_per_identifier: Size of the table's arrays, including document numbers.
        decode_steps: Mean number of unforced steps of a row.
    """

    scheme: str
    documents: int
    rows: int
    uniqueness: float
    shared: float
    alike: float
    tied: float
    lengths: dict[int, int]
    bytes_per_identifier: float
    decode_steps: float
    levels: tuple[LevelReport, ...]
    warnings: tuple[str, ...]

    @property
    def rows_per_document(self) -> float:
        """Mean number of identifiers of a document."""
        return self.rows / self.documents

    @property
    def bytes_per_document(self) -> float:
        """Size of the table's arrays per document."""
        return self.bytes_per_identifier * self.rows_per_document

    @property
    def mean_length(self) -> float:
        """Mean length of an identifier in symbols."""
        return sum(length * rows for length, rows in self.lengths.items()) / self.rows

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-compatible values."""
        derived = ("mean_length", "rows_per_document", "bytes_per_document")
        values = asdict(self) | {name: getattr(self, name) for name in derived}
        values["lengths"] = {str(length): rows for length, rows in self.lengths.items()}
        return values | {"levels": list(values["levels"]), "warnings": list(self.warnings)}


def report(table: IdentifierTable, scheme: Scheme) -> IdentifierReport:
    """Measure the table of a scheme's identifiers, before any insertion.

    Raises:
        InputError: The table is empty.
    """
    if not len(table):
        raise InputError("identifiers: the corpus holds no documents; add documents to it")
    lengths = np.bincount((table.symbols != PAD).sum(axis=1))
    levels, choices = _measure_levels(table, scheme)
    arrays = table.symbols.nbytes + table.documents.nbytes
    tied = scheme.num_collisions if isinstance(scheme, CodeScheme | TextScheme) else 0
    measured = IdentifierReport(
        scheme=scheme.name,
        documents=len(table.keys),
        rows=len(table),
        **_ownership(table),
        tied=tied / len(table.keys),
        lengths={int(length): int(lengths[length]) for length in np.flatnonzero(lengths)},
        bytes_per_identifier=arrays / len(table),
        decode_steps=choices / len(table),
        levels=levels,
        warnings=(),
    )
    return replace(measured, warnings=tuple(_warnings(measured, scheme)))


def _measure_levels(table: IdentifierTable, scheme: Scheme) -> tuple[tuple[LevelReport, ...], int]:
    """Return the levels, and the total number of unforced steps of all rows."""
    sizes = scheme.level_sizes()
    sizes = sizes * table.depth if len(sizes) == 1 else sizes
    names = [str(depth + 1) for depth in range(table.depth)]
    if isinstance(scheme, CodeScheme):
        names[-1] = "tie"
    levels, choices = [], 0
    for depth, (symbols, children, nodes) in enumerate(_level_statistics(table.symbols)):
        counts = np.bincount(symbols)
        counts = counts[counts > 0]
        inner = children[children > 0]
        choices += int((children[nodes] > 1).sum())
        level = (names[depth], sizes[depth], len(counts), float(entropy(counts, base=2)))
        undecided = int((np.bincount(nodes)[nodes] > 1).sum())
        levels.append(LevelReport(*level, float(inner.mean()), int(inner.max()), undecided))
    return tuple(levels), choices


def _level_statistics(
    symbols: NDArray[np.int32],
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]]:
    """Yield for each depth: the symbols of rows that reach it, the number of children of each trie
    node, and the node of each of these rows. A node is a prefix shared by adjacent rows.
    """
    opens = np.arange(len(symbols)) == 0  # first row of its prefix
    for column in symbols.T:
        nodes = np.cumsum(opens) - 1
        reached = column != PAD
        opens = opens | np.concatenate([opens[:1], column[1:] != column[:-1]])
        children = np.bincount(nodes[opens & reached], minlength=nodes[-1] + 1)
        yield column[reached], children, nodes[reached]


def _ownership(table: IdentifierTable) -> dict[str, float]:
    """Return `uniqueness`, `shared` and `alike`.

    Sets of identifiers are compared by the sum of a random number for each identifier.
    """
    ahead, behind = table.symbols[:-1], table.symbols[1:]
    opens = np.concatenate([[True], (ahead != behind).any(axis=1)])
    groups = np.cumsum(opens) - 1
    another = np.concatenate([[True], table.documents[1:] != table.documents[:-1]])
    owners = np.bincount(groups[opens | another])
    own = np.unique(table.documents[owners[groups] == 1])
    names = np.random.default_rng(0).integers(2**63, size=len(owners), dtype=np.uint64)
    sets = np.zeros(len(table.keys), dtype=np.uint64)
    np.add.at(sets, table.documents, names[groups])
    _, counts = np.unique(sets, return_counts=True)
    return {
        "uniqueness": len(own) / len(table.keys),
        "shared": float((owners[groups] > 1).mean()),
        "alike": int(counts[counts > 1].sum()) / len(table.keys),
    }


def _warnings(found: IdentifierReport, scheme: Scheme) -> Iterator[str]:
    if not scheme.unique and found.alike > 0.1:
        yield (
            f"{found.alike:.0%} of the documents have the same identifiers as another, and cannot "
            "be distinguished; use longer or more identifiers"
        )
    if scheme.unique and found.uniqueness < 0.9:
        yield (
            f"only {found.uniqueness:.0%} of the documents have a unique identifier; the others "
            "cannot be distinguished"
        )
    if found.tied > 0.1:
        yield (
            f"{found.tied:.0%} of the documents differ only by an arbitrary number, which a model "
            "cannot learn from their content; make the identifiers longer or finer"
        )
    if isinstance(scheme, CodeScheme):
        # In a small corpus the first levels separate the documents, and later codes stay unused.
        needed = (level for level in found.levels[:-1] if level.undecided >= level.size)
        idle = [level for level in needed if level.used < level.size / 2]
        if idle:
            least = min(idle, key=lambda level: level.used / level.size)
            yield (
                f"codebook collapse: {len(idle)} of {counted(len(found.levels) - 1, 'level')} "
                f"{'uses' if len(idle) == 1 else 'use'} less than half of the codes (level "
                f"{least.name}: {least.used} of {least.size}); use fewer codes, or remove "
                "documents with the same text"
            )
    if isinstance(scheme, TextScheme) and scheme.max_length:
        cut = found.lengths.get(scheme.max_length, 0) / found.rows
        if cut > 0.05:
            yield (
                f"{cut:.0%} of the identifiers have max_tokens = {scheme.max_length} "
                "tokens, so their text is probably truncated; raise max_tokens"
            )


def render(found: IdentifierReport) -> RenderableType:
    """Return the report as tables for the terminal."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold")
    for name, value in (
        ("scheme", found.scheme),
        ("documents", f"{found.documents:,}"),
        ("identifiers", f"{found.rows:,}, {found.rows_per_document:.1f} a document"),
        ("uniqueness", f"{found.uniqueness:.1%}"),
        ("shared", f"{found.shared:.1%} of the identifiers, {found.alike:.1%} of documents alike"),
        ("differ only by a number", f"{found.tied:.1%}"),
        (
            "length",
            f"{found.mean_length:.1f} symbols, {min(found.lengths)} to {max(found.lengths)}",
        ),
        ("decode steps", f"{found.decode_steps:.1f} with a choice"),
        ("bytes per identifier", f"{found.bytes_per_identifier:.1f}"),
        ("bytes per document", f"{found.bytes_per_document:,.1f}"),
    ):
        facts.add_row(name, value)
    notes = [Text(f"! {warning}", style="yellow") for warning in found.warnings]
    return Group(facts, Text(), _level_table(found.levels), *notes)


def _level_table(levels: Sequence[LevelReport]) -> Table:
    shown = levels if len(levels) <= LEVELS_SHOWN + 1 else levels[:LEVELS_SHOWN]
    more = (
        f"and {counted(len(levels) - len(shown), 'more level')}"
        if len(shown) < len(levels)
        else None
    )
    table = Table(box=SIMPLE, caption=more, caption_justify="left")
    table.add_column("level")
    for title in ("used", "of", "use", "entropy (bits)", "at most", "children", "at most"):
        table.add_column(title, justify="right")
    for level in shown:
        table.add_row(
            level.name, f"{level.used:,}", f"{level.size:,}", f"{level.used / level.size:.0%}",
            f"{level.entropy:.2f}", f"{log2(level.size):.2f}", f"{level.mean_children:.1f}",
            f"{level.max_children:,}",
        )  # fmt: skip
    return table


def plot(found: IdentifierReport, path: Path) -> None:
    """Draw use, entropy and branching by level, and the lengths, to a PNG file."""
    figure = Figure(figsize=(10, 6.4), layout="constrained", dpi=150)
    used, bits, children, lengths = figure.subplots(2, 2).flat
    levels = found.levels
    _draw_levels(used, levels, [v.used for v in levels], [v.size for v in levels])
    used.set(title="symbols used, of all", yscale="log", ylim=(0.8, None))
    _draw_levels(bits, levels, [v.entropy for v in levels], [log2(v.size) for v in levels])
    bits.set(title="entropy, of the maximum (bits)")
    most = [v.max_children for v in levels]
    _draw_levels(children, levels, [v.mean_children for v in levels], most)
    children.set(title="children of a node, mean and maximum", yscale="log", ylim=(0.8, None))
    lengths.bar(list(found.lengths), list(found.lengths.values()), color=INK_COLOR)
    lengths.set(title="identifiers by length", xlabel="symbols")
    lengths.set_xlim(min(found.lengths) - 2, max(found.lengths) + 2)
    lengths.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (used, bits, children, lengths):
        _style_axes(axes)
    figure.suptitle(
        f"{found.scheme}: {counted(found.documents, 'document')}, {found.uniqueness:.1%} unique, "
        f"{found.decode_steps:.1f} steps with a choice, "
        f"{found.bytes_per_identifier:.0f} bytes per identifier",
        fontsize=12,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")


def _draw_levels(
    axes: Axes, levels: Sequence[LevelReport], front: Sequence[float], behind: Sequence[float]
) -> None:
    places = range(len(levels))
    axes.bar(places, behind, color=SOFT_COLOR, width=0.85)
    axes.bar(places, front, color=INK_COLOR, width=0.55)
    every = 1 + len(levels) // 17  # labels of 16 levels and a tie fit side by side
    axes.set_xticks(places[::every], [level.name for level in levels[::every]])
    axes.set_xlabel("level")


def _style_axes(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.set_title(axes.get_title(), fontsize=11, fontweight="bold")
