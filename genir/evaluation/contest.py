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

from genir.config import DecodingSection, IdentifierSection, Precision
from genir.decoding.beam import Choice, Step, advance, beam_search, beam_steps
from genir.decoding.beams import Beams, root
from genir.decoding.graphs import record_searches
from genir.decoding.masks import LiveRows
from genir.decoding.readers import Normalise, score_edges
from genir.decoding.trie import Trie
from genir.errors import InputError
from genir.evaluation.pace import Pace, recorded_steps
from genir.evaluation.peer import Peer, dict_children, marisa_children
from genir.identifiers.registry import build_scheme
from genir.identifiers.table import PAD, IdentifierTable, Symbols
from genir.models.precision import autocast
from genir.models.seq2seq import Seq2SeqModel
from genir.models.sources import Seq2SeqOptions
from genir.models.vocabulary import train_vocabulary
from genir.records import Document
from genir.retriever import Retriever

SOURCE = 16
"""Number of tokens of a query."""
TOP = 10
"""Number of hits per query on which the systems are compared."""
SPREAD = 3.0
"""Standard deviation of the logits of a random model, similar to a trained one."""
FIRST_WORD = 3
"""First token that is not special."""
ROUNDING = 1e-2
"""Maximum difference of the log p of ten identifiers due to the order of summation."""

Inputs = tuple[Tensor, Tensor]
Answers = list[list[tuple[int, ...]]]


@dataclass(frozen=True)
class Setting:
    """Batch size, beam width, precision, softmax and device of a measurement."""

    batch: int
    beams: int
    precision: Precision = "fp32"
    normalise: Normalise = "vocabulary"
    device: str = "cpu"

    @property
    def decoding(self) -> DecodingSection:
        """Return the decoding section of a recipe with this setting."""
        return DecodingSection(beams=self.beams, normalise=self.normalise)


