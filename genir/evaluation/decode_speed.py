"""`genir benchmark decode`: how fast identifiers are decoded, by genir and by transformers, in one
process and by turns, over a grid of sizes.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import get_args

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich import box
from rich.console import Group
from rich.table import Table
from torch import Tensor

from genir.corpus.folder import read_corpus
from genir.decoding.readers import Normalise
from genir.decoding.trie import Trie
from genir.errors import InputError
from genir.evaluation.chart import FIRST, GRID, INK, OTHERS
from genir.evaluation.contest import Answers, Contest, Setting, code_contest, url_contest
from genir.evaluation.pace import floor
from genir.evaluation.residence import resident_bytes
from genir.evaluation.session import print_wide
from genir.identifiers.table import Symbols
from genir.progress import tracked
from genir.records import Document

TURN = 1.0
"""Seconds that a system's turn lasts at least."""
NORMALISATIONS: tuple[Normalise, ...] = get_args(Normalise)


@dataclass(frozen=True)
class Cell:
    """One point of the grid. `levels` codes, each below `codes`; no levels: the URLs of a corpus.

    vocabulary: the model's own tokens. peers: whether transformers takes part; it normalises over
    all tokens of its own, so that codes can be compared with it over legal symbols only.
    """

    batch: int
    beams: int
    identifiers: int = 0
    vocabulary: int = 32_128
    levels: int = 4
    codes: int = 256
    precision: str = "fp32"
    normalise: Normalise = "legal"
    peers: bool = True


QUICK = (Cell(4, 5, 1_000, vocabulary=1_000),)
CODES = tuple(
    Cell(*shape, 100_000, levels=levels, precision=precision)
    for levels in (4, 16)  # short ones, and those of the recipe `residual`
    for shape in ((8, 10), (32, 100))
    for precision in ("fp32", "auto")
)
SIZES = tuple(
    Cell(
        8, beams, identifiers, levels=8, codes=2_048, precision="auto", normalise=over, peers=False
    )
    for over in NORMALISATIONS
    for beams in (10, 20)
    for identifiers in (10_000, 1_000_000, 10_000_000)
)
ON_GPU = tuple(
    Cell(*shape, 100_000, levels=16, precision=precision)
    for shape, precision in (((8, 10), "fp32"), ((8, 10), "auto"), ((32, 100), "auto"))
)
SIZES_ON_GPU = tuple(
    Cell(2, 70, identifiers, levels=8, codes=2_048, precision="auto", normalise=over, peers=False)
    for over in NORMALISATIONS
    for identifiers in (10_000, 1_000_000, 10_000_000, 100_000_000)
)
URLS = (
    Cell(8, 10, vocabulary=32_000, levels=0),
    Cell(8, 10, vocabulary=32_000, levels=0, precision="auto"),
    Cell(8, 10, vocabulary=32_000, levels=0, normalise="vocabulary"),
    Cell(8, 10, vocabulary=32_000, levels=0, normalise="vocabulary", precision="auto"),
)


@dataclass(frozen=True)
class Row:
    """What a cell came to; times in milliseconds a query, medians of the turns, which last at least
    a second each.

    speedup: transformers_ms / genir_ms; marisa_ms: transformers over a marisa trie. same: the share
    of queries whose ten best identifiers are alike in both. overhead: what the constraint adds to a
    decoder step, as a share of it, and in milliseconds; step_ms: of a step without it. floor_ms: of
    reading the decoder's weights once, on a GPU. passes: of the model, to write `symbols` symbols a
    beam.
    bytes_per_identifier: of the trie. resident_bytes: also an identifier, of a process that holds
    trie, live mask and row -> document map, for cells without peers.
    """

    batch: int
    beams: int
    identifiers: int
    vocabulary: int
    levels: int
    codes: int
    precision: str
    normalise: Normalise
    genir_ms: float
    transformers_ms: float | None
    marisa_ms: float | None
    speedup: float | None
    same: float | None
    overhead: float
    overhead_ms: float
    step_ms: float
    floor_ms: float | None
    passes: int
    symbols: int
    bytes_per_identifier: float
    resident_bytes: float | None
    build_seconds: float


@dataclass(frozen=True)
class Request:
    """What `genir benchmark decode` is asked for; `corpus`: whose URLs are decoded, not codes."""

    quick: bool = False
    corpus: Path | None = None
    sizes: bool = False
    turns: int = 3
    device: str = "auto"


