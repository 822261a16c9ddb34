"""Beam searches captured as CUDA graphs, so that the host launches one graph for each search.

`beam_search.cuda_beam_search` is captured when the same input shapes occur a second time. It is
then replayed with new queries and masks copied into its input buffers.
"""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import Any, Generic, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from genir.decoding.beam_state import Beams
from genir.decoding.row_mask import RowMask
from genir.decoding.search_options import SearchOptions
from genir.decoding.trie import Trie
from genir.models.base import ConstrainedDecoder, Inputs
from genir.models.engine.weight_cache import ParameterVersions

MAX_CACHED_GRAPHS = 24
"""Maximum number of input shapes kept; the least recently used one is dropped."""
LENGTH_STEP = 16
"""Queries are padded to a multiple of this number of tokens, to limit the number of shapes."""
MAX_NODE_CHILDREN = 1 << 15
"""Maximum number of children of a node that one kernel program iterates over."""

Result = TypeVar("Result")
Key = tuple[Any, ...]


class CapturedGraph(Generic[Result]):
    """A captured CUDA graph of a function without arguments; see `replay`."""

    def __init__(self, run: Callable[[], Result], pool: Any) -> None:
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side), _without_autocast_cache():
            run()  # warm-up: compiles kernels, prepares weights, loads libraries
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with (
            torch.cuda.graph(self.graph, pool=pool, capture_error_mode="thread_local"),
            _without_autocast_cache(),
        ):
            self.result = run()

    def replay(self) -> Result:
        """Run the graph. The result is valid until another graph of the pool runs."""
        self.graph.replay()
        return self.result


class SearchGraph(NamedTuple):
    """A captured search, its input buffers, and its prepared weights.

    The graph holds only addresses of the weights, so they are kept alive here.
    """

    graph: CapturedGraph[Beams]
    input_buffers: list[Tensor]
    prepared: list[Any]


class GraphCache:
    """Captured searches of one model and trie. Not thread-safe."""

    def __init__(self, model: ConstrainedDecoder, trie: Trie) -> None:
        self.model = model
        self.trie = trie
        self.pool = torch.cuda.graph_pool_handle()
        self.model_version: list[Any] = []
        self.graphs: OrderedDict[Key, SearchGraph | None] = OrderedDict()

    @torch.inference_mode()
    def search(self, inputs: Inputs, live: RowMask, options: SearchOptions) -> Beams:
        """Return the beams of `cuda_beam_search`; inputs: int64 [B, S] each, on the device."""
        batch = len(inputs[0])
        given = [*_padded(inputs, self.model.tokenizer), *_masks(live)]
        key = (*(t.shape for t in given), live.next_live is None, live.index is None,
               options.beams, options.softmax, _precision())  # fmt: skip
        if not self._is_current():
            self.graphs.clear()
        if key not in self.graphs:
            return self._capture_first(key, inputs, live, options)
        search = self.graphs[key] or self._capture(given, len(inputs), live, options)
        self.graphs[key] = search
        self.graphs.move_to_end(key)
        for place, value in zip(search.input_buffers, given, strict=True):
            place.copy_(value, non_blocking=True)
        found = search.graph.replay()
        return Beams(*(t[:batch].clone() for t in (found.low, found.high, found.score)))

    def _capture_first(
        self, key: Key, inputs: Inputs, live: RowMask, options: SearchOptions
    ) -> Beams:
        """Search without capture: many shapes occur once, and a capture costs three searches."""
        from genir.decoding.cuda.beam_search import cuda_beam_search  # needs triton

        self.graphs[key] = None
        if len(self.graphs) > MAX_CACHED_GRAPHS:
            self.graphs.popitem(last=False)
        found = cuda_beam_search(self.model, self.trie, inputs, live, options)
        self.model_version = self._model_version()
        return found

    def _model_version(self) -> list[Any]:
        return [ParameterVersions(self.model).current(), *(self.model.prepared_weights() or [])]

    def _is_current(self) -> bool:
        """Return whether the weights are unchanged since the capture.

        A fused optimiser changes weights without a version change, but clears prepared weights.
        """
        now = self._model_version()
        return (
            len(now) == len(self.model_version)
            and now[0] == self.model_version[0]
            and all(new is old for new, old in zip(now[1:], self.model_version[1:], strict=True))
        )

    def _capture(
        self, given: list[Tensor], count: int, live: RowMask, options: SearchOptions
    ) -> SearchGraph:
        """Capture a search; given: `count` inputs, then masks."""
        from genir.decoding.cuda.beam_search import cuda_beam_search  # needs triton

        places = [value.to(self.model.device, copy=True) for value in given]
        inputs, rest = tuple(places[:count]), places[count:]
        index = None if live.index is None else rest.pop()
        own = RowMask(live.masks, index, None if live.next_live is None else (rest[0], rest[1]))
        asked = (self.model, self.trie, inputs, own, options)
        recording = CapturedGraph(lambda: cuda_beam_search(*asked), self.pool)
        return SearchGraph(recording, places, self.model.prepared_weights() or [])


def make_graph_cache(model: ConstrainedDecoder, trie: Trie) -> GraphCache | None:
    """Return a cache of captured searches, or None if they cannot be captured.

    That is the case on a CPU, without Triton, for models whose steps read values back from the
    device, and for nodes with more than `MAX_NODE_CHILDREN` children.
    """
    if trie.symbols.device.type != "cuda" or model.prepared_weights() is None or not has_triton():
        return None
    widest = max((level.children.slots for level in trie.levels if level.children), default=0)
    return GraphCache(model, trie) if widest <= MAX_NODE_CHILDREN else None


def has_triton() -> bool:
    """Return whether Triton is installed; torch for CUDA on Linux includes it."""
    return find_spec("triton") is not None


def _padded(inputs: Inputs, tokenizer: Any) -> list[Tensor]:
    """Pad tokens to a multiple of `LENGTH_STEP`, and the batch, with its first query, to a power of
    2."""
    ids, mask, *words = inputs
    more = -ids.shape[1] % LENGTH_STEP
    filler = 0 if tokenizer is None else tokenizer.pad_token_id
    ids, mask = F.pad(ids, (0, more), value=filler), F.pad(mask, (0, more))
    rows = _missing_to_power_of_two(len(ids))
    return [torch.cat([part, part[:1].expand(rows, -1)]) for part in (ids, mask, *words)]


def _missing_to_power_of_two(count: int) -> int:
    """Return the number of items missing to the next power of two."""
    return (1 << (count - 1).bit_length()) - count


def _masks(live: RowMask) -> list[Tensor]:
    """Return the mask tensors of a search; the index is padded to a power-of-two batch."""
    parts = [] if live.next_live is None else list(live.next_live)
    if live.index is not None:
        parts.append(F.pad(live.index, (0, _missing_to_power_of_two(len(live.index)))))
    return parts


def _precision() -> torch.dtype | None:
    return torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else None


def _without_autocast_cache() -> AbstractContextManager[Any]:
    """Return the current autocast without its weight cache, which a graph could not keep."""
    dtype = _precision()
    return torch.autocast("cuda", dtype, enabled=dtype is not None, cache_enabled=False)
