"""Any transformers encoder-decoder, opened up for a decoder that looks at few symbols a step.

Its output matrix is taken out, so that it returns what would enter that matrix (after T5's scale or
BERT's prediction transform) and only the wanted rows need be multiplied. Whole targets run through
the public calls of transformers, and so do steps, unless there is a fast path for them. Knows no
identifiers.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genir.models.fast.openers import find_encoder_opener, find_opener
from genir.models.fast.weights import MASKED
from genir.models.general import GeneralSteps, run_decoder
from genir.models.limits import longest_length
from genir.models.packed import Product
from genir.models.precast import Precast
from genir.models.stepping import FastSteps
from genir.models.trial import compare

PROBE = (5, 6, 7)
"""Token ids, of no special meaning, that prove of a new transformer that stepping equals a pass."""
GATHERED = 64
"""Gathering a row for one state costs as much as multiplying so many rows (measured: 60 to 100)."""
MANY = 256
"""Wanted rows from which on it pays to look whether states want the same."""
READ = 8
"""Reading the output matrix once costs as much as multiplying it by so many states."""


@dataclass(frozen=True)
class Encoded:
    """Encoded sources. states: [B, S, H]; mask: added to attention scores, [B, 1, 1, S]."""

    states: Tensor
    mask: Tensor


class _Through(nn.Module):
    """Stands where the output matrix was, and still answers for its weight."""

    bias = None

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden


class Transformer(nn.Module):
    """An encoder-decoder whose decoder returns hidden states, and its output matrix beside it.

    `steps` goes through the decoder step by step, on the fast path where the architecture has one.
    Raises TrialFailed for an architecture whose steps do not add up to its own forward pass.
    """

    steps: Any
    encoder: Precast
    scorer: Precast

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.config = copy.deepcopy(net.config)
        self.start = net.config.decoder_start_token_id
        self.net = net.eval()
        self.output = net.get_output_embeddings()
        self.cap: float | None = None
        self.register_buffer("bias", None)
        if getattr(net.get_encoder(), "pooler", None) is not None:
            net.get_encoder().pooler = None  # BERT's: never used, and DDP refuses unused parameters
        with torch.no_grad():
            expected = self._whole_pass()
            self._take_output()
            opener = find_opener(net)
            self.steps = FastSteps(net, opener) if opener else GeneralSteps(net)
            self.encoder = Precast(net.get_encoder(), packed=True, opener=find_encoder_opener(net))
            self.scorer = Precast(self.output, packed=True)
            self._prove(expected)

    def _take_output(self) -> None:
        """Take out the matrix, and what BART adds to its logits or Gemma squeezes them with."""
        self.net.set_output_embeddings(_Through(self.output.weight))
        if isinstance(bias := getattr(self.net, "final_logits_bias", None), Tensor):
            self.bias = bias
            self.net.final_logits_bias = nn.Buffer(torch.zeros(1, 1))
        decoder = getattr(self.net.config, "decoder", None)
        if decoder is not None and getattr(decoder, "final_logit_softcapping", None):
            self.cap, decoder.final_logit_softcapping = decoder.final_logit_softcapping, None

    def prepared(self) -> list[Any]:
        """Return the copies of the weights that there are."""
        return [self.steps.prepared(), self.encoder.twin, self.scorer.twin]

    def forget(self) -> None:
        """Let go of copies of the weights, so that training has the memory."""
        for part in (self.steps, self.encoder, self.scorer):
            part.forget()

    def whole(self) -> Any:
        """Put the output matrix back and return the net as transformers has it, to `generate`.

        No step can be taken from then on.
        """
        self.net.set_output_embeddings(self.output)
        if self.bias is not None:
            self.net.final_logits_bias = self.bias
        if self.cap is not None:
            self.net.config.decoder.final_logit_softcapping = self.cap
        return self.net

    @contextmanager
    def as_given(self) -> Iterator[Any]:
        """Give the net as transformers has it in the block, and take steps again after it."""
        yield self.whole()
        self._take_output()
        self.forget()

    def embed(self, tokens: Tensor) -> Tensor:
        """Return what the decoder reads for tokens [...]: [..., H]."""
        return cast(Tensor, self.net.get_decoder().get_input_embeddings()(tokens))

    @property
    def scale(self) -> float:
        """Return what rows of the vocabulary are multiplied by when they are read (mBART)."""
        return float(getattr(self.net.get_decoder().get_input_embeddings(), "embed_scale", 1.0))

    def encode(self, input_ids: Tensor, attention_mask: Tensor) -> Encoded:
        """Encode sources, int64 [B, S] each."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = (1 - attention_mask[:, None, None].to(states.dtype)) * MASKED
        return Encoded(states, mask)

    def decode(self, encoded: Encoded, embeds: Tensor) -> Tensor:
        """Read whole targets, [B, T, H], each place seeing those before it: hidden [B, T, H]."""
        answer = run_decoder(self.net, encoded.states, encoded.mask, decoder_inputs_embeds=embeds)
        return cast(Tensor, answer.logits)

    def longest_source(self, wanted: int) -> int:
        """Return `wanted`, or how many tokens the encoder takes if those are fewer."""

        def run(length: int) -> None:
            row = torch.full((1, length), self.start)
            self.net.get_encoder()(input_ids=row, attention_mask=torch.ones_like(row))

        return longest_length(self.net.get_encoder(), run, wanted)

    def longest_target(self, wanted: int) -> int:
        """Return `wanted`, or how many tokens the decoder takes if those are fewer."""
        token = torch.tensor([[self.start]])

        def run(length: int) -> None:
            read = {"input_ids": token, "attention_mask": torch.ones_like(token)}
            self.net(**read, decoder_inputs_embeds=self.embed(token.expand(1, length)))

        return longest_length(self.net.get_decoder(), run, wanted)

    def logits(self, hidden: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Score all tokens, [..., V], or each hidden state's own, [..., C]: float32."""
        bias = self.output.bias if self.bias is None else self.bias[0]
        scorer = self.scorer.now()
        logits = score(hidden, cast(Tensor, scorer.weight), bias, tokens, self._whole(scorer))
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)

    def _whole(self, scorer: nn.Module) -> Product:
        """Return what scores all tokens: the output matrix, with BART's bias after it."""
        bias = self.bias
        return scorer if bias is None else lambda hidden: scorer(hidden) + bias[0]

    def _whole_pass(self) -> Tensor:
        """Return the untouched model's logits of two targets: [2, 2, V]."""
        sources = torch.tensor([PROBE, PROBE])
        targets = torch.tensor([[self.start, PROBE[0]], [self.start, PROBE[1]]])
        return cast(Tensor, self.net(input_ids=sources, decoder_input_ids=targets).logits)

    def _prove(self, expected: Tensor) -> None:
        """Compare with two beams that continue the first step of one query."""
        sources = torch.tensor([PROBE])
        encoded = self.encode(sources, torch.ones_like(sources))
        state = self.steps.start(encoded.states, encoded.mask)
        state, first = self.steps.step(state, None, self.embed(torch.tensor([[self.start]])))
        parents, symbols = torch.zeros(1, 2, dtype=torch.long), torch.tensor([PROBE[:2]])
        _, second = self.steps.step(state, parents, self.embed(symbols))
        self.forget()
        found = self.logits(torch.stack([first.expand(-1, 2, -1), second], dim=2))[0]
        name = type(self.net).__name__
        compare(found, expected, f"a {name} decodes otherwise in steps than in one pass")


