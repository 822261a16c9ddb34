"""Progress output of training: a bar on a terminal, otherwise one line per evaluation."""

from collections.abc import Mapping
from typing import Any

import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from genir.console import Console, print_line

SHOW_EVERY = 5
"""Steps between updates of the displayed loss; each one synchronises with the device."""


class Display:
    """Progress bar with steps, loss, dev RR@10 and remaining time; `bar` is its context manager."""

    def __init__(self, total: int, done: int, shown: bool) -> None:
        self.console = Console(stderr=True, quiet=not shown)
        self.bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}  dev RR@10 {task.fields[dev]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            disable=not (shown and self.console.is_terminal),
            transient=True,
        )
        self.task = self.bar.add_task("", total=total, completed=done, loss="-", dev="-", note="")
        self.total = total

    def advance(self, step: int, loss: torch.Tensor) -> None:
        """Count one step."""
        if step % SHOW_EVERY == 0:
            self.bar.update(self.task, loss=f"{float(loss):.3f}")
        self.bar.update(self.task, advance=1, note="")

    def note(self, text: str) -> None:
        """Show the activity between steps."""
        self.bar.update(self.task, note=text)

    def show_dev_metrics(self, row: Mapping[str, Any]) -> None:
        """Show an evaluation; without dev queries the loss alone."""
        loss = "-" if row["loss"] is None else f"{row['loss']:.3f}"
        line = f"step {row['step']:>6}/{self.total}  {row['seconds']:>6.0f} s  loss {loss}"
        if row["RR@10"] is not None:
            line += f"  dev RR@10 {row['RR@10']:.3f}  Success@10 {row['Success@10']:.3f}"
            self.bar.update(self.task, dev=f"{row['RR@10']:.3f}")
        self.bar.update(self.task, note="")
        self.console.print(line)


def log(text: str, shown: bool) -> None:
    """Print a line to stderr without breaking the progress bar."""
    if shown:
        print_line(text, stderr=True)
