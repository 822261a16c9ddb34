"""Grid cells and result rows of the decoding benchmark."""

from dataclasses import dataclass
from typing import get_args

from genir.config import Precision
from genir.decoding.edge_scorers import Softmax
from genir.models.precision import DType

NORMALISATIONS: tuple[Softmax, ...] = get_args(Softmax)


@dataclass(frozen=True)
class Cell:
    """One cell of the grid: `levels` codes below `codes` each; without levels, the URLs of a corpus
    or the identifiers of a trained model.

    vocabulary: size of the model's own vocabulary. peers: whether transformers takes part; it
    normalises over all of its tokens, so codes are comparable only over legal symbols.
    """

    batch: int
    beams: int
    identifiers: int = 0
    vocabulary: int = 32_128
    levels: int = 4
    codes: int = 256
    precision: Precision = "fp32"
    normalise: Softmax = "trie"
    peers: bool = True


QUICK = (Cell(4, 5, 1_000, vocabulary=1_000),)
BOTH: tuple[Precision, ...] = ("fp32", "auto")
CODES = tuple(
    Cell(*shape, 100_000, levels=levels, precision=precision)
    for levels in (4, 16)  # short, and the length in the recipe `residual`
    for shape in ((8, 10), (32, 100))
    for precision in BOTH
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
    for shape, precisions in (((8, 10), BOTH), ((32, 100), BOTH[1:]))
    for precision in precisions
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
    """Results of a cell; times are milliseconds per query, medians of turns of at least one second.

    taken: resolved value of `precision`. speedup: transformers_ms / genir_ms. marisa_ms:
    transformers over a marisa trie. same: share of queries with the same ten best identifiers.
    as_likely: share of queries whose ten genir identifiers are in total at least as likely, scored
    by transformers in float32. overhead: cost of the constraint relative to a decoder step, and in
    milliseconds; step_ms: an unconstrained step. floor_ms: time to read the decoder's weights once,
    on a GPU. passes: forward passes to generate `symbols` symbols per beam. bytes_per_identifier:
    size of the trie. resident_bytes: per identifier, of a process with only trie, live mask and row
    -> document map, for cells without peers.
    """

    batch: int
    beams: int
    identifiers: int
    vocabulary: int
    levels: int
    codes: int
    precision: Precision
    normalise: Softmax
    taken: DType
    genir_ms: float
    transformers_ms: float | None
    marisa_ms: float | None
    speedup: float | None
    same: float | None
    as_likely: float | None
    overhead: float
    overhead_ms: float
    step_ms: float
    floor_ms: float | None
    passes: int
    symbols: int
    bytes_per_identifier: float
    resident_bytes: float | None
    build_seconds: float
