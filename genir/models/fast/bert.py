"""BERT as an encoder, or as the decoder of an EncoderDecoderModel: post-norm; a decoder has a final
transform.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from genir.models.fast.encoder import Encoder, EncoderLayer
from genir.models.fast.weights import Affine, Decoder, FeedForward, Layer, Norm, activation, seen


def open_bert(net: Any, dtype: torch.dtype) -> Decoder:
    """Convert the decoder of an EncoderDecoderModel whose decoder is a BertLMHeadModel."""
    bert, transform = net.decoder.bert, net.decoder.cls.predictions.transform
    words, layers = bert.embeddings, bert.encoder.layer
    attention = layers[0].attention.self
    bridge = getattr(net, "enc_to_dec_proj", None)  # only if encoder and decoder differ in width
    return Decoder(
        layers=[_layer(layer, dtype) for layer in layers],
        heads=attention.num_attention_heads,
        size=attention.attention_head_size,
        scale=attention.attention_head_size**-0.5,
        norm_first=False,
        visible=seen(words.LayerNorm.weight.device),
        positions=_positions(words),
        enter=Norm.of(words.LayerNorm),
        bridge=None if bridge is None else Affine.of(dtype, bridge),
        leave=partial(
            _transform,
            Affine.of(dtype, transform.dense, then=activation(transform.transform_act_fn)),
            Norm.of(transform.LayerNorm),
        ),
    )


def open_bert_encoder(bert: Any, dtype: torch.dtype) -> Encoder:
    """Convert a bidirectional BertModel; all tokens have token type 0."""
    words, attention = bert.embeddings, bert.encoder.layer[0].attention.self
    return Encoder(
        words=words.word_embeddings,
        layers=[_encoder_layer(layer, dtype) for layer in bert.encoder.layer],
        heads=attention.num_attention_heads,
        size=attention.attention_head_size,
        scale=attention.attention_head_size**-0.5,
        norm_first=False,
        positions=_positions(words),
        enter=Norm.of(words.LayerNorm),
    )


def _positions(words: Any) -> Tensor:
    weights: Tensor = words.position_embeddings.weight + words.token_type_embeddings.weight[0]
    return weights.detach()


def _transform(dense: Affine, norm: Norm, states: Tensor) -> Tensor:
    return norm(dense(states).float())


def _layer(layer: Any, dtype: torch.dtype) -> Layer:
    cross = layer.crossattention.self
    return Layer(
        **vars(_encoder_layer(layer, dtype)),
        query=Affine.of(dtype, cross.query),
        memory=Affine.of(dtype, cross.key, cross.value),
        cross_out=Affine.of(dtype, layer.crossattention.output.dense),
        cross_norm=Norm.of(layer.crossattention.output.LayerNorm),
    )


def _encoder_layer(layer: Any, dtype: torch.dtype) -> EncoderLayer:
    own = layer.attention.self
    return EncoderLayer(
        own=Affine.of(dtype, own.query, own.key, own.value),
        own_out=Affine.of(dtype, layer.attention.output.dense),
        own_norm=Norm.of(layer.attention.output.LayerNorm),
        feed_forward=FeedForward.of(
            dtype,
            [layer.intermediate.dense],
            layer.output.dense,
            activation(layer.intermediate.intermediate_act_fn),
        ),
        norm=Norm.of(layer.output.LayerNorm),
    )
