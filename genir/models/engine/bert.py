"""BERT as an encoder, or as the decoder of an EncoderDecoderModel: post-norm; a decoder has a final
transform.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from genir.models.engine.encoder import Encoder, EncoderLayer
from genir.models.engine.weights import (
    Decoder,
    FeedForward,
    FusedLinear,
    Layer,
    Norm,
    activation,
    full_attention_bias,
)


def convert_bert(net: Any, dtype: torch.dtype) -> Decoder:
    """Convert the decoder of an EncoderDecoderModel whose decoder is a BertLMHeadModel."""
    bert, transform = net.decoder.bert, net.decoder.cls.predictions.transform
    words, layers = bert.embeddings, bert.encoder.layer
    attention = layers[0].attention.self
    projection = getattr(
        net, "enc_to_dec_proj", None
    )  # only if encoder and decoder differ in width
    return Decoder(
        layers=[_layer(layer, dtype) for layer in layers],
        heads=attention.num_attention_heads,
        size=attention.attention_head_size,
        scale=attention.attention_head_size**-0.5,
        norm_first=False,
        attention_bias=full_attention_bias(words.LayerNorm.weight.device),
        positions=_positions(words),
        embed=Norm.build(words.LayerNorm),
        projection=None if projection is None else FusedLinear.build(dtype, projection),
        final_norm=partial(
            _transform,
            FusedLinear.build(dtype, transform.dense, then=activation(transform.transform_act_fn)),
            Norm.build(transform.LayerNorm),
        ),
    )


def convert_bert_encoder(bert: Any, dtype: torch.dtype) -> Encoder:
    """Convert a bidirectional BERT, RoBERTa or XLM-R; all tokens have token type 0."""
    words, attention = bert.embeddings, bert.encoder.layer[0].attention.self
    return Encoder(
        word_embeddings=words.word_embeddings,
        layers=[_encoder_layer(layer, dtype) for layer in bert.encoder.layer],
        heads=attention.num_attention_heads,
        size=attention.attention_head_size,
        scale=attention.attention_head_size**-0.5,
        norm_first=False,
        positions=_positions(words),
        embed=Norm.build(words.LayerNorm),
    )


def _positions(words: Any) -> Tensor:
    """Return the embeddings of positions, [P, H]; RoBERTa's begin after the padding token's id."""
    first = getattr(words, "padding_idx", -1) + 1
    weights: Tensor = words.position_embeddings.weight + words.token_type_embeddings.weight[0]
    return weights[first:].detach()


def _transform(dense: FusedLinear, norm: Norm, states: Tensor) -> Tensor:
    return norm(dense(states).float())


def _layer(layer: Any, dtype: torch.dtype) -> Layer:
    cross = layer.crossattention.self
    return Layer(
        **vars(_encoder_layer(layer, dtype)),
        cross_query=FusedLinear.build(dtype, cross.query),
        cross_attention=FusedLinear.build(dtype, cross.key, cross.value),
        cross_out=FusedLinear.build(dtype, layer.crossattention.output.dense),
        cross_norm=Norm.build(layer.crossattention.output.LayerNorm),
    )


def _encoder_layer(layer: Any, dtype: torch.dtype) -> EncoderLayer:
    own = layer.attention.self
    return EncoderLayer(
        self_attention=FusedLinear.build(dtype, own.query, own.key, own.value),
        self_attention_out=FusedLinear.build(dtype, layer.attention.output.dense),
        self_attention_norm=Norm.build(layer.attention.output.LayerNorm),
        feed_forward=FeedForward.build(
            dtype,
            [layer.intermediate.dense],
            layer.output.dense,
            activation(layer.intermediate.intermediate_act_fn),
        ),
        norm=Norm.build(layer.output.LayerNorm),
    )
