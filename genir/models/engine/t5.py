"""T5 and mT5 (1.0 and 1.1): pre-norm, relative positions, no scaling, no biases."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genir.models.engine.encoder import Encoder, EncoderLayer
from genir.models.engine.weights import (
    MASKED,
    Decoder,
    FeedForward,
    FusedLinear,
    Layer,
    RMSNorm,
    activation,
)


def convert_t5(net: Any, dtype: torch.dtype) -> Decoder:
    """Convert the decoder of a T5ForConditionalGeneration or MT5ForConditionalGeneration."""
    stack, config = net.decoder, net.config
    last = stack.final_layer_norm
    return Decoder(
        layers=[_layer(block.layer, dtype) for block in stack.block],
        heads=config.num_heads,
        size=config.d_kv,
        scale=1.0,
        norm_first=True,
        attention_bias=_relative_bias(stack.block[0].layer[0].SelfAttention),
        final_norm=partial(_leave, _norm(last), last.weight.detach() * _factor(net)),
    )


def convert_t5_encoder(stack: Any, dtype: torch.dtype) -> Encoder:
    """Convert the encoder of a T5ForConditionalGeneration or MT5ForConditionalGeneration."""
    first, last = stack.block[0].layer[0].SelfAttention, stack.final_layer_norm
    places = first.relative_attention_max_distance + 1
    bias = first.compute_bias(places, places)[0].detach()  # [heads, places, places]
    return Encoder(
        word_embeddings=stack.embed_tokens,
        layers=[_encoder_layer(block.layer, dtype) for block in stack.block],
        heads=first.n_heads,
        size=first.key_value_proj_dim,
        scale=1.0,
        norm_first=True,
        attention_bias=torch.cat([bias[:, -1], bias[:, 0, 1:]], dim=1),
        final_norm=partial(_leave, _norm(last), last.weight.detach()),
    )


def _encoder_layer(parts: Any, dtype: torch.dtype) -> EncoderLayer:
    own, norm = parts[0].SelfAttention, parts[0].layer_norm
    return EncoderLayer(
        self_attention=FusedLinear.build(dtype, own.q, own.k, own.v, gain=norm.weight),
        self_attention_out=FusedLinear.build(dtype, own.o),
        self_attention_norm=_norm(norm),
        feed_forward=_feed_forward(parts[1], dtype),
        norm=_norm(parts[1].layer_norm),
    )


def _leave(norm: RMSNorm, gain: Tensor, states: Tensor) -> Tensor:
    return norm(states) * gain


def _norm(norm: Any) -> RMSNorm:
    return RMSNorm(norm.variance_epsilon)


def _layer(parts: Any, dtype: torch.dtype) -> Layer:
    own, cross = parts[0].SelfAttention, parts[1].EncDecAttention
    norms = [part.layer_norm for part in parts]
    return Layer(
        self_attention=FusedLinear.build(dtype, own.q, own.k, own.v, gain=norms[0].weight),
        self_attention_out=FusedLinear.build(dtype, own.o),
        self_attention_norm=_norm(norms[0]),
        cross_query=FusedLinear.build(dtype, cross.q, gain=norms[1].weight),
        cross_attention=FusedLinear.build(dtype, cross.k, cross.v),
        cross_out=FusedLinear.build(dtype, cross.o),
        cross_norm=_norm(norms[1]),
        feed_forward=_feed_forward(parts[2], dtype),
        norm=_norm(norms[2]),
    )


def _feed_forward(part: Any, dtype: torch.dtype) -> FeedForward:
    maps = part.DenseReluDense
    inner = (maps.wi_0, maps.wi_1) if hasattr(maps, "wi_0") else (maps.wi,)
    return FeedForward.build(dtype, inner, maps.wo, activation(maps.act), part.layer_norm.weight)


def _relative_bias(attention: Any) -> Tensor:
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
