"""T5 and mT5 (1.0 and 1.1): pre-norm, relative positions, no scaling, no biases."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genir.models.fast.encoder import Encoder, EncoderLayer
from genir.models.fast.weights import (
    MASKED,
    Affine,
    Decoder,
    FeedForward,
    Layer,
    RootMeanSquare,
    activation,
)


def open_t5(net: Any, dtype: torch.dtype) -> Decoder:
    """Convert the decoder of a T5ForConditionalGeneration or MT5ForConditionalGeneration."""
    stack, config = net.decoder, net.config
    last = stack.final_layer_norm
    return Decoder(
        layers=[_layer(block.layer, dtype) for block in stack.block],
        heads=config.num_heads,
        size=config.d_kv,
        scale=1.0,
        norm_first=True,
        visible=_visible(stack.block[0].layer[0].SelfAttention),
        leave=partial(_leave, _norm(last), last.weight.detach() * _factor(net)),
    )


def open_t5_encoder(stack: Any, dtype: torch.dtype) -> Encoder:
    """Convert the encoder of a T5ForConditionalGeneration or MT5ForConditionalGeneration."""
    first, last = stack.block[0].layer[0].SelfAttention, stack.final_layer_norm
    places = first.relative_attention_max_distance + 1
    bias = first.compute_bias(places, places)[0].detach()  # [heads, places, places]
    return Encoder(
        words=stack.embed_tokens,
        layers=[_encoder_layer(block.layer, dtype) for block in stack.block],
        heads=first.n_heads,
        size=first.key_value_proj_dim,
        scale=1.0,
        norm_first=True,
        visible=torch.cat([bias[:, -1], bias[:, 0, 1:]], dim=1),
        leave=partial(_leave, _norm(last), last.weight.detach()),
    )


def _encoder_layer(parts: Any, dtype: torch.dtype) -> EncoderLayer:
    own, norm = parts[0].SelfAttention, parts[0].layer_norm
    return EncoderLayer(
        own=Affine.of(dtype, own.q, own.k, own.v, gain=norm.weight),
        own_out=Affine.of(dtype, own.o),
        own_norm=_norm(norm),
        feed_forward=_feed_forward(parts[1], dtype),
        norm=_norm(parts[1].layer_norm),
    )


def _leave(norm: RootMeanSquare, gain: Tensor, states: Tensor) -> Tensor:
    return norm(states) * gain


def _norm(norm: Any) -> RootMeanSquare:
    return RootMeanSquare(norm.variance_epsilon)


def _layer(parts: Any, dtype: torch.dtype) -> Layer:
    own, cross = parts[0].SelfAttention, parts[1].EncDecAttention
    norms = [part.layer_norm for part in parts]
    return Layer(
        own=Affine.of(dtype, own.q, own.k, own.v, gain=norms[0].weight),
        own_out=Affine.of(dtype, own.o),
        own_norm=_norm(norms[0]),
        query=Affine.of(dtype, cross.q, gain=norms[1].weight),
        memory=Affine.of(dtype, cross.k, cross.v),
        cross_out=Affine.of(dtype, cross.o),
        cross_norm=_norm(norms[1]),
        feed_forward=_feed_forward(parts[2], dtype),
        norm=_norm(norms[2]),
    )


def _feed_forward(part: Any, dtype: torch.dtype) -> FeedForward:
    maps = part.DenseReluDense
    inner = (maps.wi_0, maps.wi_1) if hasattr(maps, "wi_0") else (maps.wi,)
    return FeedForward.of(dtype, inner, maps.wo, activation(maps.act), part.layer_norm.weight)


def _visible(attention: Any) -> Tensor:
    """Return the relative position bias by distance; it is constant beyond the maximum."""
    places = attention.relative_attention_max_distance + 1
    bias = attention.compute_bias(places, places)[0, :, -1].flip(-1)  # [heads, distances]
    return F.pad(bias, (1, 0), value=MASKED)


def _factor(net: Any) -> Tensor:
    """Measure the factor of decoder states before a tied output matrix.

    Transformers releases differ in when they apply it. The matrix must be detached already.
    """
    embeds = torch.ones(1, 1, net.config.d_model, device=net.device)
    inputs = {"encoder_hidden_states": embeds, "inputs_embeds": embeds}
    inside = net.decoder(**inputs).last_hidden_state
    outside = net(encoder_outputs=(embeds,), decoder_inputs_embeds=embeds).logits
    return outside.norm() / inside.norm()
