"""BART (post-norm) and mBART (pre-norm with a final norm): learned positions."""

from typing import Any

import torch
from torch import nn

from genir.models.engine.weights import (
    Decoder,
    FeedForward,
    FusedLinear,
    Layer,
    Norm,
    activation,
    full_attention_bias,
)


def convert_bart(net: Any, dtype: torch.dtype) -> Decoder:
    """Convert the decoder of a BartForConditionalGeneration or MBartForConditionalGeneration."""
    stack = net.get_decoder()
    attention = stack.layers[0].self_attn
    positions = stack.embed_positions
    last: nn.LayerNorm | None = getattr(stack, "layer_norm", None)  # mBART only
    return Decoder(
        layers=[_layer(layer, dtype) for layer in stack.layers],
        heads=attention.num_heads,
        size=attention.head_dim,
        scale=attention.head_dim**-0.5,
        norm_first=last is not None,
        attention_bias=full_attention_bias(positions.weight.device),
        positions=positions.weight.detach()[positions.offset :],
        embed=Norm.build(stack.layernorm_embedding),
        final_norm=None if last is None else Norm.build(last),
    )


def _layer(layer: Any, dtype: torch.dtype) -> Layer:
    own, cross = layer.self_attn, layer.encoder_attn
    return Layer(
        self_attention=FusedLinear.build(dtype, own.q_proj, own.k_proj, own.v_proj),
        self_attention_out=FusedLinear.build(dtype, own.out_proj),
        self_attention_norm=Norm.build(layer.self_attn_layer_norm),
        cross_query=FusedLinear.build(dtype, cross.q_proj),
        cross_attention=FusedLinear.build(dtype, cross.k_proj, cross.v_proj),
        cross_out=FusedLinear.build(dtype, cross.out_proj),
        cross_norm=Norm.build(layer.encoder_attn_layer_norm),
        feed_forward=FeedForward.build(
            dtype, [layer.fc1], layer.fc2, activation(layer.activation_fn)
        ),
        norm=Norm.build(layer.final_layer_norm),
    )
