"""Tables for the terminal and the chart of the decoding benchmark."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich import box
from rich.console import Group
from rich.table import Table

from benchmarks.decode.grid import Row
from genir.evaluation.chart import FIRST_COLOR, GRID_COLOR, INK_COLOR, OTHER_COLORS


def to_tables(rows: Sequence[Row]) -> Group:
    """Return two tables of at most 80 columns: systems compared, and cost of the constraint."""
    cell = ("batch", "ids", "bits", "softmax")
    contest = Table(*cell, "genir", "HF", "marisa", "x", "same", ">=",
                    "passes", caption="ms a query; HF, marisa: transformers over a trie; "
                    ">=: no less likely than HF's")  # fmt: skip
    cost = Table(*cell, "adds", "ms", "step", "floor", "B/id", "RSS", "build",
                 caption="added to a step; ms; bytes an identifier; s")  # fmt: skip
    for row in rows:
        own = (f"{row.batch}x{row.beams}", _size(row.identifiers), row.precision, row.normalise)
        contest.add_row(
            *own, _shown(row.genir_ms), _shown(row.transformers_ms), _shown(row.marisa_ms),
            _shown(row.speedup), _share(row.same), _share(row.as_likely),
            f"{row.passes}/{row.symbols}",
        )  # fmt: skip
        cost.add_row(
            *own, f"{row.overhead:+.1%}", f"{row.overhead_ms:+.3g}", f"{row.step_ms:.3g}",
            "-" if row.floor_ms is None else f"{row.floor_ms:.3g}",
            _shown(row.bytes_per_identifier), _shown(row.resident_bytes),
            f"{row.build_seconds:.2f}",
        )  # fmt: skip
    for table in (contest, cost):
        table.box, table.padding, table.show_edge = box.SIMPLE, (0, 1, 0, 0), False
    return Group(contest, cost)


def _size(identifiers: int) -> str:
    """Format a number with a unit prefix: 10M, 21k, 60."""
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if identifiers >= unit:
            return f"{identifiers / unit:.0f}{name}"
    return str(identifiers)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw the milliseconds per query of both systems for each cell, as a PNG."""
    figure = Figure(figsize=(11, 4.8), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    series = (("genir", FIRST_COLOR, -0.2), ("transformers", OTHER_COLORS[0], 0.2))
    for name, colour, shift in series:
        values = [getattr(row, f"{name}_ms") or np.nan for row in rows]
        bars = axes.bar(np.arange(len(rows)) + shift, values, 0.38, label=name, color=colour)
        axes.bar_label(
            bars, [f"{v:,.0f}" if v == v else "" for v in values], fontsize=8, color=INK_COLOR
        )
    labels = [f"{r.batch} x {r.beams}\n{r.levels} levels\n{r.precision}" for r in rows]
    axes.set_xticks(range(len(rows)), labels, color=INK_COLOR)
    axes.set_yscale("log")
    axes.set_ylabel("ms a query")
    axes.set_title("Decoding: queries x beams, identifiers, precision", loc="left", color=INK_COLOR)
    axes.grid(axis="y", color=GRID_COLOR)
    axes.set_axisbelow(True)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
