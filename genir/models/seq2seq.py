"""Any transformers encoder-decoder as a model that emits identifiers.

Text identifiers use the model's own vocabulary. Codes get new symbols for each level
(`code_heads.py`), and a softmax over the level's symbols only, in training and in decoding. Text
targets always use the vocabulary.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSeq2SeqLM, AutoTokenizer, EncoderDecoderModel

from genir.config import StageConfig
from genir.errors import InputError
from genir.identifiers.base import Scheme, Vectors
from genir.identifiers.table import IdentifierTable
from genir.models.backbone import Encoded, Seq2SeqBackbone
from genir.models.base import Batch, DocidModel, Inheritable
from genir.models.checkpoint_checks import refuse_on_error
from genir.models.checkpoint_io import load_weights, read_model, write_model
from genir.models.code_heads import CodeHead, HeadContext
from genir.models.decoder_vectors import DOCUMENT_TOKENS, first_decoder_states
from genir.models.encoder import TextEncoder
from genir.models.encoder_head.model import EncoderHeadModel
from genir.models.encoder_head.options import EncoderHeadOptions
from genir.models.engine.decoder import FusedDecoder
from genir.models.eval_mode import choose_attention
from genir.models.head_registry import HEADS, check_head
from genir.models.network_loading import MINILM, load_pretrained
from genir.models.pawa_head import PrefixState
from genir.models.position_limits import position_table_sizes, require_within
from genir.models.pretrained import (
    SOURCE_HINT,
    Seq2SeqOptions,
    load_seq2seq,
    name_network,
    untie_output,
)
from genir.models.size_limits import build_within, refuse_size
from genir.models.smoke_test import PROBE_TEXTS, check_decoder, check_training_step
from genir.models.tokenization import encode_texts, pad_batch
from genir.tasks.base import TrainQueries
from genir.types import Document


class SavedOptions(Seq2SeqOptions):
    """Options in the model folder, with the shapes that the weights belong to."""

    vocabulary: int
    level_sizes: list[int]
    new_symbols: list[str]


class Seq2SeqModel(DocidModel, Inheritable):
    """Encoder-decoder with the symbols of a scheme; see `DocidModel` for the interface.

    Decoder states are immutable. `text`: whether identifiers use the vocabulary. `new_symbols`:
    names of parameters without pre-training. `head`: symbols of codes; None for text.
    """

    kind = "seq2seq"
    generates_text = True
    Options = Seq2SeqOptions
    must_match_parent = frozenset(
        Seq2SeqOptions.model_fields.keys() - {"dropout", "encoder", "head"}
    )

    def __init__(self, options: Seq2SeqOptions, net: Any, tokenizer: Any) -> None:
        super().__init__()
        self.options = options
        self.tokenizer = tokenizer
        self.backbone = Seq2SeqBackbone(net)
        self.new_symbols: set[str] = set()
        self.sizes: list[int] = []
        self.set_head(None)

    @classmethod
    def build(cls, options: Seq2SeqOptions, corpus: Sequence[Document]) -> Self:
        """Load or create the transformer and its tokenizer; `build_head` must follow."""
        origin = load_seq2seq(options, corpus)
        with refuse_on_error(options.source, name_network(origin.net), SOURCE_HINT):
            model = cls(options, origin.net, origin.tokenizer)
            if origin.is_external:
                model._try()
        fresh = {id(parameter) for parameter in origin.newly_initialised}
        model.new_symbols = {name for name, p in model.named_parameters() if id(p) in fresh}
        return model

    @classmethod
    def check_pretrained(cls, options: Seq2SeqOptions, source_length: int) -> None:
        """Load the transformer and run it once. Raises InputError if it cannot be used."""
        if options.source != "scratch":
            cls.build(options, ()).check_source_length(source_length)
        if options.encoder != MINILM:
            TextEncoder.pretrained(options.encoder)

    @classmethod
    def check_recipe(cls, options: Seq2SeqOptions, stage: StageConfig) -> None:
        """Raise InputError for a head that does not fit the identifiers."""
        check_head(options.head, stage.identifiers.scheme)

    def _try(self) -> None:
        texts = encode_texts(self.tokenizer, PROBE_TEXTS, 16)
        inputs, mask = pad_batch(texts, self.tokenizer.pad_token_id)
        check_decoder(self, inputs, mask)
        targets, kinds = inputs.masked_fill(mask == 0, -1), torch.full((len(inputs),), -1)
        check_training_step(self, Batch(inputs, mask, targets, kinds, torch.ones(len(inputs))))

    def check_source_length(self, length: int) -> None:
        """Raise InputError if the encoder takes fewer tokens than `length`."""
        most = self.backbone.longest_source(length)
        subject = f"the encoder of {self.options.source!r}"
        require_within("[training] source_length", length, most, subject)

    def source_positions(self) -> list[int]:
        """Return the sizes of the encoder's position tables."""
        return position_table_sizes(self.backbone.net.get_encoder())

    def check_target_length(self, length: int, key: str, start: int = 0) -> None:
        """Raise InputError if the decoder takes fewer tokens than `length`."""
        most = self.backbone.longest_target(length)
        require_within(key, length, most, f"the decoder of {self.options.source!r}", start)

    def train(self, mode: bool = True) -> Self:
        """Switch between training and inference, with the attention kernel for each."""
        if isinstance(self.backbone.net, EncoderDecoderModel):
            choose_attention(self.backbone.net, mode)
        if mode:
            self.backbone.clear_cache()
        return super().train(mode)

    def build_head(self, scheme: Scheme, table: IdentifierTable, vectors: Vectors | None) -> None:
        """Add the symbols of a code scheme; a text scheme needs none.

        Raises:
            InputError: A text scheme was fitted with another tokenizer.
        """
        self.sizes = scheme.level_sizes()
        if scheme.needs_tokenizer:
            self.separator = scheme.separator
            self._refuse_vocabulary()
            self.set_head(None)
            return
        embeddings = self.backbone.output.weight.detach()
        codebooks = scheme.full_codebooks() if hasattr(scheme, "full_codebooks") else None
        context = HeadContext(self.sizes, embeddings, table, vectors, codebooks)
        self.separator = None
        self.set_head(HEADS[self.options.head].build(context))

    def _refuse_vocabulary(self) -> None:
        """Raise InputError unless the identifiers' tokens are the tokenizer's, or given token ids
        that have a row in the output matrix."""
        (size,), own, rows = self.sizes, len(self.tokenizer), len(self.backbone.output.weight)
        if size < own:
            raise InputError(
                f"identifiers: their vocabulary has {self.sizes} tokens, the model's has {own}; "
                "fit the scheme with this model's tokenizer"
            )
        if size > rows:
            raise InputError(
                f"identifiers: token {size - 1} is beyond the {rows} rows of the output matrix; "
                "give the identifiers that belong to this model"
            )

    def inherit_weights(self, parent: DocidModel, table: IdentifierTable) -> None:
        """Copy the transformer. Raises InputError for another source, size or vocabulary."""
        assert isinstance(parent, Seq2SeqModel)
        for name in sorted(self.must_match_parent):
            own, its = getattr(self.options, name), getattr(parent.options, name)
            if own != its:
                raise InputError(
                    f"[model] {name} = {own!r}, but the model to start from has {its!r}; "
                    "use the same value"
                )
        if self.tokenizer.get_vocab() != parent.tokenizer.get_vocab():
            raise InputError(
                "[model] init_from: the model to start from has another vocabulary; train it on "
                "this corpus"
            )
        self.backbone.load_state_dict(parent.backbone.state_dict())
        self.new_symbols = set()

    def inherit_identifiers(
        self, parent: DocidModel, scheme: Scheme, table: IdentifierTable
    ) -> bool:
        """Inherit the parent's identifiers, and its symbols for codes."""
        assert isinstance(parent, Seq2SeqModel)
        if self.options.head != parent.options.head:
            raise InputError(
                f"[model] head = {self.options.head!r}, but the model to start from has "
                f"{parent.options.head!r} and the same identifiers; use the same value"
            )
        self.build_head(scheme, table, None)
        if self.head is not None and parent.head is not None:
            self.head.load_state_dict(parent.head.state_dict())
        self.new_symbols = self._new_in_network()
        return True

    def set_head(self, head: CodeHead | None) -> None:
        """Set the symbols of codes; None for text identifiers."""
        self.text = head is None
        self.sizes = self.sizes if head is None else head.sizes
        self.head = None if head is None else head.to(self.device).train(self.training)
        self._reads_prefix = head is not None and head.reads_prefix
        fused = isinstance(self.backbone.steps, FusedDecoder)
        self.supports_multi_token = fused and not self._reads_prefix
        names = {name for name, _ in self.named_parameters() if name.startswith("head.")}
        self.new_symbols = self._new_in_network() | names

    def _new_in_network(self) -> set[str]:
        """Return the parameters without pre-training that do not belong to the head."""
        return {name for name in self.new_symbols if not name.startswith("head.")}

    def document_vectors(self, corpus: Sequence[Document], queries: TrainQueries) -> Vectors:
        """Return the document vectors, float32 [documents, H].

        Of an untrained encoder-head model with the same encoder, or with an inner-product head the
        decoder states after the start token, given the document (RIPOR).
        """
        if HEADS[self.options.head].needs_codebooks:
            texts = [f"{one.title}. {one.text}" for one in corpus]
            length = self.backbone.longest_source(DOCUMENT_TOKENS)
            return first_decoder_states(self, texts, length)
        options = EncoderHeadOptions(encoder=self.options.encoder, word_set_size=0)
        untrained = EncoderHeadModel.build(options, corpus).to(self.device)
        return untrained.document_vectors(corpus, queries)

    def loss(self, batch: Batch, label_smoothing: float) -> Tensor:
        """Return the mean cross-entropy of target tokens, weighted by example.

        A batch holds either text targets or identifiers.
        """
        text = self.text or bool(batch.rows[0] < 0)
        encoded = self.backbone.encode(batch.input_ids, batch.attention_mask)
        start = self._start(len(batch.targets))[:, None]
        levels = torch.arange(batch.targets.shape[1] - 1, device=self.device)
        before = self._embed(batch.targets[:, :-1].clamp(min=0), levels, text)
        hidden = self._decode(encoded, torch.cat([start, before], dim=1), text)
        losses = self._text_losses if text else self._code_losses
        weights = batch.weights[:, None] * (batch.targets >= 0)
        return (losses(hidden, batch.targets, label_smoothing) * weights).sum() / weights.sum()

    def teacher_forced_states(self, inputs: tuple[Tensor, Tensor], symbols: Tensor) -> list[Tensor]:
        """Return hidden states before each symbol, [B, C, H] a depth, from one pass."""
        batch, count, depth = symbols.shape
        encoded = self.backbone.encode(*inputs)
        # repeat_interleave has a gradient that CPU threads accumulate in non-deterministic order.
        states, mask = (
            tensor[:, None].expand(-1, count, *tensor.shape[1:]).flatten(0, 1)
            for tensor in (encoded.states, encoded.mask)
        )
        levels = torch.arange(depth - 1, device=self.device)
        start = self._start(batch * count)[:, None]
        before = self._embed(symbols.flatten(0, 1)[:, :-1].clamp(min=0), levels, self.text)
        inputs_read = torch.cat([start, before], dim=1)
        hidden = self._decode(Encoded(states, mask), inputs_read, self.text)
        return list(hidden.view(batch, count, depth, -1).unbind(2))

    def _decode(self, encoded: Encoded, inputs: Tensor, text: bool) -> Tensor:
        """Return what `logits` reads at each position, [B, T, width], for inputs [B, T, H]."""
        hidden = self.backbone.decode(encoded, inputs)
        return hidden if text or self.head is None else self.head.with_prefix(hidden, inputs)

    def _text_losses(self, hidden: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        """Return float32 [B, T]; padding is not multiplied by the large vocabulary."""
        real = targets >= 0
        logits = self.backbone.logits(hidden[real])
        losses = F.cross_entropy(logits, targets[real], reduction="none", label_smoothing=smoothing)
        return losses.new_zeros(targets.shape).masked_scatter(real, losses)

    def _code_losses(self, hidden: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        """Return float32 [B, T]; each level has its own softmax."""
        losses = [
            F.cross_entropy(
                self.level_logits(hidden[:, level], level),
                targets[:, level],
                ignore_index=-1,
                reduction="none",
                label_smoothing=smoothing,
            )
            for level in range(targets.shape[1])
        ]
        return torch.stack(losses, dim=1)

    def encode(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        """Encode queries, int64 [B, S] each."""
        encoded = self.backbone.encode(input_ids, attention_mask)
        state = self.backbone.steps.encode(encoded.states, encoded.mask)
        if self._reads_prefix:
            return PrefixState.start(state, self.backbone.output.weight.shape[1])
        return state

    def step(
        self, state: Any, parents: Tensor | None, symbols: Tensor | None
    ) -> tuple[Any, Tensor]:
        """Advance the beams by one symbol; `state` is unchanged."""
        if parents is None or symbols is None:
            embeds = self._start(len(state.lengths))[:, None]
        else:
            read = state.lengths.view(len(parents), -1).gather(1, parents)
            embeds = self._embed(symbols, read - 1, self.text)
        if isinstance(state, PrefixState) and self.head is not None:
            return state.step(self.backbone.steps, self.head, parents, embeds)
        stepped: tuple[Any, Tensor] = self.backbone.steps.step(state, parents, embeds)
        return stepped

    def prepared_weights(self) -> list[Any] | None:
        """Return the prepared weights of the fast path; other paths cannot be captured."""
        return self.backbone.prepared_weights() if self.supports_multi_token else None

    def select_rows(self, state: Any, slots: Tensor) -> Any:
        """Return a state whose rows are rows `slots`, int64 [M], of the given one."""
        return self.backbone.steps.select_rows(state, slots)

    def extend(
        self, state: Any, rows: Tensor, symbols: Tensor, lengths: Tensor, last: bool = False
    ) -> tuple[Any, Tensor]:
        """Read several symbols at some rows in one pass: hidden [M, T or 1, H]."""
        within = torch.arange(symbols.shape[1], device=symbols.device)
        levels = state.lengths[rows, None] - 1 + within
        known = symbols.masked_fill(within >= lengths[:, None], 0)
        embeds = self._embed(known, levels.clamp(max=len(self.sizes) - 1), self.text)
        read: tuple[Any, Tensor] = self.backbone.steps.extend(state, rows, embeds, lengths, last)
        return read

    def states_for_prefixes(
        self, state: Any, queries: Tensor, symbols: Tensor, first: int = 0
    ) -> list[Tensor]:
        """Return hidden states [N, H] after symbols[:, :n], for n = first, ..., T."""
        levels = torch.arange(symbols.shape[1], device=symbols.device)
        start = self._start(len(symbols))[:, None]
        embeds = torch.cat([start, self._embed(symbols, levels, self.text)], dim=1)
        prefixed = isinstance(state, PrefixState)
        encoded = state.decoder if prefixed else state
        hidden = self.backbone.steps.teacher_forced_states(encoded, queries, embeds)
        if prefixed and self.head is not None:
            hidden = self.head.with_prefix(hidden, embeds)
        return [hidden[:, place] for place in range(first, embeds.shape[1])]

    def logits(self, hidden: Tensor, depth: int, candidates: Tensor) -> Tensor:
        """Return logits of candidate symbols, float32 [B, K, C]."""
        if self.head is None:
            return self.backbone.logits(hidden, candidates)
        return self.head.logits(hidden, depth, candidates)

    def log_normaliser(self, hidden: Tensor, depth: int) -> Tensor:
        """Return the log-sum-exp over the vocabulary or the level's symbols, float32 [B, K]."""
        return self.level_logits(hidden, depth).logsumexp(dim=-1)

    def scores(self, hidden: Tensor, depth: int, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Return candidate logits from the product that the normaliser needs anyway."""
        every = self.level_logits(hidden, depth)
        return every.gather(-1, candidates), every.logsumexp(dim=-1)

    def level_logits(self, hidden: Tensor, depth: int) -> Tensor:
        """Return logits of the vocabulary or of the level's symbols, float32 [..., size]."""
        if self.head is None:
            return self.backbone.logits(hidden)
        return self.head.logits(hidden, depth)

    @property
    def shares_vocabulary(self) -> bool:  # type: ignore[override]
        """Whether identifiers use the vocabulary."""
        return self.text

    def _start(self, batch: int) -> Tensor:
        token = torch.full((batch,), self.backbone.start, device=self.device)
        return self.backbone.embed(token)

    def _embed(self, symbols: Tensor, levels: Tensor, text: bool) -> Tensor:
        """Return the decoder inputs of symbols [N, T] of `levels`, [T] or [N, T]."""
        if text or self.head is None:
            return self.backbone.embed(symbols)
        return self.backbone.scale * self.head.inputs(symbols, levels)

    def head_parameters(self) -> list[nn.Parameter]:
        """Return the parameters without pre-training; all of them for a model from scratch."""
        return [p for name, p in self.named_parameters() if name in self.new_symbols]

    def identifier_bytes(self) -> int:
        """Return the size of the symbol rows in bytes; 0 for text identifiers."""
        parameters = [] if self.head is None else list(self.head.parameters())
        return sum(one.numel() * one.element_size() for one in parameters)

    def save(self, folder: Path) -> None:
        """Write weights, options, transformer configuration and tokenizer."""
        saved = SavedOptions(
            **self.options.model_dump(include=set(Seq2SeqOptions.model_fields)),
            vocabulary=len(self.tokenizer),
            level_sizes=self.sizes,
            new_symbols=sorted(self.new_symbols),
        )
        self.backbone.config.save_pretrained(folder)
        write_model(folder, self, saved)

    @classmethod
    def load(cls, folder: Path, scheme: Scheme, table: IdentifierTable) -> Self:
        """Load a saved model from local files only."""
        with read_model(folder, cls.kind, SavedOptions) as (saved, weights):
            tokenizer = load_pretrained(AutoTokenizer, str(folder), local_files_only=True)
            config = load_pretrained(AutoConfig, str(folder), local_files_only=True)
            build = partial(AutoModelForSeq2SeqLM.from_config, config, dtype=torch.float32)
            net = build_within(weights, build, str(folder / "config.json"))
            untie_output(net, weights)
            model = cls(saved, net, tokenizer)
            if not scheme.needs_tokenizer:
                rows = [sum(scheme.level_sizes()), model.backbone.output.weight.shape[1]]
                refuse_size(
                    weights, "head.symbols", rows, f"{folder / 'identifiers' / 'scheme.json'}"
                )
            model.build_head(scheme, table, None)
            found = (len(tokenizer), model.sizes)
            if found != (saved.vocabulary, saved.level_sizes):
                raise InputError(
                    f"{folder}: trained with (vocabulary, symbols per level) = "
                    f"{(saved.vocabulary, saved.level_sizes)}, but the tokenizer and identifiers "
                    f"there have {found}; the folder mixes two models: train it again"
                )
            model.new_symbols = set(saved.new_symbols)
            load_weights(model, weights)
        return model
