"""A BERT as the decoding half of an EncoderDecoderModel: norms last, a transform at the end."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from genir.models.fast.weights import Affine, Decoder, FeedForward, Layer, Norm, activation, seen


def open_bert(net: Any, dtype: torch.dtype) -> Decoder:
    """Take out the decoder of an EncoderDecoderModel whose decoder is a BertLMHeadModel."""
    bert, transform = net.decoder.bert, net.decoder.cls.predictions.transform
    words, layers = bert.embeddings, bert.encoder.layer
    attention = layers[0].attention.self
    bridge = getattr(net, "enc_to_dec_proj", None)  # between halves of unlike width alone
    return Decoder(
        layers=[_layer(layer, dtype) for layer in layers],
        heads=attention.num_attention_heads,
        size=attention.attention_head_size,
        scale=attention.attention_head_size**-0.5,
        norm_first=False,
        visible=seen(words.LayerNorm.weight.device),
        positions=(
            words.position_embeddings.weight + words.token_type_embeddings.weight[0]
        ).detach(),
        enter=Norm.of(words.LayerNorm),
        bridge=None if bridge is None else Affine.of(dtype, bridge),
        leave=partial(
            _transform,
            Affine.of(dtype, transform.dense, then=activation(transform.transform_act_fn)),
            Norm.of(transform.LayerNorm),
        ),
    )


def _transform(dense: Affine, norm: Norm, states: Tensor) -> Tensor:
    return norm(dense(states).float())


def _layer(layer: Any, dtype: torch.dtype) -> Layer:
    own, cross = layer.attention.self, layer.crossattention.self
    return Layer(
        own=Affine.of(dtype, own.query, own.key, own.value),
        own_out=Affine.of(dtype, layer.attention.output.dense),
        own_norm=Norm.of(layer.attention.output.LayerNorm),
        query=Affine.of(dtype, cross.query),
        memory=Affine.of(dtype, cross.key, cross.value),
        cross_out=Affine.of(dtype, layer.crossattention.output.dense),
        cross_norm=Norm.of(layer.crossattention.output.LayerNorm),
        feed_forward=FeedForward.of(
            dtype,
            [layer.intermediate.dense],
            layer.output.dense,
            activation(layer.intermediate.intermediate_act_fn),
        ),
        norm=Norm.of(layer.output.LayerNorm),
    )
