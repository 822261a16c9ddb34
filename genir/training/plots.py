"""Plot of the training curve."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from genir.console import one_line


def draw_curve(history: Sequence[Mapping[str, Any]], title: str, path: Path) -> None:
    """Plot training loss and dev scores against steps, and write a PNG."""
    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    left = figure.add_subplot()
    right = left.twinx()
    steps = [row["step"] for row in history]
    losses = [(row["step"], row["loss"]) for row in history if row["loss"] is not None]
    if losses:
        left.plot(*zip(*losses, strict=True), color="#c2410c", marker="o", ms=3, label="loss")
    measured = all(row["RR@10"] is not None for row in history)
    for name, colour in (("RR@10", "#1d4ed8"), ("Success@10", "#0f766e")) if measured else ():
        right.plot(steps, [r[name] for r in history], color=colour, marker="o", ms=3, label=name)
    left.set(xlabel="step", ylabel="training loss", title=one_line(title))
    left.title.set_parse_math(False)  # a dollar sign in a name is not a formula
    left.set_ylim(bottom=0)
    right.set(ylabel="dev retrieval", ylim=(0, 1))
    left.spines[["top", "right"]].set_visible(False)
    right.spines[["top", "left"]].set_visible(False)
    left.grid(axis="y", alpha=0.2)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure.savefig(path)
