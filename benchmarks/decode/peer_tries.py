"""Time of the trie constraint and beam selection beside STATIC (arXiv 2602.22647).

Run as `python -m benchmarks.decode.peer_tries STATIC [IDENTIFIERS ...]`, with a folder of
github:youtube/static-constraint-decoding. Both search the same identifiers of 8 symbols of 2,048
with the same scores, from a table of log-probabilities given the last symbol. The table's own time
is measured alone and subtracted.
"""

import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor

from genir.decoding.beam import beam_search
from genir.decoding.row_mask import RowMask
from genir.decoding.search_options import SearchOptions
from genir.decoding.trie import Trie
from genir.identifiers.table import sorted_order

VOCABULARY, LENGTH = 2048, 8
CELLS = ((2, 70), (8, 10), (32, 100))
"""Queries and beams."""
SIZES = (10_000, 1_000_000, 10_000_000)
ROUNDS = 9
MIN_SECONDS = 0.05
"""Shortest measurement; a search is repeated until it is reached."""


class TableModel(torch.nn.Module):
    """Scores that depend on the last symbol: both systems compute the same log-softmax."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = 3 * torch.randn(1, VOCABULARY, generator=generator)
        self.next = 3 * torch.randn(VOCABULARY, VOCABULARY, generator=generator)
        self.depth = 0

    def rows(self, symbols: Tensor, first: bool) -> Tensor:
        """Return the logits after symbols, float32 [..., V]."""
        return self.first.expand(*symbols.shape, VOCABULARY) if first else self.next[symbols]

    def forward(self, symbols: Tensor) -> Tensor:
        """Return logits for STATIC, which does not pass the depth, [N, 1, V]."""
        first, self.depth = self.depth == 0, self.depth + 1
        return self.rows(symbols[:, 0], first).unsqueeze(1)

    def encode(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the queries as the decoder state."""
        return input_ids[:, :1]

    def step(
        self, state: Tensor, parents: Tensor | None, symbols: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the logits of the next symbol as hidden states, [B, K, V]."""
        return state, self.rows(state if symbols is None else symbols, symbols is None)

    def level_logits(self, hidden: Tensor, depth: int) -> Tensor:
        """Return the hidden states."""
        return hidden

    def scores(self, hidden: Tensor, depth: int, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p of candidates [B, K, C], and 0."""
        return hidden.log_softmax(dim=-1).gather(2, candidates), torch.zeros(1, 1)


def random_identifiers(count: int) -> NDArray[np.int16]:
    """Return distinct sorted random identifiers, [about count, LENGTH]."""
    symbols = np.random.default_rng(count).integers(0, VOCABULARY, (count, LENGTH), dtype=np.int16)
    symbols = symbols[sorted_order(symbols.astype(np.int32))]
    new = np.append(True, (symbols[1:] != symbols[:-1]).any(axis=1))
    return np.ascontiguousarray(symbols[new])


def medians(functions: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median process time of each function in milliseconds, measured by turns."""
    repeats, spent = {}, dict[str, list[float]]()
    for name, function in functions.items():
        function()
        began = process_time()
        function()
        repeats[name] = max(1, int(MIN_SECONDS / max(1e-6, process_time() - began)))
        spent[name] = []
    for _ in range(ROUNDS):
        for name, function in functions.items():
            began = process_time()
            for _ in range(repeats[name]):
                function()
            spent[name].append(1000 * (process_time() - began) / repeats[name])
    return {name: statistics.median(own) for name, own in spent.items()}


def compare(static: tuple[Any, Any], count: int) -> None:
    """Print a row per cell: milliseconds of a step without the table, and the share of hits."""
    builder, decoder = static
    symbols = random_identifiers(count)
    began = perf_counter()
    built = builder.build_static_index(symbols.astype(np.int32), VOCABULARY, 2)[:6]
    static_seconds = perf_counter() - began
    limits = tuple(int(limit) for limit in built[2])
    packed, pointers, start, dense, states = (
        torch.from_numpy(np.ascontiguousarray(built[n])) for n in (0, 1, 3, 4, 5)
    )
    began = perf_counter()
    trie = Trie.from_symbols(symbols)
    seconds = perf_counter() - began
    tensors = (packed, pointers, start, dense, states)
    static_bytes = sum(t.numel() * t.element_size() for t in tensors)
    typer.echo(
        f"{len(symbols):,} identifiers; STATIC / genir: build {static_seconds:.2f} / {seconds:.2f}"
        f" s, bytes {static_bytes / len(symbols):.1f} / {trie.bytes / len(symbols):.1f}"
    )
    model: Any = TableModel()
    live = RowMask.build([np.ones(len(symbols), dtype=bool)])
    half = RowMask.build([np.random.default_rng(1).random(len(symbols)) < 0.5])
    for batch, beams in CELLS:
        options = SearchOptions(beams=beams, softmax="vocabulary")
        inputs = (torch.zeros(batch, 1, dtype=torch.long), torch.ones(batch, 1, dtype=torch.long))
        last = torch.randint(0, VOCABULARY, (batch, beams))

        def peer(batch: int = batch, beams: int = beams) -> Tensor:
            model.depth = 0
            found: Tensor = decoder.sparse_transition_torch(
                model, batch, beams, beams, 0, LENGTH, VOCABULARY, limits, packed, pointers,
                start, dense, states, torch.device("cpu"), 2,
            )  # fmt: skip
            return found

        def own(mask: RowMask, inputs: Any = inputs, options: SearchOptions = options) -> Tensor:
            return beam_search(model, trie, inputs, mask, options).low

        @torch.inference_mode()
        def table(batch: int = batch, last: Tensor = last) -> None:
            model.first.expand(batch, 1, VOCABULARY).log_softmax(dim=-1)
            for _ in range(LENGTH - 1):
                model.next[last].log_softmax(dim=-1)

        pairs = zip(peer().tolist(), own(live).numpy(), strict=True)
        same = sum(
            len({*map(tuple, theirs)} & {*map(tuple, symbols[rows].tolist())})
            for theirs, rows in pairs
        )
        time = medians(
            {"table": table, "peer": peer, "own": lambda: own(live), "half": lambda: own(half)}
        )
        a_step = {name: (spent - time["table"]) / LENGTH for name, spent in time.items()}
        typer.echo(
            f"| {batch} x {beams} | {a_step['peer']:.3f} | {a_step['own']:.3f} | "
            f"{a_step['own'] / a_step['peer']:.2f} | {a_step['half']:.3f} | "
            f"{a_step['half'] / a_step['peer']:.2f} | {same / batch / beams:.3f} |",
        )


def main(folder: Path, sizes: list[int]) -> None:
    """Compare at each number of identifiers."""
    sys.path.insert(0, str(folder))
    from static_decoding import csr_utils, decoding_pt  # type: ignore[import-not-found]

    torch.set_num_threads(1)
    for count in sizes:
        compare((csr_utils, decoding_pt), count)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(size) for size in sys.argv[2:]] or list(SIZES))