def score(
    hidden: Tensor,
    rows: Tensor,
    bias: Tensor | None,
    wanted: Tensor | None,
    whole: Product | None = None,
) -> Tensor:
    """Multiply hidden states [..., H] by all rows [V, H], or by those wanted [..., C]: float32.

    Few wanted rows are gathered; many are looked up in the whole product, or in that of the rows
    that any state wants, whichever is cheapest. whole: the whole product, bias and all, where there
    is a faster way to it.
    """
    hidden = hidden.to(rows.dtype)
    if wanted is None:
        return (F.linear(hidden, rows, bias) if whole is None else whole(hidden)).float()
    states = hidden[..., 0].numel()
    least = min(wanted.numel() * GATHERED, rows.shape[0] * (states + READ))
    shared = wanted.numel() >= MANY and wanted.shape[-1] * (states + GATHERED) < least
    if shared and wanted.device.type == "cpu":  # to count them waits for a GPU
        distinct, places = _distinct(wanted, rows.shape[0])
        if len(distinct) * (states + GATHERED) < least:
            own = None if bias is None else bias[distinct]
            return score(hidden, F.embedding(distinct, rows), own, None).gather(-1, places)
    if least < wanted.numel() * GATHERED:
        return score(hidden, rows, bias, None, whole).gather(-1, wanted)
    # Not indexing, whose gradient several CPU threads add up in any order.
    products = (F.embedding(wanted, rows) @ hidden.unsqueeze(-1)).squeeze(-1).float()
    if bias is None:
        return products
    return products + F.embedding(wanted, bias.unsqueeze(1)).squeeze(-1).float()


def _distinct(wanted: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the numbers below `size` that are wanted, int64 [U], and the place of each in them."""
    there = torch.zeros(size, dtype=torch.bool)
    there[wanted.flatten()] = True
    return there.nonzero()[:, 0], there.cumsum(0)[wanted] - 1
