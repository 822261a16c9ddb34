"""Comparison of genir's and transformers' decoders on the same weights, identifiers and queries."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import T5Config, T5ForConditionalGeneration

from benchmarks.decode.hf_baseline import (
    HFPrefixDecoder,
    dict_children,
    marisa_children,
)
from benchmarks.decode.step_time import StepTime, recorded_steps
from genir.config import IdentifierSection, Precision
from genir.decoding.beam import BeamStep, PruneOptions, beam_search, beam_steps, prune
from genir.decoding.beam_state import Beams, initial_beams
from genir.decoding.cuda.graphs import make_graph_cache
from genir.decoding.edge_scorers import Softmax, score_edges
from genir.decoding.row_mask import RowMask
from genir.decoding.search_options import SearchOptions
from genir.decoding.trie import Trie
from genir.errors import InputError
from genir.identifiers.registry import build_scheme
from genir.identifiers.table import PAD, IdentifierTable, Symbols
from genir.models.code_heads import TiedHead
from genir.models.precision import autocast
from genir.models.pretrained import Seq2SeqOptions
from genir.models.seq2seq import Seq2SeqModel
from genir.models.tokenizer_training import train_vocabulary
from genir.retriever import Retriever
from genir.types import Document

SOURCE_TOKENS = 16
"""Number of tokens of a query."""
TOP_RANKS = 10
"""Number of hits per query on which the systems are compared."""
LOGIT_SPREAD = 3.0
"""Standard deviation of the logits of a random model, similar to a trained one."""
FIRST_WORD = 3
"""First token that is not special."""
ROUNDING = 1e-2
"""Maximum difference of the log p of ten identifiers due to the order of summation."""

Inputs = tuple[Tensor, Tensor]
Answers = list[list[tuple[int, ...]]]


@dataclass(frozen=True)
class DecodeSetting:
    """Batch size, beam width, precision, softmax and device of a measurement."""

    batch: int
    beams: int
    precision: Precision = "fp32"
    normalise: Softmax = "vocabulary"
    device: str = "cpu"

    @property
    def decoding(self) -> SearchOptions:
        """Return the decoding section of a recipe with this setting."""
        return SearchOptions(beams=self.beams, softmax=self.normalise)


@dataclass
class DecoderSystems:
    """A genir model with its trie and, optionally, transformers with the same identifiers.

    batches: each of `setting.batch` queries. tokens: row -> tokens that transformers generates.
    """

    model: Seq2SeqModel
    trie: Trie
    batches: Sequence[Inputs]
    setting: DecodeSetting
    net: Any = None
    tokens: list[tuple[int, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.live = RowMask.build([np.ones(self.trie.rows, dtype=bool)])
        self.device = torch.device(self.setting.device)
        self.model.eval().to(self.device)
        self.trie = self.trie.to(self.device)
        self.batches = [(ids.to(self.device), mask.to(self.device)) for ids, mask in self.batches]
        self.inputs = self.batches[0]
        self.recorded = make_graph_cache(self.model, self.trie)
        self.decoding, self.precision = self.setting.decoding, self.setting.precision
        self.systems: dict[str, Callable[[], Answers]] = {"genir": self.run_genir}
        self.peers: list[HFPrefixDecoder] = []
        if self.net is not None:
            for name, children in (("transformers", dict_children), ("marisa", marisa_children)):
                legal = self.decoding.softmax == "trie"
                peer = HFPrefixDecoder(
                    self.net.to(self.device), children(self.tokens), self.trie.depth, legal
                )
                self.peers.append(peer)
                self.systems[name] = partial(self._run_baseline, peer)

    @property
    def queries(self) -> int:
        """Return the number of queries per run."""
        return sum(len(ids) for ids, _ in self.batches)

    def run_genir(self) -> Answers:
        """Return the best rows of each query as the tokens that transformers would generate."""
        lows: list[Any] = []
        for inputs in self.batches:
            with autocast(self.device, "answering", self.precision):
                if self.recorded is not None:
                    found = self.recorded.search(inputs, self.live, self.decoding)
                else:
                    own = (self.model, self.trie, inputs, self.live, self.decoding)
                    found = beam_search(*own, TOP_RANKS)
            lows += found.low[:, :TOP_RANKS].tolist()
        return [[self.tokens[low] for low in row] if self.tokens else row for row in lows]

    @torch.inference_mode()
    def _run_baseline(self, peer: HFPrefixDecoder) -> Answers:
        answers: Answers = []
        for inputs in self.batches:
            with autocast(self.device, "answering", self.precision):
                found = peer.decode(
                    inputs, self.decoding.beams, min(TOP_RANKS, self.decoding.beams)
                )
            answers += [[tuple(row) for row in rows] for rows in found]
        return answers

    def scores_match(self, ours: Answers, theirs: Answers) -> float:
        """Return the share of queries whose total likelihood is at least as high in `ours`."""
        peer, held = self.peers[0], []
        for start, inputs in zip(count(0, self.setting.batch), self.batches, strict=False):
            own, other = (
                peer.log_p(inputs, found[start : start + len(inputs[0])])
                for found in (ours, theirs)
            )
            held.append(own >= other - ROUNDING)
        return float(torch.cat(held).float().mean())

    def steps(self, wanted: int | None = TOP_RANKS) -> list[BeamStep]:
        """Return the levels of one search for the best `wanted` answers, or for all."""
        with autocast(self.device, "answering", self.precision):
            steps = beam_steps(self.model, self.trie, self.inputs, self.live, self.decoding, wanted)
            return list(steps)

    @torch.inference_mode()
    def step_time(self, turns: int = 15) -> StepTime:
        """Return the time of a decoder step with and without the constraint.

        A step extends each beam by one symbol. Constrained, it scores the children of each beam's
        node; unconstrained, all symbols of the level or vocabulary. On a GPU both are CUDA graphs.
        """
        with autocast(self.device, "answering", self.precision):
            if self.device.type == "cpu":
                time = self._time_steps
            else:
                given = (self.model, self.trie, self.inputs, self.live, self.decoding)
                time = recorded_steps(*given)
            times = np.array([time() for _ in range(turns)])
        # Paired differences cancel the time of the step itself and shared noise.
        free = float(np.median(times[:, 1]))
        return StepTime(free + float(np.median(times[:, 0] - times[:, 1])), free)

    def _time_steps(self) -> tuple[float, float]:
        """Return milliseconds per step at full beam width: (constrained, unconstrained)."""
        model, spent = self.model, [0.0, 0.0]
        batch = len(self.inputs[0])
        state, current = model.encode(*self.inputs), initial_beams(self.trie, batch)
        done = Beams.empty(batch, model.device)
        moves: tuple[Tensor, Tensor] | tuple[None, None] = (None, None)
        for depth in range(self.trie.depth):
            began = perf_counter()
            following, hidden = model.step(state, *moves)
            stepped = perf_counter() - began
            began = perf_counter()
            edges = self.trie.children(current.low, current.high, depth, allow_sync=True)
            legal = self.live.any_live(edges.low, edges.high)
            candidates, softmax = edges.candidates, self.decoding.softmax
            log_p = score_edges(model, hidden, depth, candidates, legal, softmax)
            ended = self.trie.is_terminal(edges.low, depth + 1)
            step = prune((current, done), edges, log_p, ended, PruneOptions(self.decoding.beams))
            constrained = perf_counter() - began
            began = perf_counter()
            everything = F.log_softmax(model.level_logits(hidden, depth), dim=-1)
            totals = (current.score.unsqueeze(-1) + everything).flatten(1)
            totals.topk(min(self.decoding.beams, totals.shape[1]))
            free = perf_counter() - began
            if depth:  # the first step has one beam only
                spent[0] += stepped + constrained
                spent[1] += stepped + free
            state, moves = following, (step.parents, step.symbols)
            current, done = step.beams, step.finished
        steps = max(1, self.trie.depth - 1)
        return 1000 * spent[0] / steps, 1000 * spent[1] / steps


def code_systems(
    symbols: Symbols,
    sizes: Sequence[int],
    vocabulary: int,
    setting: DecodeSetting,
    peers: bool,
) -> DecoderSystems:
    """Set up code identifiers, sorted [rows, levels], with `sizes` codes per level.

    With peers, the codes are also added to transformers' vocabulary as tokens with the same
    weights.
    """
    net = small_t5(vocabulary)
    twin = copy.deepcopy(net) if peers else None
    model = Seq2SeqModel(Seq2SeqOptions(), net, None)
    symbol_rows = _spread(torch.randn(sum(sizes), net.config.d_model))
    model.set_head(TiedHead(sizes, symbol_rows))
    tokens: list[tuple[int, ...]] = []
    if twin is not None:
        _add_tokens(twin, symbol_rows)
        firsts = vocabulary + np.cumsum([0, *sizes[:-1]])
        tokens = [tuple(row) for row in (symbols + firsts).tolist()]
    queries = _queries(setting.batch, vocabulary)
    return DecoderSystems(model, Trie.from_symbols(symbols), [queries], setting, twin, tokens)


def url_systems(
    corpus: Sequence[Document], vocabulary: int, setting: DecodeSetting
) -> DecoderSystems:
    """Set up the URLs of a corpus as identifiers, with a vocabulary trained on it."""
    tokenizer = train_vocabulary(corpus, vocabulary)
    scheme = build_scheme(IdentifierSection(scheme="url"), tokenizer)
    scheme.fit(corpus, None)
    keys = [document.key for document in corpus]
    table = IdentifierTable.build(scheme.encode(corpus, None), keys)
    net = small_t5(len(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id)
    model = Seq2SeqModel(Seq2SeqOptions(), copy.deepcopy(net), tokenizer)
    model.build_head(scheme, table, None)
    tokens = [tuple(t for t in row if t != PAD) for row in table.symbols.tolist()]
    queries = _queries(setting.batch, len(tokenizer))
    return DecoderSystems(model, Trie.build(table), [queries], setting, net, tokens)


def model_systems(folder: Path, queries: Sequence[str], setting: DecodeSetting) -> DecoderSystems:
    """Set up a trained model with text identifiers and queries in batches.

    Raises InputError for another kind of model, deleted documents, or less than one batch.
    """
    if len(queries) < setting.batch:
        raise InputError(
            f"{len(queries)} queries are less than a batch of {setting.batch}; give more"
        )
    ours, theirs = (Retriever.load(folder, setting.device) for _ in range(2))
    ours.decoder.traceable_strategy("the decoding benchmark")
    if not isinstance(ours.model, Seq2SeqModel) or not ours.model.text:
        raise InputError(
            f"{folder}: its identifiers are not text, which transformers needs; give a model "
            "of the recipe url, title or genre"
        )
    if not ours.table.live.all():
        raise InputError(
            f"{folder}: has deleted documents, which transformers' trie would contain; "
            "run `genir compact` on it, or on a copy"
        )
    assert isinstance(theirs.model, Seq2SeqModel)
    symbols = ours.decoder.stage.trie.symbols.cpu().numpy()
    tokens = [tuple(t for t in row if t != PAD) for row in symbols.tolist()]
    whole = len(queries) - len(queries) % setting.batch
    ids, mask = ours.decoder.stage.encode(queries[:whole])
    starts = range(0, whole, setting.batch)
    batches = [(ids[n : n + setting.batch], mask[n : n + setting.batch]) for n in starts]
    net = theirs.model.backbone.restore_output_matrix()
    return DecoderSystems(ours.model, ours.decoder.stage.trie, batches, setting, net, tokens)


def small_t5(vocabulary: int, padding: int = 0, end: int = 1) -> Any:
    """Return an untrained T5 of the shape of t5-v1_1-small."""
    config = T5Config(
        vocab_size=vocabulary,
        d_model=512,
        d_kv=64,
        d_ff=1024,
        num_layers=8,
        num_heads=6,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        pad_token_id=padding,
        eos_token_id=end,
        decoder_start_token_id=padding,
    )
    net = T5ForConditionalGeneration(config).eval()
    net.lm_head.weight.data = _spread(torch.randn_like(net.lm_head.weight))
    return net


def _spread(rows: Tensor) -> Tensor:
    """Scale random rows so that logits of normalised states, [..., H], have deviation SPREAD."""
    return rows * (LOGIT_SPREAD / rows.shape[1] ** 0.5)


def _add_tokens(net: Any, symbols: Tensor) -> None:
    size = net.config.vocab_size
    net.resize_token_embeddings(size + len(symbols), mean_resizing=False)
    for matrix in (net.get_input_embeddings(), net.get_output_embeddings()):
        matrix.weight.data[size:] = symbols


def _queries(batch: int, vocabulary: int) -> Inputs:
    ids = torch.randint(FIRST_WORD, vocabulary, (batch, SOURCE_TOKENS))
    return ids, torch.ones_like(ids)
