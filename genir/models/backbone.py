"""Any transformers encoder-decoder, split before its output matrix.

The decoder returns the states that would be multiplied by the output matrix (after T5's scale or
BERT's prediction transform), so that only the rows of candidate symbols are multiplied. Whole
targets use the public API of transformers, and so do steps of families without a fast path.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genir.models.engine.converters import find_converter, find_encoder_converter
from genir.models.engine.decoder import FusedDecoder
from genir.models.engine.hf_decoder import HFDecoder, run_decoder
from genir.models.engine.onednn import Product
from genir.models.engine.weight_cache import CastCache
from genir.models.engine.weights import MASKED
from genir.models.position_limits import max_working_length
from genir.models.smoke_test import compare

PROBE_TOKENS = (5, 6, 7)
"""Ordinary token ids to check that the steps of a new network match its forward pass."""
GATHER_COST_ROWS = 64
"""Cost of gathering one row for one state, in rows multiplied (measured: 60 to 100)."""
MIN_DEDUPLICATED_ROWS = 256
"""Number of wanted rows from which it pays to look for duplicates."""
READ_COST_STATES = 8
"""Cost of reading the output matrix once, in states multiplied with it."""


@dataclass(frozen=True)
class Encoded:
    """Encoded sources. states: [B, S, H]; mask: added to attention scores, [B, 1, 1, S]."""

    states: Tensor
    mask: Tensor


class _PlainLinear(nn.Module):
    """Identity in place of the output matrix; still exposes its weight."""

    bias = None

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden


class Seq2SeqBackbone(nn.Module):
    """An encoder-decoder whose decoder returns hidden states, with a separate output matrix.

    `steps` runs the decoder step by step, on the fast path if the architecture has one.

    Raises:
        SmokeTestFailed: Steps differ from the network's forward pass.
    """

    steps: Any
    encoder: CastCache
    scorer: CastCache

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.config = copy.deepcopy(net.config)
        self.start = net.config.decoder_start_token_id
        self.net = net.eval()
        self.output = net.get_output_embeddings()
        self.cap: float | None = None
        self.register_buffer("bias", None)
        if getattr(net.get_encoder(), "pooler", None) is not None:
            net.get_encoder().pooler = None  # unused, and DDP rejects unused parameters
        with torch.no_grad():
            expected = self._reference_pass()
            self._detach_output_matrix()
            converter = find_converter(net)
            self.steps = FusedDecoder(net, converter) if converter else HFDecoder(net)
            self.encoder = CastCache(
                net.get_encoder(), packed=True, converter=find_encoder_converter(net)
            )
            self.scorer = CastCache(self.output, packed=True)
            self._check_output_layer(expected)

    def _detach_output_matrix(self) -> None:
        """Detach the output matrix, BART's logit bias and Gemma's logit soft-capping."""
        self.net.set_output_embeddings(_PlainLinear(self.output.weight))
        if isinstance(bias := getattr(self.net, "final_logits_bias", None), Tensor):
            self.bias = bias
            self.net.final_logits_bias = nn.Buffer(torch.zeros(1, 1))
        decoder = getattr(self.net.config, "decoder", None)
        if decoder is not None and getattr(decoder, "final_logit_softcapping", None):
            self.cap, decoder.final_logit_softcapping = decoder.final_logit_softcapping, None

    def prepared_weights(self) -> list[Any]:
        """Return the prepared weights."""
        return [self.steps.prepared_weights(), self.encoder.cast_copy, self.scorer.cast_copy]

    def clear_cache(self) -> None:
        """Drop prepared weights, to free memory for training."""
        for part in (self.steps, self.encoder, self.scorer):
            part.clear_cache()

    def restore_output_matrix(self) -> Any:
        """Restore the output matrix and return the original network, for `generate`.

        Decoding steps are not possible afterwards.
        """
        self.net.set_output_embeddings(self.output)
        if self.bias is not None:
            self.net.final_logits_bias = self.bias
        if self.cap is not None:
            self.net.config.decoder.final_logit_softcapping = self.cap
        return self.net

    @contextmanager
    def with_output_matrix(self) -> Iterator[Any]:
        """Yield the original network; detach its output matrix again after the block."""
        yield self.restore_output_matrix()
        self._detach_output_matrix()
        self.clear_cache()

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the decoder inputs of tokens [...], [..., H]."""
        return cast(Tensor, self.net.get_decoder().get_input_embeddings()(tokens))

    @property
    def scale(self) -> float:
        """Scale of the decoder's input embeddings (mBART)."""
        return float(getattr(self.net.get_decoder().get_input_embeddings(), "embed_scale", 1.0))

    def encode(self, input_ids: Tensor, attention_mask: Tensor) -> Encoded:
        """Encode sources, int64 [B, S] each."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = (1 - attention_mask[:, None, None].to(states.dtype)) * MASKED
        return Encoded(states, mask)

    def decode(self, encoded: Encoded, embeds: Tensor) -> Tensor:
        """Decode whole targets, embeds [B, T, H], with a causal mask: hidden [B, T, H]."""
        inputs = {"decoder_inputs_embeds": embeds, "use_cache": False}
        answer = run_decoder(self.net, encoded.states, encoded.mask, **inputs)
        return cast(Tensor, answer.logits)

    def longest_source(self, wanted: int) -> int:
        """Return `wanted`, or the encoder's maximum number of tokens if that is smaller."""

        def run(length: int) -> None:
            row = torch.full((1, length), self.start)
            self.net.get_encoder()(input_ids=row, attention_mask=torch.ones_like(row))

        return max_working_length(self.net.get_encoder(), run, wanted)

    def longest_target(self, wanted: int) -> int:
        """Return `wanted`, or the decoder's maximum number of tokens if that is smaller."""
        token = torch.tensor([[self.start]])

        def run(length: int) -> None:
            read = {"input_ids": token, "attention_mask": torch.ones_like(token)}
            self.net(**read, decoder_inputs_embeds=self.embed(token.expand(1, length)))

        return max_working_length(self.net.get_decoder(), run, wanted)

    def logits(self, hidden: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Return logits of all tokens, [..., V], or of candidates, [..., C]: float32."""
        bias = self.output.bias if self.bias is None else self.bias[0]
        scorer, added = self.scorer.current(), self.bias  # added: BART's bias
        whole = scorer if added is None else lambda hidden: scorer(hidden) + added[0]
        logits = score_tokens(hidden, cast(Tensor, scorer.weight), bias, tokens, whole)
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)

    def _reference_pass(self) -> Tensor:
        """Return the original network's logits of two targets: [2, 2, V]."""
        sources = torch.tensor([PROBE_TOKENS, PROBE_TOKENS])
        targets = torch.tensor([[self.start, PROBE_TOKENS[0]], [self.start, PROBE_TOKENS[1]]])
        return cast(Tensor, self.net(input_ids=sources, decoder_input_ids=targets).logits)

    def _check_output_layer(self, expected: Tensor) -> None:
        """Compare the logits with two beams that continue one query's first step."""
        sources = torch.tensor([PROBE_TOKENS])
        encoded = self.encode(sources, torch.ones_like(sources))
        state = self.steps.encode(encoded.states, encoded.mask)
        state, first = self.steps.step(state, None, self.embed(torch.tensor([[self.start]])))
        parents, symbols = torch.zeros(1, 2, dtype=torch.long), torch.tensor([PROBE_TOKENS[:2]])
        _, second = self.steps.step(state, parents, self.embed(symbols))
        self.clear_cache()
        found = self.logits(torch.stack([first.expand(-1, 2, -1), second], dim=2))[0]
        name = type(self.net).__name__
        compare(found, expected, f"a {name} decodes differently in steps and in one pass")


def score_tokens(
    hidden: Tensor,
    rows: Tensor,
    bias: Tensor | None,
    wanted: Tensor | None,
    whole: Product | None = None,
) -> Tensor:
    """Return products of hidden states [..., H] with rows [V, H], or with candidates only: float32.

    The cheapest of three ways is chosen: gather the candidates' rows, multiply all rows, or
    multiply the distinct candidates.

    Args:
        hidden: States, [..., H].
        rows: Output matrix, [V, H].
        bias: [V], or None.
        wanted: Candidate rows, int64 [..., C]; None for all.
        whole: Faster product with all rows, including the bias.
    """
    hidden = hidden.to(rows.dtype)
    if wanted is None:
        return (F.linear(hidden, rows, bias) if whole is None else whole(hidden)).float()
    states = hidden[..., 0].numel()
    least = min(wanted.numel() * GATHER_COST_ROWS, rows.shape[0] * (states + READ_COST_STATES))
    shared = (
        wanted.numel() >= MIN_DEDUPLICATED_ROWS
        and wanted.shape[-1] * (states + GATHER_COST_ROWS) < least
    )
    if shared and wanted.device.type == "cpu":  # counting them would synchronise with a GPU
        distinct, places = _distinct(wanted, rows.shape[0])
        if len(distinct) * (states + GATHER_COST_ROWS) < least:
            own = None if bias is None else bias[distinct]
            return score_tokens(hidden, F.embedding(distinct, rows), own, None).gather(-1, places)
    if least < wanted.numel() * GATHER_COST_ROWS:
        return score_tokens(hidden, rows, bias, None, whole).gather(-1, wanted)
    # Indexing has a gradient that CPU threads accumulate in non-deterministic order.
    products = (F.embedding(wanted, rows) @ hidden.unsqueeze(-1)).squeeze(-1).float()
    if bias is None:
        return products
    return products + F.embedding(wanted, bias.unsqueeze(1)).squeeze(-1).float()


def _distinct(wanted: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the distinct values of `wanted` < `size`, int64 [U], and the index of each in them."""
    there = torch.zeros(size, dtype=torch.bool)
    there[wanted.flatten()] = True
    return there.nonzero()[:, 0], there.cumsum(0)[wanted] - 1
