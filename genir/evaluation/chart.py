"""Bar charts: measures, RR@10 by query type, and gold documents pruned at each level."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from genir.console import one_line
from genir.evaluation.compare import Comparison, Decoding
from genir.evaluation.measures import MEASURES
from genir.evaluation.tables import MAIN_MEASURE
from genir.plurals import counted

FIRST_COLOR = "#2563eb"
OTHER_COLORS = ("#f59e0b", "#10b981", "#8b5cf6", "#ef4444", "#64748b")
INK_COLOR, GRID_COLOR = "#1f2937", "#e5e7eb"


def draw(comparison: Comparison, path: Path, title: str) -> None:
    """Write the chart of a comparison as a PNG."""
    by_kind = {
        f"{kind}\n{means.queries:,}": {n: own[MAIN_MEASURE] for n, own in means.systems.items()}
        for kind, means in comparison.kinds.items()
    }
    by_measure = {
        measure: {name: own[measure] for name, own in comparison.overall.systems.items()}
        for measure in MEASURES
    }
    figure = Figure(figsize=(13, 4.8), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, width_ratios=(len(by_measure), max(2, len(by_kind))))
    _bars(left, by_measure, comparison.systems)
    _bars(right, by_kind, comparison.systems)
    left.set_title(
        f"{counted(comparison.overall.queries, 'query', 'queries')}", color=INK_COLOR, loc="left"
    )
    right.set_title(f"{MAIN_MEASURE} by kind of query", color=INK_COLOR, loc="left")
    place = {"x": 0.01, "ha": "left"}
    heading = figure.suptitle(
        one_line(title), color=INK_COLOR, fontsize=15, fontweight="bold", **place
    )
    heading.set_parse_math(False)  # a dollar sign in a name does not start a formula
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure.savefig(path, dpi=150)


def draw_pruned(decoding: Decoding, path: Path) -> None:
    """Write a PNG with the share of gold documents that the beam pruned at each level."""
    figure = Figure(figsize=(13, 3.2), layout="constrained", facecolor="white")
    axes = figure.subplots()
    shares = {str(level): {"pruned": share} for level, share in enumerate(decoding.pruned, start=1)}
    _bars(axes, shares, ["pruned"])
    gold = counted(decoding.gold, "gold document")
    title = f"Share of {gold} pruned, by level, {decoding.beams} beams"
    axes.set_title(title, color=INK_COLOR, loc="left")
    figure.savefig(path, dpi=150)


def _bars(axes: Any, groups: Mapping[str, Mapping[str, float]], systems: Sequence[str]) -> None:
    """Draw a group of bars for each key of `groups`: one labelled bar per system."""
    width = 0.84 / len(systems)
    top = max((value for own in groups.values() for value in own.values()), default=0.0)
    for number, name in enumerate(systems):
        places = [group + (number - (len(systems) - 1) / 2) * width for group in range(len(groups))]
        heights = [own[name] for own in groups.values()]
        colour = FIRST_COLOR if number == 0 else OTHER_COLORS[(number - 1) % len(OTHER_COLORS)]
        bars = axes.bar(places, heights, width * 0.92, label=name, color=colour, zorder=2)
        labels = [f"{height:.3f}".removeprefix("0") for height in heights]
        axes.bar_label(bars, labels, padding=2, fontsize=7.5, color=INK_COLOR, rotation=90)
    axes.set_xticks(range(len(groups)), list(groups), color=INK_COLOR)
    axes.set_ylim(0, max(top, 0.05) * 1.16)
    axes.grid(axis="y", color=GRID_COLOR, zorder=0)
    axes.tick_params(length=0, labelcolor=INK_COLOR)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID_COLOR)
