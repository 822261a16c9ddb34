"""Registry of the architectures with a fast path, and their converters."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    BartForConditionalGeneration,
    BertLMHeadModel,
    BertModel,
    EncoderDecoderModel,
    MBartForConditionalGeneration,
    MT5ForConditionalGeneration,
    T5ForConditionalGeneration,
)

from genir.models.fast.bart import open_bart
from genir.models.fast.bert import open_bert, open_bert_encoder
from genir.models.fast.t5 import open_t5, open_t5_encoder
from genir.models.fast.weights import Decoder
from genir.models.precast import Opener

DecoderOpener = Callable[[Any, torch.dtype], Decoder]
T5 = (T5ForConditionalGeneration, MT5ForConditionalGeneration)
BART = (BartForConditionalGeneration, MBartForConditionalGeneration)


def find_opener(net: Any) -> DecoderOpener | None:
    """Return the converter of an encoder-decoder's decoder; None without a fast path."""
    if isinstance(net, EncoderDecoderModel):
        return open_bert if isinstance(net.decoder, BertLMHeadModel) else None
    return open_t5 if isinstance(net, T5) else open_bart if isinstance(net, BART) else None


def find_encoder_opener(net: Any) -> Opener | None:
    """Return the converter of an encoder, alone or in an encoder-decoder; None if it has none."""
    if isinstance(net, T5):
        return open_t5_encoder
    encoder = net.encoder if isinstance(net, EncoderDecoderModel) else net
    # Subclasses may differ, and a decoder attends causally.
    bidirectional = type(encoder) is BertModel and not encoder.config.is_decoder
    return open_bert_encoder if bidirectional else None
