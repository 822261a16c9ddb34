"""Time fp32, bf16 and auto by turns: MiniLM's pass, embedding, training, queries, decoding.

python -m benchmarks.precision [--model FOLDER] [--decode] [--rounds N]
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
from genir.evaluation.contest import Contest, Setting, code_contest
from genir.evaluation.decode_grid import CODES
from genir.evaluation.decode_speed import draw_codes
from genir.models.encoder import TextEncoder, pad_batch
from genir.models.precision import CLOCK, WORKS, Work, autocast, choose, describe, fixed
from genir.retriever import Retriever

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "auto")
QUESTION = "how do i list all files of a folder by size"
Case = tuple[str, Work, Callable[[Precision], object]]
STEP_TEXTS = 64


def main() -> None:
    """Print a row a kind of work: milliseconds, and auto over the faster of the others."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--model", type=Path, help="a model folder, to time single queries")
    parser.add_argument("--decode", action="store_true", help="time genir's benchmark decode, too")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the best counts")
    asked = parser.parse_args()
    typer.echo(f"{processor()}; {torch.get_num_threads()} threads; {describe('cpu', WORKS)}")
    typer.echo(f"{'ms':<34}{'fp32':>10}{'bf16':>10}{'auto':>10}  auto is  auto/best")
    given = queries(asked.model) if asked.model else ()
    for case in chain(passes(), steps(), given, cells() if asked.decode else ()):
        show(case, asked.rounds)


def show(case: Case, rounds: int) -> None:
    """Time the three by turns and print the row."""
    name, work, run = case
    best: dict[Precision, float] = dict.fromkeys(PRECISIONS, float("inf"))
    for precision in PRECISIONS:
        run(precision)
    for _ in range(rounds):
        for precision in PRECISIONS:
            best[precision] = min(best[precision], seconds(partial(run, precision)))
    ratio = best["auto"] / min(best["fp32"], best["bf16"])
    times = "".join(f"{1000 * best[precision]:>10.2f}" for precision in PRECISIONS)
    typer.echo(f"{name:<34}{times}  {choose(work, 'cpu'):<7}  {ratio:.3f}")


def seconds(run: Callable[[], object]) -> float:
    """Return the best of as many runs as fill a fifth of a second; of one thread, its own time."""
    clock = CLOCK if torch.get_num_threads() == 1 else perf_counter
    best, until = float("inf"), perf_counter() + 0.2
    while True:
        began = clock()
        run()
        best = min(best, clock() - began)
        if perf_counter() > until:
            return best


def in_force(precision: Precision) -> AbstractContextManager[None]:
    """Return a context in which all work takes a precision; auto: as measured."""
    if precision == "auto":
        return nullcontext()
    return fixed({"cpu": dict.fromkeys(WORKS, precision)})


def passes() -> Iterator[Case]:
    """Yield texts through MiniLM, an encoder a precision: weights are converted once."""
    own = {precision: TextEncoder.pretrained().eval() for precision in PRECISIONS}
    shapes: tuple[tuple[int, int, Work], ...] = (
        (1, 8, "answering"), (32, 14, "answering"), (64, 254, "embedding"))  # fmt: skip
    for count, words, work in shapes:
        texts = [" ".join(["word"] * words)] * count

        def embed(precision: Precision, texts: list[str] = texts, work: Work = work) -> object:
            with in_force(precision):
                return own[precision].embed(texts, work=work)

        yield f"MiniLM, {count} x {words + 2} tokens", work, embed


def steps() -> Iterator[Case]:
    """Yield a training step of MiniLM, as `training.loop` takes it."""
    encoder = TextEncoder.pretrained().train()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.0, fused=True)
    ids, mask = pad_batch([[101, *range(2000, 2014), 102]] * STEP_TEXTS, 0)

    def step(precision: Precision) -> object:
        with in_force(precision), autocast(torch.device("cpu"), "training"):
            loss = encoder(ids, mask).square().sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    yield f"training step, {STEP_TEXTS} x 16 tokens", "training", step


def queries(folder: Path) -> Iterator[Case]:
    """Yield one query at a time to a trained model."""
    own = {precision: Retriever.load(folder, "cpu") for precision in PRECISIONS}

    def search(precision: Precision) -> object:
        with in_force(precision):
            return own[precision].search([QUESTION])

    yield f"one query to {folder.name}", "answering", search


def cells() -> Iterator[Case]:
    """Yield the cells of `benchmark decode`, genir's part, a model a precision."""
    for cell in CODES:
        if cell.precision != "auto":
            continue
        own = {}
        for precision in PRECISIONS:
            torch.manual_seed(0)
            symbols = draw_codes(cell.identifiers, cell.levels, cell.codes)
            setting = Setting(cell.batch, cell.beams, precision, cell.normalise)
            codes = [cell.codes] * cell.levels
            own[precision] = code_contest(symbols, codes, cell.vocabulary, setting, False)
        name = f"decode {cell.batch} x {cell.beams}, {cell.levels} levels"
        yield name, "answering", partial(_decode, own)


def _decode(own: Mapping[Precision, Contest], precision: Precision) -> object:
    return own[precision].genir()


if __name__ == "__main__":
    main()
