"""Term-set identifiers: the heaviest words of a document, scored for all documents in one pass.

PAG, arXiv:2404.14600, section 3. They are a prior for look-ahead and are never emitted.

score(document | query) is the sum over its words of log(1 + relu(w)), where w is the maximum logit
of the word over the query's tokens.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
import scipy  # loads scipy.sparse when it is used
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from genir.errors import InputError
from genir.models.encoder import TextEncoder
from genir.models.eval_mode import evaluating
from genir.models.tokenization import encode_texts, pad_batch

K1, B = 0.9, 0.4
INITIAL_BIAS_FACTOR = 1.35
"""Initial bias, as a multiple of a token's mean logit for its own word. Without a bias, nearly all
words have a positive weight for every query (docs/design/).
"""


class TermSetHead(nn.Module):
    """Output layer over the words that occur in any set.

    Attributes:
        words: Column of each word of a document, int32 [documents, m], padded with the number of
            columns.
        vocabulary: Token id of each column, int64 [columns].
        embeddings: Output embedding of each column, float32 [columns, H].
    """

    words: Tensor
    vocabulary: Tensor

    def __init__(self, documents: int, size: int, columns: int, width: int) -> None:
        super().__init__()
        self.register_buffer("words", torch.zeros(documents, size, dtype=torch.int32))
        self.register_buffer("vocabulary", torch.zeros(columns, dtype=torch.long))
        self.embeddings = nn.Parameter(torch.zeros(columns, width))
        self.bias = nn.Parameter(torch.zeros(columns))
        self.projection = nn.Linear(width, width)

    @classmethod
    def build(cls, weights: "scipy.sparse.csr_matrix", size: int, width: int) -> Self:
        """Build sets of the `size` heaviest words of each document, [documents, vocabulary] > 0."""
        heaviest = [_top_terms(weights, row, size) for row in range(weights.shape[0])]
        vocabulary = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *heaviest]))
        head = cls(len(heaviest), size, len(vocabulary), width)
        head.vocabulary.copy_(torch.from_numpy(vocabulary))
        head.words.fill_(len(vocabulary))
        for row, own in zip(head.words, heaviest, strict=True):
            row[: len(own)] = torch.from_numpy(np.searchsorted(vocabulary, own))
        return head

    @classmethod
    def from_weights(cls, words: Tensor, embeddings: Tensor) -> Self:
        """Create a head with the shapes of saved weights."""
        return cls(*words.shape, *embeddings.shape)

    @torch.no_grad()
    def init_embeddings(self, embeddings: Tensor) -> None:
        """Initialise output embeddings from the encoder's input embeddings, [vocabulary, H]."""
        self.embeddings.copy_(F.normalize(embeddings[self.vocabulary], dim=1))
        self.projection.weight.copy_(torch.eye(len(self.projection.weight)))
        self.projection.bias.zero_()

    @torch.no_grad()
    def calibrate_bias(self, states: Tensor, embeddings: Tensor) -> None:
        """Initialise the biases from the mean logit of tokens for their own words.

        A word with zero weight for all queries gets no gradient, so one bias does not suit every
        encoder.

        states, embeddings: [N, H], of sample tokens.
        """
        own = (self.projection(states) * F.normalize(embeddings, dim=1)).sum(dim=1).mean()
        self.bias.fill_(-max(INITIAL_BIAS_FACTOR * float(own), 0.0))

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return the weight of each word for queries, float32 [B, columns].

        states: last hidden states, [B, S, H]; mask: int64 [B, S].
        """
        logits = F.linear(self.projection(states), self.embeddings, self.bias)
        most = logits.masked_fill(mask[..., None] == 0, -torch.inf).amax(dim=1)
        return torch.log1p(most.float().relu())

    def scores(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return the score of each document's set, float32 [B, documents]."""
        weights = F.pad(self(states, mask).T, (0, 0, 0, 1))  # the last row is padding
        return F.embedding_bag(self.words, weights, mode="sum").T

    def loss(self, states: Tensor, mask: Tensor, documents: Tensor) -> Tensor:
        """Return cross-entropy over all documents, float32 [B]; documents: targets, int64 [B]."""
        return F.cross_entropy(self.scores(states, mask), documents, reduction="none")

    def keep(self, documents: Tensor) -> None:
        """Replace the sets by the sets of these documents, int64, in order."""
        self.words = self.words[documents]


