"""Baseline decoder: transformers' `generate` with `prefix_allowed_tokens_fn`, as in GENRE, over a
trie of Python dicts or marisa.
"""

from collections.abc import Callable, Sequence
from typing import Any

import marisa_trie
import torch
from torch import Tensor

Children = Callable[[Sequence[int]], list[int]]
"""Tokens of a prefix -> tokens that may follow."""

UNICODE_PLANE = 0x10000
"""Code point of token 0; beyond the surrogates."""


def dict_children(identifiers: Sequence[Sequence[int]]) -> Children:
    """Build a trie of nested dicts, as in most research code."""
    root: dict[int, Any] = {}
    for identifier in identifiers:
        node = root
        for token in identifier:
            node = node.setdefault(token, {})

    def children(prefix: Sequence[int]) -> list[int]:
        node = root
        for token in prefix:
            node = node.get(token, {})
        return list(node)

    return children


def marisa_children(identifiers: Sequence[Sequence[int]]) -> Children:
    """Build a marisa trie with the first branchings cached, as in GENRE."""
    words = [
        "".join(chr(UNICODE_PLANE + token) for token in identifier) for identifier in identifiers
    ]
    trie = marisa_trie.Trie(words)
    kept: dict[str, list[int]] = {"": sorted({ord(word[0]) - UNICODE_PLANE for word in words})}

    def children(prefix: Sequence[int]) -> list[int]:
        text = "".join(chr(UNICODE_PLANE + token) for token in prefix)
        if text in kept:
            return kept[text]
        place = len(text)
        found = list({ord(w[place]) - UNICODE_PLANE for w in trie.iterkeys(text) if len(w) > place})
        if place == 1:
            kept[text] = found
        return found

    return children


class HFPrefixDecoder:
    """A transformers encoder-decoder, constrained to identifiers.

    steps: number of tokens of the longest identifier. trie_softmax: normalise over legal tokens
    only (`renormalize_logits`), like `softmax = "trie"`.
    """

    def __init__(self, net: Any, children: Children, steps: int, legal: bool) -> None:
        self.net = net.eval()
        self.children = children
        self.steps = steps
        self.trie_softmax = legal
        self.padding = net.config.pad_token_id

    @torch.inference_mode()
    def decode(self, inputs: tuple[Tensor, Tensor], beams: int, k: int) -> list[list[list[int]]]:
        """Return the best k identifiers of each query, without padding."""
        found: Tensor = self.net.generate(
            input_ids=inputs[0],
            attention_mask=inputs[1],
            num_beams=beams,
            num_return_sequences=k,
            max_new_tokens=self.steps,
            do_sample=False,
            length_penalty=0.0,
            early_stopping=False,
            renormalize_logits=self.trie_softmax,
            prefix_allowed_tokens_fn=self._allowed,
        )
        rows = [self._written(row) for row in found[:, 1:].tolist()]
        return [rows[start : start + k] for start in range(0, len(rows), k)]

    @torch.inference_mode()
    def log_p(self, inputs: tuple[Tensor, Tensor], answers: list[list[tuple[int, ...]]]) -> Tensor:
        """Return the total log p of each query's identifiers, in the net's precision: [B].

        Compares two systems with different answers: the higher, the better its search.
        """
        totals = []
        for ids, mask, rows in zip(*inputs, answers, strict=True):
            begun = [[self.net.config.decoder_start_token_id, *row[:-1]] for row in rows]
            longest = max(map(len, begun))
            before = [row + [self.padding] * (longest - len(row)) for row in begun]
            logits = self.net(
                input_ids=ids.expand(len(rows), -1),
                attention_mask=mask.expand(len(rows), -1),
                decoder_input_ids=torch.tensor(before, device=ids.device),
            ).logits
            totals.append(sum(map(self._log_p_of, rows, logits.float())))
        return torch.tensor(totals)

    def _log_p_of(self, row: tuple[int, ...], logits: Tensor) -> float:
        total = 0.0
        for place, (token, own) in enumerate(zip(row, logits, strict=False)):
            among = own[self.children(row[:place])] if self.trie_softmax else own
            total += float(own[token] - among.logsumexp(dim=0))
        return total

    def _written(self, row: list[int]) -> list[int]:
        """Cut the padding after a row, which may be repeated end tokens."""
        end = self.net.config.eos_token_id
        length = row.index(end) + 1 if end in row else len(row)
        return [token for token in row[:length] if token != self.padding]

    def _allowed(self, query: int, written: Tensor) -> list[int]:
        """Return the allowed tokens of one beam; a finished beam may only be padded."""
        return self.children(written[1:].tolist()) or [self.padding]
