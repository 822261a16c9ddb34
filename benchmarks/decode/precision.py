"""Time fp32, bf16 and auto alternately: MiniLM, embedding, training, single queries, decoding."""

from genir.signals import guard

guard(__name__)  # before the slow imports

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Annotated

import torch
import typer

from benchmarks.decode.grid import CODES
from benchmarks.decode.speed import make_systems
from benchmarks.provenance import processor
from genir.cli import guarded
from genir.config import Precision
from genir.console import print_line
from genir.models.encoder import TextEncoder
from genir.models.precision import CLOCK, WORKLOADS, Workload, autocast, choose, describe, fixed
from genir.models.tokenization import pad_batch
from genir.retriever import Retriever

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "auto")
TRAINING_BATCH = 64
SECONDS_PER_ROUND = 0.2
QUERY = "how do i list all files of a folder by size"
Case = tuple[str, Workload, Sequence[Callable[[], object]]]
"""Name, kind of work, and the function to time for each precision.

Each has its own model, so that weights are converted once.
"""


def main(
    model: Annotated[
        Path | None, typer.Option(help="a model folder, to time single queries")
    ] = None,
    decode: Annotated[bool, typer.Option(help="time the cells of benchmarks.decode")] = False,
    rounds: Annotated[int, typer.Option(help="number of rounds; the best one is shown")] = 5,
) -> None:
    """Print one line per case: milliseconds, and the ratio of auto to the faster precision."""
    cases = chain(
        encoder_cases(),
        training_cases(),
        query_cases(model) if model else (),
        decode_cases() if decode else (),
    )
    print_line(f"{processor()}; {torch.get_num_threads()} threads; {describe('cpu', WORKLOADS)}")
    print_line(f"{'ms':<34}{'fp32':>10}{'bf16':>10}{'auto':>10}  auto is  auto/best")
    for name, work, runs in cases:
        best = [float("inf")] * len(PRECISIONS)
        for number in range(rounds + 1):
            for place, (precision, run) in enumerate(zip(PRECISIONS, runs, strict=True)):
                with using(precision):
                    seconds = best_seconds(run)
                if number:  # the first round warms up
                    best[place] = min(best[place], seconds)
        columns = "".join(f"{1000 * seconds:>10.2f}" for seconds in best)
        print_line(f"{name:<34}{columns}  {choose(work, 'cpu'):<7}  {best[2] / min(best[:2]):.3f}")


def best_seconds(run: Callable[[], object]) -> float:
    """Return the fastest run within `SECONDS_PER_ROUND`; with one thread, its CPU time."""
    clock = CLOCK if torch.get_num_threads() == 1 else perf_counter
    best, end = float("inf"), perf_counter() + SECONDS_PER_ROUND
    while True:
        begin = clock()
        run()
        best = min(best, clock() - begin)
        if perf_counter() > end:
            return best


def using(precision: Precision) -> AbstractContextManager[None]:
    """Return a context in which all work has a precision; auto: the one measured as faster."""
    if precision == "auto":
        return nullcontext()
    return fixed({"cpu": dict.fromkeys(WORKLOADS, precision)})


def encoder_cases() -> Iterator[Case]:
    """Yield MiniLM passes."""
    encoders = [TextEncoder.pretrained().eval() for _ in PRECISIONS]
    shapes: tuple[tuple[int, int, Workload], ...] = (
        (1, 8, "answering"),
        (32, 14, "answering"),
        (64, 254, "embedding"),
    )
    for count, words, work in shapes:
        texts = [" ".join(["word"] * words)] * count
        runs = [partial(encoder.embed, texts, work=work) for encoder in encoders]
        yield f"MiniLM, {count} x {words + 2} tokens", work, runs


def training_cases() -> Iterator[Case]:
    """Yield a training step of MiniLM."""
    encoder = TextEncoder.pretrained().train()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.0, fused=True)
    ids, mask = pad_batch([[101, *range(2000, 2014), 102]] * TRAINING_BATCH, 0)

    def step() -> None:
        with autocast(torch.device("cpu"), "training"):
            loss = encoder(ids, mask).square().sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    yield f"training step, {TRAINING_BATCH} x 16 tokens", "training", [step] * len(PRECISIONS)


def query_cases(folder: Path) -> Iterator[Case]:
    """Yield one query at a time."""
    models = [Retriever.load(folder, "cpu") for _ in PRECISIONS]
    runs = [partial(model.search, [QUERY]) for model in models]
    yield f"one query to {folder.name}", "answering", runs


def decode_cases() -> Iterator[Case]:
    """Yield the cells of `python -m benchmarks.decode` with precision auto."""
    for cell in CODES:
        if cell.precision == "auto":
            cells = [replace(cell, precision=one, peers=False) for one in PRECISIONS]
            runs = [make_systems(one, [], "cpu").run_genir for one in cells]
            name = f"decode {cell.batch} x {cell.beams}, {cell.levels} levels"
            yield name, "answering", runs


if __name__ == "__main__":
    guarded(lambda: typer.run(main))
