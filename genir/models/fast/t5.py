"""T5 and mT5 (1.0 and 1.1): norms first, relative positions, no scaling, no biases."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genir.models.fast.weights import MASKED, Affine, Decoder, Layer, RootMeanSquare, activation


def open_t5(net: Any, dtype: torch.dtype) -> Decoder:
    """Take out the decoder of a T5ForConditionalGeneration or MT5ForConditionalGeneration."""
    stack, config = net.decoder, net.config
    last = stack.final_layer_norm
    return Decoder(
        layers=[_layer(block.layer, dtype, config.is_gated_act) for block in stack.block],
        heads=config.num_heads,
        size=config.d_kv,
        scale=1.0,
        norm_first=True,
        activation=activation(stack.block[0].layer[2].DenseReluDense.act),
        gated=config.is_gated_act,
        visible=_visible(stack.block[0].layer[0].SelfAttention),
        leave=partial(_leave, _norm(last), last.weight.detach() * _factor(net)),
    )


def _leave(norm: RootMeanSquare, gain: Tensor, states: Tensor) -> Tensor:
    return norm(states) * gain


def _norm(norm: Any) -> RootMeanSquare:
    return RootMeanSquare(norm.variance_epsilon)


def _layer(parts: Any, dtype: torch.dtype, gated: bool) -> Layer:
    own, cross, feed = parts[0].SelfAttention, parts[1].EncDecAttention, parts[2].DenseReluDense
    norms = [part.layer_norm for part in parts]
    inner = (feed.wi_0, feed.wi_1) if gated else (feed.wi,)
    return Layer(
        own=Affine.of(dtype, own.q, own.k, own.v, gain=norms[0].weight),
        own_out=Affine.of(dtype, own.o),
        own_norm=_norm(norms[0]),
        query=Affine.of(dtype, cross.q, gain=norms[1].weight),
        memory=Affine.of(dtype, cross.k, cross.v),
        cross_out=Affine.of(dtype, cross.o),
        cross_norm=_norm(norms[1]),
        inner=Affine.of(dtype, *inner, gain=norms[2].weight),
        outer=Affine.of(dtype, feed.wo),
        norm=_norm(norms[2]),
    )


def _visible(attention: Any) -> Tensor:
    """Return the bias of each distance; from the farthest known one on they are all the same."""
    places = attention.relative_attention_max_distance + 1
    bias = attention.compute_bias(places, places)[0, :, -1].flip(-1)  # [heads, distances]
    return F.pad(bias, (1, 0), value=MASKED)


def _factor(net: Any) -> Tensor:
    """Ask for what states are multiplied by before a tied output matrix.

    Releases of transformers differ in when they do so. The matrix itself must be out by now.
    """
    embeds = torch.ones(1, 1, net.config.d_model, device=net.device)
    inputs = {"encoder_hidden_states": embeds, "inputs_embeds": embeds}
    inside = net.decoder(**inputs).last_hidden_state
    outside = net(encoder_outputs=(embeds,), decoder_inputs_embeds=embeds).logits
    return outside.norm() / inside.norm()
