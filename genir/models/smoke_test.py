"""Trial run of a pre-trained network with the calls of training and search.

It compares rows of different length alone and in a batch, decoding steps that reorder beams with
whole passes, and runs one training step. The network and the random state are restored.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from genir.errors import InputError

PROBE_TEXTS = ("connect to the office network from outside, with a badge number", "vpn", "")
"""Trial inputs: rows of different length, one of them empty."""
PROBE_STEPS, PROBE_BEAMS = 4, 3
TOLERANCE = 1e-3


class SmokeTestFailed(InputError):
    """The network behaves in a way that genir does not support."""


@contextmanager
def preserved_state(model: nn.Module) -> Iterator[None]:
    """Use a separate random state in the block, and restore the mode of a network."""
    training = model.training
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    model.train(training)


def check_encoder(encoder: Any, inputs: Tensor, mask: Tensor, role: str) -> None:
    """Encode rows together and alone, and run one training step unless all weights are frozen.

    Args:
        encoder: An `EncoderTower`.
        inputs: Token ids, padded, int64 [rows, S].
        mask: Attention mask, int64 [rows, S].
        role: Role of the texts.

    Raises:
        SmokeTestFailed: Wrong shape of states; vectors that differ from transformers',
            depend on other rows, are not finite, or are equal for different rows; or missing
            gradients.
    """
    with preserved_state(encoder):
        encoder.eval()
        with torch.no_grad():
            states = encoder.states(inputs, mask)
            shape = (*inputs.shape, encoder.hidden_size)
            if tuple(states.shape) != shape:
                raise SmokeTestFailed(
                    f"its states of shape {tuple(states.shape)} are not one per token, {shape}"
                )
            together = encoder(inputs, mask, role)
            for row, length in enumerate(mask.sum(dim=1).tolist()):
                one = slice(row, row + 1)
                alone = encoder(inputs[one, :length], mask[one, :length], role)
                compare(together[one], alone, "it encodes a text differently in a batch and alone")
                expected = encoder.reference(inputs[one, :length], mask[one, :length], role)
                compare(alone, expected, "its fast path differs from the network itself")
            if torch.equal(together[0], together[1]) and not torch.equal(inputs[0], inputs[1]):
                raise SmokeTestFailed("it has the same vector for different texts")
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):  # may be chosen by `precision`
            check_finite(encoder(inputs, mask, role))
        if any(parameter.requires_grad for parameter in encoder.parameters()):
            encoder.train()
            vectors = encoder(inputs, mask, role)
            check_gradients(encoder, (vectors * torch.randn_like(vectors)).sum())


def check_finite(values: Tensor) -> None:
    """Raise SmokeTestFailed unless all values are finite."""
    if not bool(values.isfinite().all()):
        raise SmokeTestFailed("it returns values that are not finite numbers")


def compare(found: Tensor, expected: Tensor, otherwise: str, tolerance: float = TOLERANCE) -> None:
    """Raise SmokeTestFailed unless both are finite, and equal up to rounding."""
    check_finite(expected)
    least = tolerance * max(1.0, float(expected.abs().mean()))
    if not torch.allclose(found.float(), expected.float(), tolerance, least):
        raise SmokeTestFailed(otherwise)


def check_gradients(model: nn.Module, loss: Tensor) -> None:
    """Compute gradients of the one-dimensional parameters, which every layer has.

    Raises:
        SmokeTestFailed: The loss or a gradient is not finite, or there is no gradient.
    """
    if not bool(loss.isfinite()):
        raise SmokeTestFailed(f"its training loss is {loss.item()}")
    trained = [p for p in model.parameters() if p.requires_grad]
    small = [p for p in trained if p.dim() == 1] or trained
    found = torch.autograd.grad(loss, small, allow_unused=True)
    gradients = [gradient for gradient in found if gradient is not None]
    if not all(bool(gradient.isfinite().all()) for gradient in gradients):
        raise SmokeTestFailed("its gradients are not finite numbers")
    if not any(bool(gradient.any()) for gradient in gradients):
        raise SmokeTestFailed("its training loss has no gradient")


def check_decoder(model: Any, inputs: Tensor, mask: Tensor) -> None:
    """Decode in steps that reorder beams, and compare with whole passes.

    Args:
        model: A `Seq2SeqModel` that uses its vocabulary.
        inputs: Token ids, padded, int64 [rows, S].
        mask: Attention mask, int64 [rows, S].

    Raises:
        SmokeTestFailed: Steps differ from the original network's pass over one source.
    """
    with preserved_state(model), torch.no_grad():
        model.eval()
        start = model.encode(inputs, mask)
        state, hidden = model.step(start, None, None)
        rows, tokens = len(inputs), torch.empty(len(inputs), 1, 0, dtype=torch.long)
        seen = [model.level_logits(hidden, 0)]
        for step in range(PROBE_STEPS):
            parents = torch.randint(1 if step == 0 else PROBE_BEAMS, (rows, PROBE_BEAMS))
            written = torch.randint(len(model.tokenizer), (rows, PROBE_BEAMS))
            state, hidden = model.step(state, parents, written)
            chosen = parents[..., None]
            tokens = torch.cat([tokens.take_along_dim(chosen, 1), written[..., None]], dim=2)
            seen = [earlier.take_along_dim(chosen, dim=1) for earlier in seen]
            seen.append(model.level_logits(hidden, 0))
        owners = torch.arange(rows).repeat_interleave(PROBE_BEAMS)
        whole = torch.stack(model.states_for_prefixes(start, owners, tokens.flatten(0, 1)), dim=1)
        read = model.level_logits(whole, 0)
        sources = [(inputs[n : n + 1, :m], mask[n : n + 1, :m]) for n, m in enumerate(mask.sum(1))]
        with model.backbone.with_output_matrix() as net:
            expected = _reference_pass(net, model.backbone.start, sources, tokens)
        compare(torch.stack(seen, 2), expected, "its decoding steps differ from one whole pass")
        compare(read.view(expected.shape), expected, "its prefixes differ from one whole pass")


def _reference_pass(
    net: Any, start: int, sources: list[tuple[Tensor, Tensor]], tokens: Tensor
) -> Tensor:
    """Return logits [rows, K, T + 1, V] of the network itself, one source at a time."""
    logits = []
    for (ids, mask), written in zip(sources, tokens, strict=True):
        targets = torch.cat([torch.full((len(written), 1), start), written], dim=1)
        each = {"input_ids": ids, "attention_mask": mask}
        each = {name: values.expand(len(written), -1) for name, values in each.items()}
        logits.append(net(**each, decoder_input_ids=targets).logits)
    return torch.stack(logits).float()


def check_training_step(model: Any, batch: Any) -> None:
    """Run one training step on a batch of text targets.

    Raises:
        SmokeTestFailed: The loss or a gradient is not finite, or there is no gradient.
    """
    with preserved_state(model):
        model.train()
        check_gradients(model, model.loss(batch, 0.0))
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):  # may be chosen by `precision`
            check_finite(model.loss(batch, 0.0))
