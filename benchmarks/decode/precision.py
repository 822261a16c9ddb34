"""Time fp32, bf16 and auto alternately: MiniLM, embedding, training, single queries, decoding.

python -m benchmarks.decode.precision [--model FOLDER] [--decode] [--rounds N]
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import chain
from pathlib import Path
from time import perf_counter

import torch
import typer

from benchmarks.provenance import processor
from genir.config import Precision
from genir.evaluation.decode_grid import CODES, Cell
from genir.evaluation.decode_speed import draw_codes
from genir.evaluation.decoder_systems import (
    DecoderSystems,
    DecodeSetting,
    code_systems,
)
from genir.models.encoder import TextEncoder, pad_batch
from genir.models.precision import CLOCK, WORKLOADS, Workload, autocast, choose, describe, fixed
from genir.retriever import Retriever

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "auto")
TRAINING_BATCH = 64
SECONDS_PER_ROUND = 0.2
QUERY = "how do i list all files of a folder by size"
Case = tuple[str, Workload, Callable[[Precision], object]]
"""Name, kind of work, and the function to time."""


def main() -> None:
    """Print one line per case: milliseconds, and the ratio of auto to the faster precision."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds; the best one is shown")
    parser.add_argument("--model", type=Path, help="a model folder, to time single queries")
    parser.add_argument("--decode", action="store_true", help="time the cells of benchmark decode")
    options = parser.parse_args()
    cases = chain(
        encoder_cases(),
        training_cases(),
        query_cases(options.model) if options.model else (),
        decode_cases() if options.decode else (),
    )
    typer.echo(f"{processor()}; {torch.get_num_threads()} threads; {describe('cpu', WORKLOADS)}")
    typer.echo(f"{'ms':<34}{'fp32':>10}{'bf16':>10}{'auto':>10}  auto is  auto/best")
    for name, work, run in cases:
        for precision in PRECISIONS:  # warm up
            run(precision)
        rounds = [
            [best_seconds(partial(run, precision)) for precision in PRECISIONS]
            for _ in range(options.rounds)
        ]
        best = [min(times) for times in zip(*rounds, strict=True)]
        columns = "".join(f"{1000 * seconds:>10.2f}" for seconds in best)
        typer.echo(f"{name:<34}{columns}  {choose(work, 'cpu'):<7}  {best[2] / min(best[:2]):.3f}")


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
    """Yield MiniLM passes, with one encoder per precision so that weights are converted once."""
    encoders = {precision: TextEncoder.pretrained().eval() for precision in PRECISIONS}

    def embed(texts: list[str], work: Workload, precision: Precision) -> object:
        with using(precision):
            return encoders[precision].embed(texts, work=work)

    shapes: tuple[tuple[int, int, Workload], ...] = (
        (1, 8, "answering"),
        (32, 14, "answering"),
        (64, 254, "embedding"),
    )
    for count, words, work in shapes:
        texts = [" ".join(["word"] * words)] * count
        yield f"MiniLM, {count} x {words + 2} tokens", work, partial(embed, texts, work)


def training_cases() -> Iterator[Case]:
    """Yield a training step of MiniLM."""
    encoder = TextEncoder.pretrained().train()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.0, fused=True)
    ids, mask = pad_batch([[101, *range(2000, 2014), 102]] * TRAINING_BATCH, 0)

    def step(precision: Precision) -> object:
        with using(precision), autocast(torch.device("cpu"), "training"):
            loss = encoder(ids, mask).square().sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    yield f"training step, {TRAINING_BATCH} x 16 tokens", "training", step


def query_cases(folder: Path) -> Iterator[Case]:
    """Yield one query at a time, with one copy of the model per precision."""
    models = {precision: Retriever.load(folder, "cpu") for precision in PRECISIONS}

    def search(precision: Precision) -> object:
        with using(precision):
            return models[precision].search([QUERY])

    yield f"one query to {folder.name}", "answering", search


def decode_cases() -> Iterator[Case]:
    """Yield the cells of `genir benchmark decode` with precision auto."""
    for cell in CODES:
        if cell.precision != "auto":
            continue
        systems = {precision: decode_cell(cell, precision) for precision in PRECISIONS}
        name = f"decode {cell.batch} x {cell.beams}, {cell.levels} levels"
        yield name, "answering", partial(_search, systems)


def _search(systems: Mapping[Precision, DecoderSystems], precision: Precision) -> object:
    return systems[precision].run_genir()


def decode_cell(cell: Cell, precision: Precision) -> DecoderSystems:
    """Return a cell on random weights, which are the same for each precision."""
    torch.manual_seed(0)
    symbols = draw_codes(cell.identifiers, cell.levels, cell.codes)
    setting = DecodeSetting(cell.batch, cell.beams, precision, cell.normalise)
    return code_systems(symbols, [cell.codes] * cell.levels, cell.vocabulary, setting, False)


if __name__ == "__main__":
    main()
