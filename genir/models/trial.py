"""A trial of a pre-trained network by the calls that training and search make of it.

A few rows of unlike length: a pass alone and in a batch, several decoding steps that re-order
their prefixes, one training step. Leaves the network and the random numbers as they were.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from genir.errors import InputError

TEXTS = ("connect to the office network from outside, with a badge number", "vpn", "")
"""What is read in a trial: rows of unlike length, an empty one among them."""
STEPS, BEAMS = 4, 3
TOLERANCE = 1e-3


class TrialFailed(InputError):
    """Say what a network does that genir cannot work with."""


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Draw random numbers of one's own, and restore the mode of a network."""
    training = model.training
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    model.train(training)


def try_encoder(encoder: Any, inputs: Tensor, mask: Tensor) -> None:
    """Read rows together and alone, and go one training step backward.

    Args:
        encoder: a `TextEncoder`.
        inputs: int64 [rows, S], padded.
        mask: int64 [rows, S].

    Raises:
        TrialFailed: for states of another shape, vectors that differ from those of the network as
            transformers has it, depend on the other rows, are no numbers or are the same for unlike
            rows, or gradients that are none.
    """
    with untouched(encoder):
        encoder.eval()
        with torch.no_grad():
            states = encoder.states(inputs, mask)
            expected = (*inputs.shape, encoder.dimension)
            if tuple(states.shape) != expected:
                raise TrialFailed(
                    f"its states of shape {tuple(states.shape)} are not one a token, {expected}"
                )
            together = encoder(inputs, mask)
            for row, length in enumerate(mask.sum(dim=1).tolist()):
                one = slice(row, row + 1)
                alone = encoder(inputs[one, :length], mask[one, :length])
                compare(together[one], alone, "it reads a text in a batch otherwise than alone")
                given = encoder.given(inputs[one, :length], mask[one, :length])
                compare(alone, given, "its fast path differs from the network itself")
            if torch.equal(together[0], together[1]) and not torch.equal(inputs[0], inputs[1]):
                raise TrialFailed("it has the same vector for unlike texts")
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):  # as processors may prefer
            check_finite(encoder(inputs, mask))
        encoder.train()
        vectors = encoder(inputs, mask)
        check_gradients(encoder, (vectors * torch.randn_like(vectors)).sum())


def check_finite(values: Tensor) -> None:
    """Raise TrialFailed unless all values are finite numbers."""
    if not bool(values.isfinite().all()):
        raise TrialFailed("it returns values that are not finite numbers")


def compare(found: Tensor, expected: Tensor, otherwise: str, tolerance: float = TOLERANCE) -> None:
    """Raise TrialFailed unless both are numbers, and the same up to rounding."""
    check_finite(expected)
    least = tolerance * max(1.0, float(expected.abs().mean()))
    if not torch.allclose(found.float(), expected.float(), tolerance, least):
        raise TrialFailed(otherwise)


def check_gradients(model: nn.Module, loss: Tensor) -> None:
    """Go backward to the parameters of one dimension, which every layer has: they need no memory.

    Raises:
        TrialFailed: if the loss or a gradient is not finite, or there is no gradient at all.
    """
    if not bool(loss.isfinite()):
        raise TrialFailed(f"its training loss is {loss.item()}")
    trained = [p for p in model.parameters() if p.requires_grad]
    small = [p for p in trained if p.dim() == 1] or trained
    found = torch.autograd.grad(loss, small, allow_unused=True)
    gradients = [gradient for gradient in found if gradient is not None]
    if not all(bool(gradient.isfinite().all()) for gradient in gradients):
        raise TrialFailed("its gradients are not finite numbers")
    if not any(bool(gradient.any()) for gradient in gradients):
        raise TrialFailed("its training loss has no gradient")


def try_stepping(model: Any, inputs: Tensor, mask: Tensor) -> None:
    """Decode in steps whose beams continue each other in any order, and compare with whole passes.

    Args:
        model: a `Seq2SeqModel` that writes in its vocabulary.
        inputs: int64 [rows, S], padded.
        mask: int64 [rows, S].

    Raises:
        TrialFailed: if steps differ from a pass of the untouched network over a source alone.
    """
    with untouched(model), torch.no_grad():
        model.eval()
        start = model.start(inputs, mask)
        state, hidden = model.step(start, None, None)
        rows, tokens = len(inputs), torch.empty(len(inputs), 1, 0, dtype=torch.long)
        seen = [model.level_logits(hidden, 0)]
        for step in range(STEPS):
            parents = torch.randint(1 if step == 0 else BEAMS, (rows, BEAMS))
            written = torch.randint(len(model.tokenizer), (rows, BEAMS))
            state, hidden = model.step(state, parents, written)
            chosen = parents[..., None]
            tokens = torch.cat([tokens.take_along_dim(chosen, 1), written[..., None]], dim=2)
            seen = [earlier.take_along_dim(chosen, dim=1) for earlier in seen]
            seen.append(model.level_logits(hidden, 0))
        owners = torch.arange(rows).repeat_interleave(BEAMS)
        whole = torch.stack(model.hidden_after(start, owners, tokens.flatten(0, 1)), dim=1)
        read = model.level_logits(whole, 0)
        sources = [(inputs[n : n + 1, :m], mask[n : n + 1, :m]) for n, m in enumerate(mask.sum(1))]
        with model.transformer.as_given() as net:
            expected = _whole_pass(net, model.transformer.start, sources, tokens)
        compare(torch.stack(seen, 2), expected, "its decoding steps differ from one whole pass")
        compare(read.view(expected.shape), expected, "its prefixes differ from one whole pass")


def _whole_pass(
    net: Any, start: int, sources: list[tuple[Tensor, Tensor]], tokens: Tensor
) -> Tensor:
    """Return logits [rows, K, T + 1, V] of the network itself, each source alone."""
    logits = []
    for (ids, mask), written in zip(sources, tokens, strict=True):
        targets = torch.cat([torch.full((len(written), 1), start), written], dim=1)
        each = {"input_ids": ids, "attention_mask": mask}
        each = {name: values.expand(len(written), -1) for name, values in each.items()}
        logits.append(net(**each, decoder_input_ids=targets).logits)
    return torch.stack(logits).float()


def try_training(model: Any, batch: Any) -> None:
    """Go one training step backward over a batch of text targets.

    Raises:
        TrialFailed: if the loss or its gradients are not finite, or there are none.
    """
    with untouched(model):
        model.train()
        check_gradients(model, model.loss(batch, 0.0))
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):  # as processors may prefer
            check_finite(model.loss(batch, 0.0))
