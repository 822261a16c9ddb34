"""Any transformers encoder-decoder as a model that emits identifiers.

Text identifiers are written in the model's own vocabulary. Codes get symbols of their own: one row
a symbol of each level, read and written with the same rows, and a softmax over the level's symbols
only, in training as in decoding. Text targets go through the vocabulary either way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    EncoderDecoderCache,
    EncoderDecoderModel,
)

from genir.errors import InputError
from genir.identifiers.base import Scheme, Vectors
from genir.identifiers.table import IdentifierTable
from genir.models.base import Batch, DocidModel
from genir.models.bridge import BridgeModel, BridgeOptions
from genir.models.encoder import choose_attention, load_pretrained
from genir.models.files import read_model, write_model
from genir.models.sources import Seq2SeqOptions, open_origin
from genir.models.symbols import initial_symbols
from genir.models.transformer import Encoded, Transformer, branch, score
from genir.records import Document
from genir.tasks.base import TrainQueries


class Saved(Seq2SeqOptions):
    """The options as the model folder holds them: with what the weights belong to."""

    vocabulary: int
    level_sizes: list[int]
    new: list[str]


@dataclass(frozen=True)
class State:
    """Beams under way: `depth` symbols taken by each of `beams` beams a query."""

    encoded: Encoded
    cache: EncoderDecoderCache | None
    beams: int
    depth: int


class Seq2SeqModel(DocidModel):
    """An encoder-decoder with the symbols of a scheme; see `DocidModel` for the protocol.

    A decoding state may be stepped from more than once. `text` tells whether identifiers are
    written in the vocabulary; `new` names the parameters that no pre-training has seen.
    """

    kind = "seq2seq"
    Options = Seq2SeqOptions
    symbols: nn.Parameter

    def __init__(self, options: Seq2SeqOptions, net: Any, tokenizer: Any) -> None:
        super().__init__()
        self.options = options
        self.tokenizer = tokenizer
        self.transformer = Transformer(net)
        self.new: set[str] = set()
        self.text = True
        self.sizes: list[int] = []
        self.offsets: list[int] = []
        self.register_buffer("first", None, persistent=False)
        self.register_parameter("symbols", None)

    @classmethod
    def build(cls, options: Seq2SeqOptions, corpus: Sequence[Document]) -> Self:
        """Load or create the transformer and its tokenizer; `attach` must follow."""
        origin = open_origin(options, corpus)
        model = cls(options, origin.net, origin.tokenizer)
        fresh = {id(parameter) for parameter in origin.fresh}
        model.new = {name for name, p in model.named_parameters() if id(p) in fresh}
        return model

    def train(self, mode: bool = True) -> Self:
        """Switch between training and answering, with the attention kernel that suits each."""
        if isinstance(self.transformer.net, EncoderDecoderModel):
            choose_attention(self.transformer.net, mode)
        return super().train(mode)

    def attach(self, scheme: Scheme, table: IdentifierTable, vectors: Vectors | None) -> None:
        """Add the symbols of a scheme of codes; one of text needs none.

        Raises InputError when a text scheme was made with another tokenizer.
        """
        self.text = scheme.needs_tokenizer
        self.sizes = list(scheme.level_sizes())
        self.offsets = list(accumulate(self.sizes, initial=0))
        self.first = torch.tensor(self.offsets, device=self.device)
        if self.text:
            self._refuse_other_vocabulary()
            self.register_parameter("symbols", None)
            self.new.discard("symbols")
            return
        embeddings = self.transformer.output.weight.detach()
        codebooks = scheme.full_codebooks() if hasattr(scheme, "full_codebooks") else None
        rows = initial_symbols(embeddings, self.sizes, table, vectors, codebooks)
        self.symbols = nn.Parameter(rows.to(self.device))
        self.new.add("symbols")

    def _refuse_other_vocabulary(self) -> None:
        if self.sizes != [len(self.tokenizer)]:
            raise InputError(
                f"the identifiers are written in a vocabulary of {self.sizes} tokens, the model's "
                f"has {len(self.tokenizer)}; make the identifiers with this model's tokenizer"
            )

    def document_vectors(self, corpus: Sequence[Document], queries: TrainQueries) -> Vectors:
        """Return the dense vectors of an untrained bridge: what its own encoder cannot know yet."""
        options = BridgeOptions(encoder=self.options.encoder, lexical=0)
        bridge = BridgeModel.build(options, corpus).to(self.device)
        return bridge.document_vectors(corpus, queries)

    def loss(self, batch: Batch, label_smoothing: float) -> Tensor:
        """Return the cross-entropy of a target token: the mean over all, by their rows' weights.

        A batch holds text targets or identifiers, never both.
        """
        text = self.text or bool(batch.rows[0] < 0)
        encoded = self.transformer.encode(batch.input_ids, batch.attention_mask)
        start = self._start(len(batch.targets))[:, None]
        before = self._embed(batch.targets[:, :-1].clamp(min=0), 0, text)
        hidden = self.transformer.decode(encoded, torch.cat([start, before], dim=1))
        losses = self._text_losses if text else self._code_losses
        weights = batch.weights[:, None] * (batch.targets >= 0)
        return (losses(hidden, batch.targets, label_smoothing) * weights).sum() / weights.sum()

    def _text_losses(self, hidden: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        """Return float32 [B, T]; only real places are multiplied by the large vocabulary."""
        real = targets >= 0
        logits = self.transformer.logits(hidden[real])
        losses = F.cross_entropy(logits, targets[real], reduction="none", label_smoothing=smoothing)
        return losses.new_zeros(targets.shape).masked_scatter(real, losses)

    def _code_losses(self, hidden: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        """Return float32 [B, T]; each level has a softmax of its own."""
        losses = [
            F.cross_entropy(
                score(hidden[:, level], self._level(level), None, None),
                targets[:, level],
                ignore_index=-1,
                reduction="none",
                label_smoothing=smoothing,
            )
            for level in range(targets.shape[1])
        ]
        return torch.stack(losses, dim=1)

    def start(self, input_ids: Tensor, attention_mask: Tensor) -> State:
        """Encode queries, int64 [B, S] each."""
        return State(self.transformer.encode(input_ids, attention_mask), None, 1, 0)

    def step(
        self, state: State, parents: Tensor | None, symbols: Tensor | None
    ) -> tuple[State, Tensor]:
        """Advance the beams by one symbol; `state` itself stays as it was."""
        batch = len(state.encoded.states)
        if parents is None or symbols is None:
            beams, cache, embeds = 1, None, self._start(batch)
        else:
            beams, cache = parents.shape[1], _continue(state, parents)
            embeds = self._embed(symbols.reshape(-1, 1), state.depth - 1, self.text)[:, 0]
        hidden, cache = self.transformer.step(state.encoded, embeds, cache)
        following = State(state.encoded, cache, beams, state.depth + 1)
        return following, hidden.view(batch, beams, -1)

    def logits(self, hidden: Tensor, depth: int, candidates: Tensor) -> Tensor:
        """Score candidate symbols [B, K, C]: float32 [B, K, C]."""
        if self.text:
            return self.transformer.logits(hidden, candidates)
        return score(hidden, self._level(depth), None, candidates)

    def log_normaliser(self, hidden: Tensor, depth: int) -> Tensor:
        """Return the log-sum-exp over the vocabulary, or the level's symbols: float32 [B, K]."""
        if self.text:
            return self.transformer.logits(hidden).logsumexp(dim=-1)
        return score(hidden, self._level(depth), None, None).logsumexp(dim=-1)

    def _start(self, batch: int) -> Tensor:
        token = torch.full((batch,), self.transformer.start, device=self.device)
        return self.transformer.embed(token)

    def _embed(self, symbols: Tensor, depth: int, text: bool) -> Tensor:
        """Return what the decoder reads for symbols [B, T] of the levels from `depth` on."""
        if text:
            return self.transformer.embed(symbols)
        first = self.first[depth : depth + symbols.shape[1]]
        return F.embedding(symbols + first, self.symbols)

    def _level(self, depth: int) -> Tensor:
        return self.symbols[self.offsets[depth] : self.offsets[depth + 1]]

    def head_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that no pre-training has seen; all of a model from scratch."""
        return [p for name, p in self.named_parameters() if name in self.new]

    def identifier_bytes(self) -> int:
        """Return the size of the symbols' rows; text identifiers have none of their own."""
        return 0 if self.text else self.symbols.numel() * self.symbols.element_size()

    def save(self, folder: Path) -> None:
        """Write weights, genir's options, the transformer's configuration and the tokenizer."""
        saved = Saved(
            **self.options.model_dump(include=set(Seq2SeqOptions.model_fields)),
            vocabulary=len(self.tokenizer),
            level_sizes=self.sizes,
            new=sorted(self.new),
        )
        self.transformer.config.save_pretrained(folder)
        write_model(folder, self, saved)

    @classmethod
    def load(cls, folder: Path, scheme: Scheme, table: IdentifierTable) -> Self:
        """Read back what `save` wrote, from local files alone."""
        with read_model(folder, cls.kind, Saved) as (saved, weights):
            tokenizer = load_pretrained(AutoTokenizer, str(folder), local_files_only=True)
            config = load_pretrained(AutoConfig, str(folder), local_files_only=True)
            net = AutoModelForSeq2SeqLM.from_config(config, dtype=torch.float32)
            model = cls(saved, net, tokenizer)
            model.attach(scheme, table, None)
            found = (len(tokenizer), model.sizes)
            if found != (saved.vocabulary, saved.level_sizes):
                raise InputError(
                    f"{folder}: trained with (vocabulary, symbols a level) = "
                    f"{(saved.vocabulary, saved.level_sizes)}, but the tokenizer and identifiers "
                    f"there have {found}; the folder mixes two models: train it again"
                )
            model.new = set(saved.new)
            _fill(model, weights)
        return model


def _fill(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Set the parameters; a tensor with several names is stored under one of them."""
    missing, foreign = model.load_state_dict(weights, strict=False)
    own = model.state_dict(keep_vars=True)
    filled = {id(own[name]) for name in weights.keys() & own.keys()}
    lost = [name for name in missing if id(own[name]) not in filled]
    if lost or foreign:
        raise RuntimeError(f"model.safetensors lacks {lost} and has foreign {foreign}")


def _continue(state: State, parents: Tensor) -> EncoderDecoderCache:
    """Return the cache of the beams that continue `parents`, int64 [B, K]."""
    batch, beams = parents.shape
    first = torch.arange(batch, device=parents.device)[:, None] * state.beams
    cross = None if beams == state.beams else first.expand(-1, beams).reshape(-1)
    assert state.cache is not None, "the first step has no parents"
    return branch(state.cache, (first + parents).view(-1), cross)