def _top_terms(weights: "scipy.sparse.csr_matrix", row: int, size: int) -> NDArray[np.int64]:
    """Return the columns of the largest weights of a row; ties go to the lower column."""
    own = slice(weights.indptr[row], weights.indptr[row + 1])
    columns, values = weights.indices[own].astype(np.int64), weights.data[own]
    columns, values = columns[values > 0], values[values > 0]
    return columns[np.lexsort((columns, -values))[:size]]


def count_tokens(ids: Sequence[Sequence[int]], vocabulary: int) -> "scipy.sparse.csr_matrix":
    """Return word-piece counts, float32 [texts, vocabulary]."""
    lengths = [len(row) for row in ids]
    columns = np.fromiter((i for row in ids for i in row), dtype=np.int64, count=sum(lengths))
    rows = np.repeat(np.arange(len(ids)), lengths)
    ones = np.ones(len(columns), dtype=np.float32)
    return scipy.sparse.csr_matrix((ones, (rows, columns)), shape=(len(ids), vocabulary))


def inverse_frequency(
    bags: "scipy.sparse.csr_matrix", special: Sequence[int]
) -> NDArray[np.float32]:
    """Return BM25's idf of each word piece, 0 for special ones; bags: [documents, vocabulary]."""
    documents, frequency = bags.shape[0], bags.getnnz(axis=0)
    idf = np.log1p((documents - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
    idf[list(special)] = 0.0
    return idf


def mean_length(bags: "scipy.sparse.csr_matrix") -> float:
    """Return the mean number of word pieces of a document."""
    return float(bags.sum()) / max(bags.shape[0], 1)


def bm25_saturation(
    bags: "scipy.sparse.csr_matrix", average_length: float
) -> "scipy.sparse.csr_matrix":
    """Return BM25's saturated term frequencies, without idf, [documents, vocabulary]."""
    weights = bags.tocoo(copy=True)
    lengths = np.asarray(bags.sum(axis=1)).ravel() / average_length
    norm = K1 * (1 - B + B * lengths[weights.row])
    weights.data = weights.data * (K1 + 1) / (weights.data + norm)
    return weights.tocsr()


def bm25_weights(
    bags: "scipy.sparse.csr_matrix", special: Sequence[int]
) -> "scipy.sparse.csr_matrix":
    """Return the BM25 weight of each word piece of a document, [documents, vocabulary]."""
    idf = inverse_frequency(bags, special)
    return bm25_saturation(bags, max(mean_length(bags), 1.0)).multiply(idf).tocsr()


def require_token_states(encoder: TextEncoder, key: str, name: str) -> None:
    """Raise InputError if states are not as wide as embeddings, or missing, for `key`."""
    words, states = encoder.embeddings.shape[1], encoder.hidden_size
    if encoder.is_static or words != states:
        found = (
            "static embeddings, without token states"
            if encoder.is_static
            else f"embeddings of {words} and states of {states} dimensions, which must be equal"
        )
        raise InputError(
            f"{key}: the encoder {name!r} has {found}; set it to 0, or use another encoder"
        )


@torch.no_grad()
def token_states(encoder: TextEncoder, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return hidden states and embeddings of all non-special tokens, [tokens, H] each.

    Texts are truncated to 64 tokens: a sample suffices to choose the bias.
    """
    device = next(encoder.parameters()).device
    ids = encode_texts(encoder.tokenizer, texts, min(encoder.length, 64))
    inputs, mask = (part.to(device) for part in pad_batch(ids, encoder.tokenizer.pad_token_id))
    with evaluating(encoder):
        states = encoder.states(inputs, mask).float()
    special = torch.tensor(encoder.tokenizer.all_special_ids, device=device)
    real = ~torch.isin(inputs, special)
    return states[real], encoder.embeddings[inputs[real]]
