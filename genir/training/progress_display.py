"""Progress output of training: a bar on a terminal, otherwise one line per evaluation."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

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
"""Steps between updates of the displayed loss; each one synchronizes with the device."""


class Display:
    """Progress bar with steps, loss, dev RR@10 and remaining time."""

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
        self.steps = done

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def advance(self, loss: torch.Tensor) -> None:
        """Count one step."""
        self.steps += 1
        if self.steps % SHOW_EVERY == 0:
            self.bar.update(self.task, loss=f"{float(loss):.3f}")
        self.bar.update(self.task, advance=1, note="")

    def note(self, text: str) -> None:
        """Show the activity between steps."""
        self.bar.update(self.task, note=text)

    def show_dev_metrics(self, row: Mapping[str, Any], asked: bool) -> None:
        """Show an evaluation. asked: whether there were dev queries."""
        loss = "-" if row["loss"] is None else f"{row['loss']:.3f}"
        line = f"step {row['step']:>6}/{self.total}  {row['seconds']:>6.0f} s  loss {loss}"
        if asked:
            line += f"  dev RR@10 {row['RR@10']:.3f}  Success@10 {row['Success@10']:.3f}"
            self.bar.update(self.task, dev=f"{row['RR@10']:.3f}")
        self.bar.update(self.task, note="")
        self.console.print(line)


def log(text: str, shown: bool) -> None:
    """Print a line to stderr without breaking the progress bar."""
    if shown:
        print_line(text, stderr=True)
