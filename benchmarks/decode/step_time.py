"""Time of a decoder step: constrained, unconstrained, and its lower bound."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genir.decoding.cuda.graphs import CapturedGraph, has_triton
from genir.decoding.row_mask import RowMask
from genir.decoding.search_options import SearchOptions
from genir.decoding.trie import Trie
from genir.errors import InputError
from genir.models.precision import DTYPES, DType
from genir.models.seq2seq import Seq2SeqModel

COPY_BYTES = 1 << 30
"""Bytes of the copy that measures a GPU's bandwidth; each is read and written."""


@dataclass(frozen=True)
class StepTime:
    """Milliseconds of a decoder step with and without the constraint."""

    constrained: float
    free: float

    @property
    def overhead(self) -> float:
        """Return the cost of the constraint as a share of a step."""
        return self.constrained / self.free - 1


def recorded_steps(
    model: Seq2SeqModel,
    trie: Trie,
    inputs: tuple[Tensor, Tensor],
    live: RowMask,
    decoding: SearchOptions,
) -> Callable[[], tuple[float, float]]:
    """Capture a search with and one without the constraint as CUDA graphs; return a function that
    times both, in milliseconds per step. Raises InputError without Triton.
    """
    if not has_triton():
        raise InputError("Triton is not installed, but search on a GPU needs it; install triton")
    from genir.decoding.cuda.beam_search import cuda_beam_search

    given = (model, trie, inputs, live, decoding)
    searches: list[CapturedGraph[Any]] = [
        CapturedGraph(lambda: cuda_beam_search(*given), None),
        CapturedGraph(lambda: free_search(*given), None),
    ]

    def time() -> tuple[float, float]:
        constrained, free = (timed_on_gpu(one.replay) / trie.depth for one in searches)
        return constrained, free

    return time


@torch.inference_mode()
def free_search(
    model: Seq2SeqModel,
    trie: Trie,
    inputs: tuple[Tensor, Tensor],
    live: RowMask,
    decoding: SearchOptions,
) -> Tensor:
    """Generate unconstrained symbols of the identifiers' length; return best scores, [B, beams]."""
    state = model.encode(*inputs)
    score = torch.zeros(len(inputs[0]), 1, device=model.device)
    moves: tuple[Tensor, Tensor] | tuple[None, None] = (None, None)
    for depth in range(trie.depth):
        state, hidden = model.step(state, *moves)
        log_p = model.level_logits(hidden, depth).float().log_softmax(dim=-1)
        symbols = log_p.shape[-1]
        totals = (score.unsqueeze(-1) + log_p).flatten(1)
        score, chosen = totals.topk(min(decoding.beams, totals.shape[1]))
        moves = (chosen // symbols, chosen % symbols)
    return score


def timed_on_gpu(run: Callable[[], object]) -> float:
    """Return the milliseconds of GPU time."""
    event: Any = torch.cuda.Event
    begin, end = event(enable_timing=True), event(enable_timing=True)
    begin.record()
    run()
    end.record()
    end.synchronize()
    milliseconds: float = begin.elapsed_time(end)
    return milliseconds


def bandwidth_floor_ms(model: Seq2SeqModel, taken: DType) -> float:
    """Return the milliseconds that this GPU needs to read the decoder's weights once, at the
    bandwidth of a large copy.
    """
    decoder = model.backbone.net.get_decoder()
    words = decoder.get_input_embeddings().weight
    count = sum(p.numel() for p in decoder.parameters() if p is not words)
    size = DTYPES[taken].itemsize
    block = torch.empty(COPY_BYTES, dtype=torch.uint8, device=model.device)
    copy = torch.empty_like(block)
    milliseconds = min(timed_on_gpu(lambda: copy.copy_(block)) for _ in range(5))
    return count * size * milliseconds / (2 * COPY_BYTES)
