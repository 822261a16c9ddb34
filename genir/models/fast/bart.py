"""BART (post-norm) and mBART (pre-norm with a final norm): learned positions."""

from typing import Any

import torch
from torch import nn

from genir.models.fast.weights import Affine, Decoder, FeedForward, Layer, Norm, activation, seen


def open_bart(net: Any, dtype: torch.dtype) -> Decoder:
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
        visible=seen(positions.weight.device),
        positions=positions.weight.detach()[positions.offset :],
        enter=Norm.of(stack.layernorm_embedding),
        leave=None if last is None else Norm.of(last),
    )


def _layer(layer: Any, dtype: torch.dtype) -> Layer:
    own, cross = layer.self_attn, layer.encoder_attn
    return Layer(
        own=Affine.of(dtype, own.q_proj, own.k_proj, own.v_proj),
        own_out=Affine.of(dtype, own.out_proj),
        own_norm=Norm.of(layer.self_attn_layer_norm),
        query=Affine.of(dtype, cross.q_proj),
        memory=Affine.of(dtype, cross.k_proj, cross.v_proj),
        cross_out=Affine.of(dtype, cross.out_proj),
        cross_norm=Norm.of(layer.encoder_attn_layer_norm),
        feed_forward=FeedForward.of(dtype, [layer.fc1], layer.fc2, activation(layer.activation_fn)),
        norm=Norm.of(layer.final_layer_norm),
    )
