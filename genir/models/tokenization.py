"""Token ids of texts for an encoder: prompts, truncation, padding."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

MAX_TOKENIZED_CHARS = 200_000
"""Number of characters of text after which a tokenizer call is closed."""


class Prompt(NamedTuple):
    """Text before each text of a role.

    tokens: number of its tokens with a leading special token, as sentence-transformers counts them.
    """

    text: str = ""
    tokens: int = 0

    @classmethod
    def measure(cls, tokenizer: Any, text: str) -> Self:
        """Count the tokens of a prompt."""
        if not text:
            return cls()
        return cls(text, _prefix_tokens(tokenizer, text))


def _prefix_tokens(tokenizer: Any, text: str) -> int:
    ids = tokenizer(text)["input_ids"]
    return len(ids) - (bool(ids) and ids[-1] in tokenizer.all_special_ids)


def encode_texts(
    tokenizer: Any, texts: Sequence[str], length: int, prompt: str = ""
) -> list[list[int]]:
    """Return the token ids of `prompt` and each text, truncated to `length` with special tokens.

    A text without tokens becomes one padding token.
    """
    ids: list[list[int]] = []
    for some in batches_by_length(texts):
        some = [prompt + text for text in some] if prompt else some
        ids += tokenizer(some, truncation=True, max_length=length)["input_ids"]
    # Networks cannot read empty rows; some tokenizers add no special tokens.
    return [row or [tokenizer.pad_token_id] for row in ids]


def batches_by_length(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield the texts in lists of about `MAX_TOKENIZED_CHARS`, in order.

    This bounds memory: a tokenizer needs about a hundred bytes for each token of a call.
    """
    some: list[str] = []
    length = 0
    for text in texts:
        some.append(text)
        length += len(text)
        if length >= MAX_TOKENIZED_CHARS:
            yield some
            some, length = [], 0
    if some:
        yield some


def pad_batch(ids: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Return input ids and attention mask, int64 [batch, longest]."""
    longest = max(map(len, ids))
    mask = np.arange(longest) < np.array([len(row) for row in ids])[:, None]
    inputs = np.full(mask.shape, pad, dtype=np.int64)
    inputs[mask] = np.concatenate([np.asarray(row, dtype=np.int64) for row in ids])
    return torch.from_numpy(inputs), torch.from_numpy(mask.astype(np.int64))
