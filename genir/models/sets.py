"""Set identifiers: the words that weigh most in a document, scored for all documents in one pass
(PAG, arXiv:2404.14600, section 3). A prior for look-ahead; it is never emitted.

score(document | query) = sum over the words of its set of log(1 + relu(the most that any token of
the query gives the word)). Knows no codes and no trie.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch import Tensor, nn

THRESHOLD = 1.35
"""Times what a token gives its own word on average: before training, what is above that counts.
Without, nearly all words count a little for every query (docs/design/).
"""


class SetHead(nn.Module):
    """A head over the words that stand in any set.

    words: int32 [documents, m], the words of each document by column, the number of columns where
    it has fewer. vocabulary: int64 [columns], their token ids. embeddings: float32 [columns, H].
    """

    words: Tensor
    vocabulary: Tensor

    def __init__(self, documents: int, size: int, columns: int, width: int) -> None:
        super().__init__()
        self.register_buffer("words", torch.zeros(documents, size, dtype=torch.int32))
        self.register_buffer("vocabulary", torch.zeros(columns, dtype=torch.long))
        self.embeddings = nn.Parameter(torch.zeros(columns, width))
        self.bias = nn.Parameter(torch.zeros(columns))
        self.map = nn.Linear(width, width)

    @classmethod
    def build(cls, weights: csr_matrix, size: int, width: int) -> Self:
        """Take the `size` heaviest words of each document: weights [documents, vocabulary] > 0."""
        heaviest = [_heaviest(weights, row, size) for row in range(weights.shape[0])]
        vocabulary = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *heaviest]))
        head = cls(len(heaviest), size, len(vocabulary), width)
        head.vocabulary.copy_(torch.from_numpy(vocabulary))
        head.words.fill_(len(vocabulary))
        for row, own in zip(head.words, heaviest, strict=True):
            row[: len(own)] = torch.from_numpy(np.searchsorted(vocabulary, own))
        return head

    @classmethod
    def like(cls, words: Tensor, embeddings: Tensor) -> Self:
        """Make room for what was saved."""
        return cls(*words.shape, *embeddings.shape)

    @torch.no_grad()
    def start_from(self, embeddings: Tensor) -> None:
        """Take what the encoder reads for each word, [vocabulary, H], as what it writes for it."""
        self.embeddings.copy_(F.normalize(embeddings[self.vocabulary], dim=1))
        self.map.weight.copy_(torch.eye(len(self.map.weight)))
        self.map.bias.zero_()

    @torch.no_grad()
    def open_at(self, states: Tensor, embeddings: Tensor) -> None:
        """Start every word's bias from what tokens give their own words.

        states, embeddings: [N, H], of the tokens of some texts.

        A word that nothing reaches learns nothing, so a fixed bias would not do for every encoder.
        """
        own = (self.map(states) * F.normalize(embeddings, dim=1)).sum(dim=1).mean()
        self.bias.fill_(-max(THRESHOLD * float(own), 0.0))

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return the weight of each word for queries, float32 [B, columns].

        states: the encoder's last hidden ones, [B, S, H]; mask: int64 [B, S].
        """
        logits = F.linear(self.map(states), self.embeddings, self.bias)
        most = logits.masked_fill(mask[..., None] == 0, -torch.inf).amax(dim=1)
        return torch.log1p(most.float().relu())

    def scores(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return the score of each document's set, float32 [B, documents]."""
        weights = F.pad(self(states, mask).T, (0, 0, 0, 1))  # the last row is no word's
        return F.embedding_bag(self.words, weights, mode="sum").T

    def loss(self, states: Tensor, mask: Tensor, documents: Tensor) -> Tensor:
        """Return the cross-entropy over all documents of each query's, int64 [B]: float32 [B]."""
        return F.cross_entropy(self.scores(states, mask), documents, reduction="none")

    @contextmanager
    def keeping(self, documents: NDArray[np.int64]) -> Iterator[None]:
        """Have the words of these documents only in the block, in their order."""
        whole = self.words
        try:
            self.words = whole[torch.from_numpy(documents).to(whole.device)]
            yield
        finally:
            self.words = whole


def _heaviest(weights: csr_matrix, row: int, size: int) -> NDArray[np.int64]:
    """Return the columns of a row's greatest weights, of equals the first."""
    own = slice(weights.indptr[row], weights.indptr[row + 1])
    columns, values = weights.indices[own].astype(np.int64), weights.data[own]
    columns, values = columns[values > 0], values[values > 0]
    return columns[np.lexsort((columns, -values))[:size]]
