"""Decoding time of genir and transformers over a grid of sizes, measured alternately."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from benchmarks.decode.grid import (
    CODES,
    ON_GPU,
    QUICK,
    SIZES,
    SIZES_ON_GPU,
    URLS,
    Cell,
    Row,
)
from benchmarks.decode.memory_footprint import resident_bytes
from benchmarks.decode.step_time import bandwidth_floor_ms
from benchmarks.decode.systems import (
    Answers,
    DecoderSystems,
    DecodeSetting,
    code_systems,
    model_systems,
    url_systems,
)
from benchmarks.decode.tables import draw, to_tables
from genir.config import Precision
from genir.console import print_line, print_table
from genir.corpus.page_folder import files_read
from genir.corpus.readers import read_corpus, read_queries
from genir.decoding.trie import Trie
from genir.errors import InputError
from genir.identifiers.table import Symbols
from genir.models.precision import choose, describe
from genir.outputs import check_distinct, write_all, write_text
from genir.progress import tracked
from genir.types import Document

MIN_TURN_S = 1.0
"""Minimum duration of a system's turn in seconds."""
MODEL_QUERIES = 32
"""Number of queries for a trained model, spread evenly over the file."""


@dataclass(frozen=True)
class ModelQueries:
    """A trained model and its queries."""

    model: Path
    queries: Sequence[str]


Given = ModelQueries | Sequence[Document]
"""Identifiers for cells without codes: of a trained model, or the URLs of a corpus."""


@dataclass(frozen=True)
class DecodeRequest:
    """Options of `python -m benchmarks.decode`.

    corpus: decode its URLs instead of codes. model: a trained model with text identifiers, measured
    on `MODEL_QUERIES` queries of the file `queries`. precision: instead of `auto`.
    """

    quick: bool = False
    corpus: Path | None = None
    sizes: bool = False
    turns: int = 3
    device: str = "auto"
    model: Path | None = None
    queries: Path | None = None
    precision: Precision = "auto"


def run_benchmark(request: DecodeRequest, json_file: Path | None, plot: Path | None) -> list[Row]:
    """Measure, print a table, and optionally write JSON (`{"rows": [...]}`) and a chart."""
    inputs = {"--queries": request.queries, "--model": request.model}
    if request.corpus is not None:
        inputs |= files_read(request.corpus)
    check_distinct({"--json": json_file, "--plot": plot}, inputs)
    device = _device(request.device)
    cells, given = _grid(request, device)
    if request.precision != "auto":
        asked = [_settled(cell, request.precision) for cell in cells]
        cells = list(dict.fromkeys(asked))
    else:
        print_line(f"auto on {device}: {describe(device, ('answering',))}")
    rows = []
    for row in measure_grid(cells, given, request.turns, device):
        rows.append(row)
        if json_file is not None:  # after each cell: the user may interrupt a later one
            made = {"rows": [asdict(row) for row in rows]}
            write_text(json_file, json.dumps(made, indent=2) + "\n")
    try:
        print_table(to_tables(rows))
    finally:  # write files even if stdout is closed
        if plot is not None:
            write_all({plot: lambda: draw(rows, plot)})
    return rows


def _settled(cell: Cell, precision: Precision) -> Cell:
    """Return a cell with `auto` replaced by the resolved precision."""
    return replace(cell, precision=precision) if cell.precision == "auto" else cell


