"""Registry of the architectures with a fast path, and their converters."""

from collections.abc import Callable
from typing import Any

import torch

from genir.models.bert_network import BertNetwork
from genir.models.engine.bart import convert_bart
from genir.models.engine.bert import convert_bert, convert_bert_encoder
from genir.models.engine.t5 import convert_t5, convert_t5_encoder
from genir.models.engine.weight_cache import Converter
from genir.models.engine.weights import Decoder

DecoderConverter = Callable[[Any, torch.dtype], Decoder]


def find_converter(net: Any) -> DecoderConverter | None:
    """Return the converter of an encoder-decoder's decoder; None without a fast path."""
    from transformers import (
        BartForConditionalGeneration,
        BertLMHeadModel,
        EncoderDecoderModel,
        MBartForConditionalGeneration,
    )

    if isinstance(net, EncoderDecoderModel):
        return convert_bert if isinstance(net.decoder, BertLMHeadModel) else None
    if isinstance(net, _t5_classes()):
        return convert_t5
    return (
        convert_bart
        if isinstance(net, BartForConditionalGeneration | MBartForConditionalGeneration)
        else None
    )


def find_encoder_converter(net: Any) -> Converter | None:
    """Return the converter of an encoder, alone or in an encoder-decoder; None if it has none."""
    if isinstance(net, BertNetwork):  # of a model folder, without importing transformers
        return convert_bert_encoder
    from transformers import BertModel, EncoderDecoderModel, RobertaModel, XLMRobertaModel
    from transformers.models.mt5.modeling_mt5 import MT5Stack
    from transformers.models.t5.modeling_t5 import T5Stack

    stack = type(net) in (T5Stack, MT5Stack) and not net.is_decoder
    if stack or isinstance(net, _t5_classes()):
        return convert_t5_encoder
    encoder = net.encoder if isinstance(net, EncoderDecoderModel) else net
    # Subclasses may differ, and a decoder attends causally.
    bidirectional = (
        type(encoder) in (BertModel, RobertaModel, XLMRobertaModel)
        and not encoder.config.is_decoder
    )
    return convert_bert_encoder if bidirectional else None


def _t5_classes() -> tuple[type, ...]:
    from transformers import MT5ForConditionalGeneration, T5ForConditionalGeneration

    return T5ForConditionalGeneration, MT5ForConditionalGeneration