def run_benchmark(request: Request, json_file: Path | None, plot: Path | None) -> list[Row]:
    """Measure, print a table, and write JSON (`{"rows": [...]}`) and a chart if asked to."""
    device = _device(request.device)
    documents = [] if request.corpus is None else list(read_corpus(request.corpus))
    codes, sizes = (CODES, SIZES) if device == "cpu" else (ON_GPU, SIZES_ON_GPU)
    cells = QUICK if request.quick else sizes if request.sizes else codes
    cells = URLS if documents else cells
    rows = []
    for row in measure_grid(cells, documents, request.turns, device):
        rows.append(row)
        if json_file is not None:  # each time: a later cell may take longer than one waits
            made = {"rows": [asdict(row) for row in rows]}
            json_file.write_text(json.dumps(made, indent=2) + "\n")
    print_wide(to_tables(rows))
    if plot is not None:
        draw(rows, plot)
    return rows


def _device(asked: str) -> str:
    """Return `cpu` or `cuda`. Raises InputError for anything else, and where there is no GPU."""
    there = torch.cuda.is_available()
    if asked not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device {asked!r}: take cpu, cuda or auto")
    if asked == "cuda" and not there:
        raise InputError("--device cuda: torch finds no GPU here; take cpu or auto")
    return "cuda" if there and asked != "cpu" else "cpu"


def measure_grid(
    cells: Sequence[Cell], corpus: Sequence[Document], turns: int, device: str = "cpu"
) -> Iterator[Row]:
    """Measure the cells, each `turns` times; those that differ in size alone take turns."""
    groups = [list(group) for _, group in groupby(cells, partial(replace, identifiers=0))]
    for group in tracked(groups, "decoding"):
        contests = []
        for cell in group:
            torch.manual_seed(0)
            contests.append(_contest(cell, corpus, device))
        answers, times = _by_turns(contests, turns)
        for cell, contest, given, own in zip(group, contests, answers, times, strict=True):
            yield _row(cell, contest, given, own)


def _contest(cell: Cell, corpus: Sequence[Document], device: str) -> Contest:
    setting = Setting(cell.batch, cell.beams, cell.precision, cell.normalise, device)
    if not cell.levels:
        return url_contest(corpus, cell.vocabulary, setting)
    symbols = draw_codes(cell.identifiers, cell.levels, cell.codes, device)
    return code_contest(symbols, [cell.codes] * cell.levels, cell.vocabulary, setting, cell.peers)


def _by_turns(
    contests: Sequence[Contest], turns: int
) -> tuple[list[dict[str, Answers]], list[dict[str, float]]]:
    """Return what the systems of each contest answer, and their median milliseconds a query."""
    answers = [{name: run() for name, run in own.systems.items()} for own in contests]  # warms up
    for contest in contests:
        if contest.recorded is not None:
            contest.genir()  # a search is recorded when it comes a second time
    times: list[dict[str, list[float]]] = [{name: [] for name in own.systems} for own in contests]
    for _ in range(turns):
        for contest, taken in zip(contests, times, strict=True):
            for name, run in contest.systems.items():
                taken[name].append(1000 * _seconds(run) / contest.setting.batch)
    return answers, [{name: median(own) for name, own in taken.items()} for taken in times]


def _row(
    cell: Cell, contest: Contest, answers: dict[str, Answers], middle: dict[str, float]
) -> Row:
    theirs = middle.get("transformers")
    symbols = contest.trie.symbols.cpu().numpy()
    began = perf_counter()
    trie = Trie.from_symbols(symbols)
    built = perf_counter() - began
    pace = contest.pace()
    size = {"identifiers": trie.rows, "levels": trie.depth}
    return Row(
        **{k: v for k, v in (asdict(cell) | size).items() if k != "peers"},
        genir_ms=middle["genir"],
        transformers_ms=theirs,
        marisa_ms=middle.get("marisa"),
        speedup=theirs and theirs / middle["genir"],
        same=_alike(answers["genir"], answers["transformers"]) if cell.peers else None,
        overhead=pace.overhead,
        overhead_ms=pace.constrained - pace.free,
        step_ms=pace.free,
        floor_ms=None if contest.device.type == "cpu" else floor(contest.model, cell.precision),
        passes=contest.steps()[-1].passes,
        symbols=trie.depth,
        bytes_per_identifier=trie.bytes / trie.rows,
        resident_bytes=None
        if cell.peers or contest.device.type != "cpu"
        else resident_bytes(symbols),
        build_seconds=built,
    )