def _grid(request: DecodeRequest, device: str) -> tuple[Sequence[Cell], Given]:
    """Return the cells and their identifiers. Raises InputError for conflicting options."""
    if (request.model is None) != (request.queries is None):
        raise InputError("--model and --queries belong together: name both, or neither")
    if (request.quick or request.sizes) and (request.corpus or request.model):
        raise InputError("--quick and --sizes apply to codes only; leave out --corpus and --model")
    if request.model is not None and request.queries is not None:
        if request.corpus is not None:
            raise InputError("--corpus and --model: mutually exclusive; give one of them")
        texts = [query.text for query in read_queries(request.queries).values()]
        return URLS, ModelQueries(
            request.model, texts[:: max(1, len(texts) // MODEL_QUERIES)][:MODEL_QUERIES]
        )
    if request.corpus is not None:
        return URLS, list(read_corpus(request.corpus))
    codes, sizes = (CODES, SIZES) if device == "cpu" else (ON_GPU, SIZES_ON_GPU)
    return QUICK if request.quick else sizes if request.sizes else codes, []


def _device(asked: str) -> str:
    """Return `cpu` or `cuda`. Raises InputError for another value, or without a GPU."""
    there = torch.cuda.is_available()
    if asked not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device {asked!r}: take cpu, cuda or auto")
    if asked == "cuda" and not there:
        raise InputError("--device cuda: torch finds no GPU here; take cpu or auto")
    return "cuda" if there and asked != "cpu" else "cpu"


def measure_grid(
    cells: Sequence[Cell], given: Given, turns: int, device: str = "cpu"
) -> Iterator[Row]:
    """Measure each cell `turns` times; cells that differ only in size alternate."""
    groups = [list(group) for _, group in groupby(cells, partial(replace, identifiers=0))]
    for group in tracked(groups, "decoding"):
        contests = []
        for cell in group:
            contests.append(make_systems(cell, given, device))
        answers, times = _time_alternately(contests, turns)
        for cell, contest, found, own in zip(group, contests, answers, times, strict=True):
            yield _row(cell, contest, found, own)


def make_systems(cell: Cell, given: Given, device: str) -> DecoderSystems:
    """Set up the decoders of a cell; random weights are the same each time."""
    torch.manual_seed(0)
    setting = DecodeSetting(cell.batch, cell.beams, cell.precision, cell.normalise, device)
    if isinstance(given, ModelQueries):
        return model_systems(given.model, given.queries, setting)
    if not cell.levels:
        return url_systems(given, cell.vocabulary, setting)
    symbols = draw_codes(cell.identifiers, cell.levels, cell.codes, device)
    return code_systems(symbols, [cell.codes] * cell.levels, cell.vocabulary, setting, cell.peers)


def _time_alternately(
    contests: Sequence[DecoderSystems], turns: int
) -> tuple[list[dict[str, Answers]], list[dict[str, float]]]:
    """Return the answers of each contest's systems, and their median milliseconds per query."""
    answers = [{name: run() for name, run in own.systems.items()} for own in contests]  # warms up
    for contest in contests:
        if contest.recorded is not None:
            contest.run_genir()  # a CUDA graph is captured on the second search
    times: list[dict[str, list[float]]] = [{name: [] for name in own.systems} for own in contests]
    for _ in range(turns):
        for contest, taken in zip(contests, times, strict=True):
            for name, run in contest.systems.items():
                taken[name].append(1000 * _seconds(run) / contest.queries)
    return answers, [{name: median(own) for name, own in taken.items()} for taken in times]


def _row(
    cell: Cell, contest: DecoderSystems, answers: dict[str, Answers], middle: dict[str, float]
) -> Row:
    theirs = middle.get("transformers")
    symbols = contest.trie.symbols.cpu().numpy()
    began = perf_counter()
    trie = Trie.from_symbols(symbols)
    built = perf_counter() - began
    pace = contest.step_time()
    taken = choose("answering", contest.device.type, cell.precision)
    size = {"identifiers": trie.rows, "levels": trie.depth}
    if contest.model.text:
        size["vocabulary"] = len(contest.model.tokenizer)
    theirs_too = (answers["genir"], answers["transformers"]) if cell.peers else None
    return Row(
        **{k: v for k, v in (asdict(cell) | size).items() if k != "peers"},
        taken=taken,
        genir_ms=middle["genir"],
        transformers_ms=theirs,
        marisa_ms=middle.get("marisa"),
        speedup=theirs and theirs / middle["genir"],
        same=_same_hits(*theirs_too) if theirs_too else None,
        as_likely=contest.scores_match(*theirs_too) if theirs_too else None,
        overhead=pace.overhead,
        overhead_ms=pace.constrained - pace.free,
        step_ms=pace.free,
        floor_ms=None if contest.device.type == "cpu" else bandwidth_floor_ms(contest.model, taken),
        passes=contest.steps()[-1].forward_passes,
        symbols=trie.depth,
        bytes_per_identifier=trie.bytes / trie.rows,
        resident_bytes=None
        if cell.peers or contest.device.type != "cpu"
        else resident_bytes(symbols),
        build_seconds=built,
    )


def _seconds(run: Callable[[], object]) -> float:
    """Return the mean time of repeated runs over `MIN_TURN_S` seconds, which averages out noise.

    The first run is not timed: threads of the previous system may still be spinning.
    """
    run()
    began, runs = perf_counter(), 0
    while perf_counter() - began < MIN_TURN_S:
        run()
        runs += 1
    return (perf_counter() - began) / runs


def _same_hits(ours: Sequence[Sequence[object]], theirs: Sequence[Sequence[object]]) -> float:
    return float(np.mean([set(a) == set(b) for a, b in zip(ours, theirs, strict=True)]))


def draw_codes(identifiers: int, levels: int, codes: int, device: str = "cpu") -> Symbols:
    """Sample distinct identifiers, sorted [identifiers, levels], deterministic for a device.

    Like real codes, some are more frequent: the probability is proportional to 1 / sqrt(rank).
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
    """Return the distinct rows of a non-negative int16 tensor [rows, levels], sorted."""
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
