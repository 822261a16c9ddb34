"""Confidence: the probability that a corpus answers a query, from its best hit.

Scores rank the documents of one query; they do not tell whether any document answers it. Two values
are comparable between queries: the cosine of query and document, relative to that of unrelated
documents, and the share of the query's words that the document has, weighted by rarity. A logistic
model combines them. Its coefficients are fitted on queries of three collections against queries of
the others (docs/design/0023).
"""

from math import exp
from typing import Any

import torch

from genir.corpus.analyzer import Analyzer
from genir.models.encoder_head.word_rows import MAX_QUERY_WORDS, pad_ids
from genir.models.encoder_head.word_sets import WordSets

BIAS, SIMILARITY, WORDS = -8.7, 15.4, 8.8
"""Coefficients of the logistic model."""
MAX_CHARS = 20_000
"""Characters of a document that are searched for the words of the query."""


def probability(cosine: float, unrelated: float, shared: float) -> float:
    """Return the probability that a document answers a query.

    Args:
        cosine: Cosine of query and document.
        unrelated: Mean cosine of two documents.
        shared: Share of the query's words that the document has.
    """
    similarity = max(0.0, (cosine - unrelated) / max(1 - unrelated, 1e-6))
    return 1 / (1 + exp(-(BIAS + SIMILARITY * similarity + WORDS * shared)))


def has_known_word(tokenizer: Any, text: str) -> bool:
    """Return whether a text has a word with a token of a tokenizer, or no unknown token.

    Texts of unknown tokens alone have the same vector in any language, so cosines with it mean
    nothing.
    """
    ids = tokenizer(text[:MAX_CHARS], add_special_tokens=False, verbose=False)["input_ids"]
    unknown = tokenizer.unk_token_id
    known = tokenizer.convert_ids_to_tokens([token for token in ids if token != unknown])
    return len(known) == len(ids) or any(letter.isalnum() for letter in "".join(known))


def share_of_words(analyzer: Analyzer, words: WordSets | None, query: str, text: str) -> float:
    """Return the share of the query's words that a text has, weighted by inverse frequency.

    words: document frequencies; None weights all words equally.
    """
    asked, found = analyzer.terms([query, text[:MAX_CHARS]])
    asked, known = list(dict.fromkeys(asked))[:MAX_QUERY_WORDS], set(found)
    if not asked:
        return 0.0
    weights = torch.ones(len(asked))
    if words is not None:
        ids = torch.from_numpy(pad_ids([asked], len(asked)))[0].to(words.frequencies.device)
        weights = words.idf(words.columns_of(ids)).cpu()
    matched = sum(float(w) for w, term in zip(weights, asked, strict=True) if term in known)
    return matched / float(weights.sum())
