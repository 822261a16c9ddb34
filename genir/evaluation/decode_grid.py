"""What the decoding benchmark measures: the cells of its grids, and what each came to."""

from dataclasses import dataclass
from typing import get_args

from genir.config import Precision
from genir.decoding.readers import Normalise
from genir.models.precision import Taken

NORMALISATIONS: tuple[Normalise, ...] = get_args(Normalise)


@dataclass(frozen=True)
class Cell:
    """One point of the grid. `levels` codes, each below `codes`; no levels: the URLs of a corpus,
    or what a trained model writes.

    vocabulary: the model's own tokens. peers: whether transformers takes part; it normalises over
    all tokens of its own, so that codes can be compared with it over legal symbols only.
    """

    batch: int
    beams: int
    identifiers: int = 0
    vocabulary: int = 32_128
    levels: int = 4
    codes: int = 256
    precision: Precision = "fp32"
    normalise: Normalise = "legal"
    peers: bool = True


QUICK = (Cell(4, 5, 1_000, vocabulary=1_000),)
BOTH: tuple[Precision, ...] = ("fp32", "auto")
CODES = tuple(
    Cell(*shape, 100_000, levels=levels, precision=precision)
    for levels in (4, 16)  # short ones, and those of the recipe `residual`
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
    """What a cell came to; times in milliseconds a query, medians of the turns, which last at least
    a second each.

    taken: the precision that `precision` comes to on this machine. speedup: transformers_ms /
    genir_ms; marisa_ms: transformers over a marisa trie. same: the share
    of queries whose ten best identifiers are alike in both; as_likely: whose ten of genir's are
    together no less likely, as transformers scores them in float32. overhead: what the constraint
    adds to a decoder step, as a share of it, and in milliseconds; step_ms: of a step without it.
    floor_ms: of reading the decoder's weights once, on a GPU. passes: of the model, to write
    `symbols` symbols a beam.
    bytes_per_identifier: of the trie. resident_bytes: also an identifier, of a process that holds
    trie, live mask and row -> document map, for cells without peers.
    """

    batch: int
    beams: int
    identifiers: int
    vocabulary: int
    levels: int
    codes: int
    precision: Precision
    normalise: Normalise
    taken: Taken
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
