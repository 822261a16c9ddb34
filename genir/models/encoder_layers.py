"""Layers of a text encoder after its network: modules of sentence-transformers.

The library is imported only where it is needed: that takes longer than loading MiniLM.
"""

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from genir.models.encoder_design import EncoderPart


class LayerMismatch(ValueError):
    """Layers that do not fit together."""


def make_layer(part: EncoderPart) -> nn.Module:
    """Build a layer with random weights."""
    from sentence_transformers.base.modules import Dense, Normalize
    from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling

    options: dict[str, Any] = dict(part.options)
    if part.type == "Pooling":
        return Pooling(1, **options)  # the width is not used
    if part.type == "Dense":
        name = options["activation_function"].rpartition(".")[2]
        return Dense(**options | {"activation_function": getattr(nn, name)()})
    return LayerNorm(**options) if part.type == "LayerNorm" else Normalize(**options)


def pool(
    layers: Iterable[nn.Module] | None, states: Tensor, attention_mask: Tensor, prompt_tokens: int
) -> Tensor:
    """Return one vector a text, float32 [batch, dimension].

    Args:
        layers: Modules in order; None for the mean.
        states: Hidden state of each token, [batch, length, hidden size].
        attention_mask: int64 [batch, length], padded on the right.
        prompt_tokens: Number of tokens of the prompt, which a Pooling layer may exclude.
    """
    if layers is None:
        mask = attention_mask.unsqueeze(-1).float()
        return (states.float() * mask).sum(1) / mask.sum(1).clamp(min=1)
    features: dict[str, Any] = {
        "token_embeddings": states.float(),
        "attention_mask": attention_mask,
    }
    if prompt_tokens:
        features["prompt_length"] = prompt_tokens
    with torch.autocast(states.device.type, enabled=False):
        for layer in layers:
            features = layer(features)
    return cast(Tensor, features["sentence_embedding"])


@torch.no_grad()
def embedding_width(layers: Iterable[nn.Module], hidden_size: int) -> int:
    """Return the dimension of the vectors after the layers, by a pass over one token of zeros.

    Raises:
        LayerMismatch: The layers do not fit together.
    """
    try:
        mask = torch.ones(1, 1, dtype=torch.long)
        shape = pool(layers, torch.zeros(1, 1, hidden_size), mask, 0).shape
    except (RuntimeError, KeyError) as error:
        reason = f"needs {error}" if isinstance(error, KeyError) else str(error)
        raise LayerMismatch(f"layers do not end in one vector a text ({reason:.200})") from None
    if len(shape) != 2:
        raise LayerMismatch(f"layers do not end in one vector a text (shape {list(shape)})")
    return shape[-1]