@dataclass
class Contest:
    """A genir model with its trie and, optionally, transformers with the same identifiers.

    batches: each of `setting.batch` queries. tokens: row -> tokens that transformers generates.
    """

    model: Seq2SeqModel
    trie: Trie
    batches: Sequence[Inputs]
    setting: Setting
    net: Any = None
    tokens: list[tuple[int, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.live = LiveRows.build([np.ones(self.trie.rows, dtype=bool)])
        self.device = torch.device(self.setting.device)
        self.model.eval().to(self.device)
        self.trie = self.trie.to(self.device)
        self.batches = [(ids.to(self.device), mask.to(self.device)) for ids, mask in self.batches]
        self.inputs = self.batches[0]
        self.recorded = record_searches(self.model, self.trie)
        self.decoding, self.precision = self.setting.decoding, self.setting.precision
        self.systems: dict[str, Callable[[], Answers]] = {"genir": self.genir}
        self.peers: list[Peer] = []
        if self.net is not None:
            for name, children in (("transformers", dict_children), ("marisa", marisa_children)):
                legal = self.decoding.normalise == "legal"
                peer = Peer(self.net.to(self.device), children(self.tokens), self.trie.depth, legal)
                self.peers.append(peer)
                self.systems[name] = partial(self._theirs, peer)

    @property
    def queries(self) -> int:
        """Return the number of queries per run."""
        return sum(len(ids) for ids, _ in self.batches)

    def genir(self) -> Answers:
        """Return the best rows of each query as the tokens that transformers would generate."""
        lows: list[Any] = []
        for inputs in self.batches:
            with autocast(self.device, "answering", self.precision):
                if self.recorded is not None:
                    found = self.recorded.search(inputs, self.live, self.decoding)
                else:
                    own = (self.model, self.trie, inputs, self.live, self.decoding)
                    found = beam_search(*own, TOP)
            lows += found.low[:, :TOP].tolist()
        return [[self.tokens[low] for low in row] if self.tokens else row for row in lows]

    @torch.inference_mode()
    def _theirs(self, peer: Peer) -> Answers:
        answers: Answers = []
        for inputs in self.batches:
            with autocast(self.device, "answering", self.precision):
                found = peer.decode(inputs, self.decoding.beams, min(TOP, self.decoding.beams))
            answers += [[tuple(row) for row in rows] for rows in found]
        return answers

    def as_likely(self, ours: Answers, theirs: Answers) -> float:
        """Return the share of queries whose total likelihood is at least as high in `ours`."""
        peer, held = self.peers[0], []
        for start, inputs in zip(count(0, self.setting.batch), self.batches, strict=False):
            own, other = (
                peer.log_p(inputs, found[start : start + len(inputs[0])])
                for found in (ours, theirs)
            )
            held.append(own >= other - ROUNDING)
        return float(torch.cat(held).float().mean())

    def steps(self, wanted: int | None = TOP) -> list[Step]:
        """Return the levels of one search for the best `wanted` answers, or for all."""
        with autocast(self.device, "answering", self.precision):
            steps = beam_steps(self.model, self.trie, self.inputs, self.live, self.decoding, wanted)
            return list(steps)

    @torch.inference_mode()
    def pace(self, turns: int = 15) -> Pace:
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
        return Pace(free + float(np.median(times[:, 0] - times[:, 1])), free)

    def _time_steps(self) -> tuple[float, float]:
        """Return milliseconds per step at full beam width: (constrained, unconstrained)."""
        model, spent = self.model, [0.0, 0.0]
        batch = len(self.inputs[0])
        state, current = model.start(*self.inputs), root(self.trie, batch)
        done = Beams.none(batch, model.device)
        moves: tuple[Tensor, Tensor] | tuple[None, None] = (None, None)
        for depth in range(self.trie.depth):
            began = perf_counter()
            following, hidden = model.step(state, *moves)
            stepped = perf_counter() - began
            began = perf_counter()
            edges = self.trie.children(current.low, current.high, depth, may_wait=True)
            legal = self.live.legal(edges.low, edges.high)
            log_p = score_edges(model, hidden, depth, edges, legal, self.decoding.normalise)
            ended = self.trie.ended(edges.low, depth + 1)
            step = advance((current, done), edges, log_p, ended, Choice(self.decoding.beams))
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
            current, done = step.kept, step.done
        steps = max(1, self.trie.depth - 1)
        return 1000 * spent[0] / steps, 1000 * spent[1] / steps


def code_contest(
    symbols: Symbols,
    sizes: Sequence[int],
    vocabulary: int,
    setting: Setting,
    peers: bool,
) -> Contest:
    """Set up code identifiers, sorted [rows, levels], with `sizes` codes per level.

    With peers, the codes are also added to transformers' vocabulary as tokens with the same
    weights.
    """
    net = small_t5(vocabulary)
    twin = copy.deepcopy(net) if peers else None
    model = Seq2SeqModel(Seq2SeqOptions(), net, None)
    model.attach_codes(sizes, _spread(torch.randn(sum(sizes), net.config.d_model)))
    tokens: list[tuple[int, ...]] = []
    if twin is not None:
        _add_tokens(twin, model.symbols.detach())
        firsts = vocabulary + np.cumsum([0, *sizes[:-1]])
        tokens = [tuple(row) for row in (symbols + firsts).tolist()]
    queries = _queries(setting.batch, vocabulary)
    return Contest(model, Trie.from_symbols(symbols), [queries], setting, twin, tokens)


def url_contest(corpus: Sequence[Document], vocabulary: int, setting: Setting) -> Contest:
    """Set up the URLs of a corpus as identifiers, with a vocabulary trained on it."""
    tokenizer = train_vocabulary(corpus, vocabulary)
    scheme = build_scheme(IdentifierSection(scheme="url"), tokenizer)
    scheme.fit(corpus, None)
    keys = [document.key for document in corpus]
    table = IdentifierTable.build(scheme.encode(corpus, None), keys)
    net = small_t5(len(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id)
    model = Seq2SeqModel(Seq2SeqOptions(), copy.deepcopy(net), tokenizer)
    model.attach(scheme, table, None)
    tokens = [tuple(t for t in row if t != PAD) for row in table.symbols.tolist()]
    queries = _queries(setting.batch, len(tokenizer))
    return Contest(model, Trie.build(table), [queries], setting, net, tokens)


def model_contest(folder: Path, queries: Sequence[str], setting: Setting) -> Contest:
    """Set up a trained model with text identifiers and queries in batches.

    Raises InputError for another kind of model, deleted documents, or less than one batch.
    """
    if len(queries) < setting.batch:
        raise InputError(
            f"{len(queries)} queries are less than a batch of {setting.batch}; give more"
        )
    ours, theirs = (Retriever.load(folder, setting.device) for _ in range(2))
    ours.require_one_stage("the decoding benchmark")
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
    symbols = ours.trie.symbols.cpu().numpy()
    tokens = [tuple(t for t in row if t != PAD) for row in symbols.tolist()]
    whole = len(queries) - len(queries) % setting.batch
    ids, mask = ours.encode(queries[:whole])
    starts = range(0, whole, setting.batch)
    batches = [(ids[n : n + setting.batch], mask[n : n + setting.batch]) for n in starts]
    net = theirs.model.transformer.whole()
    return Contest(ours.model, ours.trie, batches, setting, net, tokens)


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
    """Scale random rows so that logits of normalized states, [..., H], have deviation SPREAD."""
    return rows * (SPREAD / rows.shape[1] ** 0.5)


def _add_tokens(net: Any, symbols: Tensor) -> None:
    size = net.config.vocab_size
    net.resize_token_embeddings(size + len(symbols), mean_resizing=False)
    for matrix in (net.get_input_embeddings(), net.get_output_embeddings()):
        matrix.weight.data[size:] = symbols


def _queries(batch: int, vocabulary: int) -> Inputs:
    ids = torch.randint(FIRST_WORD, vocabulary, (batch, SOURCE))
    return ids, torch.ones_like(ids)
