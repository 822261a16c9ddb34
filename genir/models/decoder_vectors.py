"""Document vectors of an encoder-decoder: its state after the start token (RIPOR, section 3.2)."""

from collections.abc import Sequence

import numpy as np
import torch

from genir.identifiers.base import Vectors
from genir.models.base import ConstrainedDecoder
from genir.models.eval_mode import evaluating
from genir.models.tokenization import encode_texts, pad_batch
from genir.progress import tracked

DOCUMENT_TOKENS = 128
"""Tokens of a document that its vector is made of (`max_length` of RIPOR's code)."""
DOCUMENTS_PER_BATCH = 64
"""Documents encoded at once."""


@torch.inference_mode()
def first_decoder_states(
    model: ConstrainedDecoder, texts: Sequence[str], length: int = DOCUMENT_TOKENS
) -> Vectors:
    """Return the decoder state before the first symbol of each text, float32 [texts, H].

    length: tokens read of a text.
    """
    rows = encode_texts(model.tokenizer, texts, length)
    found = list[Vectors]()
    with evaluating(model):
        for start in tracked(range(0, len(rows), DOCUMENTS_PER_BATCH), "embedding documents"):
            batch = rows[start : start + DOCUMENTS_PER_BATCH]
            inputs = pad_batch(batch, model.tokenizer.pad_token_id)
            state = model.encode(*(one.to(model.device) for one in inputs))
            found.append(model.step(state, None, None)[1][:, 0].float().cpu().numpy())
    vectors: Vectors = np.concatenate(found)
    return vectors