def _seconds(run: Callable[[], object]) -> float:
    """Return the mean of as many runs as fill `TURN`: one alone may fall on a busy moment."""
    began, runs = perf_counter(), 0
    while perf_counter() - began < TURN:
        run()
        runs += 1
    return (perf_counter() - began) / runs


def _alike(ours: Sequence[Sequence[object]], theirs: Sequence[Sequence[object]]) -> float:
    return float(np.mean([set(a) == set(b) for a, b in zip(ours, theirs, strict=True)]))


def draw_codes(identifiers: int, levels: int, codes: int, device: str = "cpu") -> Symbols:
    """Draw distinct identifiers, sorted [identifiers, levels], the same in every run on a device.

    Some codes are more common than others, as with real ones: their likelihood falls with the
    square root of their rank.
    """
    generator = torch.Generator(device).manual_seed(0)
    likelihood = torch.arange(1, codes + 1, device=device, dtype=torch.float64).rsqrt()
    edges = (likelihood.cumsum(0) / likelihood.sum()).float()
    rows = torch.empty(0, levels, dtype=torch.int16, device=device)
    while len(rows) < identifiers:
        missing = identifiers - len(rows) + 1_000
        drawn = torch.rand(missing, levels, generator=generator, device=device)
        found = torch.searchsorted(edges, drawn, out_int32=True).clamp(max=codes - 1)
        rows = _distinct(torch.cat([rows, found.to(torch.int16)]))
    kept = torch.randperm(len(rows), generator=generator, device=device)[:identifiers]
    return rows[kept.sort().values].cpu().numpy()


def _distinct(rows: Tensor) -> Tensor:
    """Return the distinct ones of int16 [rows, levels], none negative, in order."""
    order = torch.arange(len(rows), device=rows.device)
    for last in range(rows.shape[1], 0, -4):  # four levels are one key
        key = torch.zeros_like(order)
        for column in rows[order, max(0, last - 4) : last].unbind(1):
            key = (key << 15) | column
        order = order[key.argsort(stable=True)]
    rows = rows[order]
    changes = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    changes[1:] = (rows[1:] != rows[:-1]).any(dim=1)
    return rows[changes]


def to_tables(rows: Sequence[Row]) -> Group:
    """Return what the terminal shows, of at most 80 columns: the contest, and the constraint."""
    cell = ("batch", "ids", "bits", "softmax")
    contest = Table(*cell, "genir", "HF", "marisa", "x", "same", "passes",
                    caption="ms a query; HF, marisa: transformers over such a trie")  # fmt: skip
    cost = Table(*cell, "adds", "ms", "step", "floor", "B/id", "RSS", "build",
                 caption="added to a step; ms; bytes an identifier; s")  # fmt: skip
    for row in rows:
        own = (f"{row.batch}x{row.beams}", _size(row.identifiers), row.precision, row.normalise)
        contest.add_row(
            *own, _shown(row.genir_ms), _shown(row.transformers_ms), _shown(row.marisa_ms),
            _shown(row.speedup), "-" if row.same is None else f"{row.same:.2f}",
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
    """Return a number in the fewest places: 10M, 21k, 60."""
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if identifiers >= unit:
            return f"{identifiers / unit:.0f}{name}"
    return str(identifiers)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw the milliseconds a query of both systems, cell by cell, as a PNG."""
    figure = Figure(figsize=(11, 4.8), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    series = (("genir", FIRST, -0.2), ("transformers", OTHERS[0], 0.2))
    for name, colour, shift in series:
        values = [getattr(row, f"{name}_ms") or np.nan for row in rows]
        bars = axes.bar(np.arange(len(rows)) + shift, values, 0.38, label=name, color=colour)
        axes.bar_label(bars, [f"{v:,.0f}" if v == v else "" for v in values], fontsize=8, color=INK)
    labels = [f"{r.batch} x {r.beams}\n{r.levels} levels\n{r.precision}" for r in rows]
    axes.set_xticks(range(len(rows)), labels, color=INK)
    axes.set_yscale("log")
    axes.set_ylabel("ms a query")
    axes.set_title("Decoding: queries x beams, identifiers, precision", loc="left", color=INK)
    axes.grid(axis="y", color=GRID)
    axes.set_axisbelow(True)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
