"""Make queries from sentences beyond the first tokens of documents, to test long documents."""

from genir.signals import guard

guard(__name__)  # the imports below take time

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Annotated, Any

import typer
from common import Out, Overwrite, run

from genir.corpus.analyzer import detect_language, stop_words
from genir.corpus.readers import read_corpus
from genir.corpus.sentence_queries import (
    collapse_whitespace,
    is_query_like,
    sentences,
    unique_sentences,
)
from genir.corpus.tokens import words
from genir.corpus.writer import check_target, write_corpus
from genir.errors import InputError
from genir.models.encoder import TextEncoder
from genir.types import Document, Qrel, Query

TOKENS = 256
"""Tokens of a document that are skipped."""
MIN_WORDS, SHARE = 6, 0.6
"""Minimum number of words of a query, and the share of a sentence's words that it keeps."""
ABOUT = """
Queries of the splits `dev` and `test` are sentences that begin after the first {tokens} tokens of
their document and occur in no other one, without stop words. A random share of {share:g} of their
words is kept in order (seed {seed}). A document has one query at most.
"""


def main(
    source: Annotated[Path, typer.Argument(help="a corpus folder")],
    out: Out,
    queries: Annotated[int, typer.Option(min=1, help="queries of each split")] = 500,
    seed: int = 0,
    overwrite: Overwrite = False,
) -> None:
    """Write a corpus folder with splits `dev` and `test` of late sentences."""
    check_target(out, overwrite)
    corpus = list(read_corpus(source))
    dropped = stop_words(detect_language(f"{one.title}. {one.text}" for one in corpus))
    rng, made = Random(seed), list[tuple[str, str]]()
    for document, late in zip(corpus, late_sentences(corpus, TOKENS), strict=True):
        asked = [query_words(sentence, dropped, rng) for sentence in late]
        asked = [text for text in asked if text]
        if asked:
            made.append((document.key, rng.choice(asked)))
    if len(made) < 2 * queries:
        raise InputError(f"only {len(made):,} documents have a late sentence; lower --queries")
    chosen = rng.sample(made, 2 * queries)
    texts = [Query(f"late{number}", text) for number, (_, text) in enumerate(chosen)]
    qrels = [Qrel(query.key, key) for query, (key, _) in zip(texts, chosen, strict=True)]
    splits = {"dev": qrels[:queries], "test": qrels[queries:]}
    about = ABOUT.format(tokens=TOKENS, share=SHARE, seed=seed)
    write_corpus(out, corpus, texts, splits, about, overwrite)


def late_sentences(corpus: Sequence[Document], tokens: int) -> list[list[str]]:
    """Return the sentences of each document that begin after its first tokens, and occur once."""
    tokenizer = TextEncoder.pretrained().tokenizer
    found = []
    for document in corpus:
        start = _end_of_tokens(tokenizer, f"{document.title}. ", document.text, tokens)
        spans = [span for span in sentences(document.text) if span[0] >= start]
        late = [collapse_whitespace(document.text[slice(*span)]) for span in spans]
        found.append([sentence for sentence in late if is_query_like(sentence)])
    texts = (collapse_whitespace(f"{one.title}\n{one.text}") for one in corpus)
    once = unique_sentences({text for own in found for text in own}, "\n".join(texts))
    return [[text for text in own if text in once] for own in found]


def _end_of_tokens(tokenizer: Any, head: str, text: str, tokens: int) -> int:
    """Return the offset in `text` at which `head + text` has its first `tokens` tokens."""
    read = tokenizer(head + text, truncation=True, max_length=tokens, return_offsets_mapping=True)
    return max(0, max(end for _, end in read["offset_mapping"]) - len(head))


def query_words(sentence: str, dropped: frozenset[str], rng: Random) -> str:
    """Return a random share of a sentence's words that are no stop words; "" if too few."""
    kept = [word.strip(".,;:!?()\"'`") for word in words(sentence)]
    kept = [word for word in kept if word and word.lower() not in dropped]
    count = max(MIN_WORDS, round(SHARE * len(kept)))
    if len(kept) <= count:
        return ""
    return " ".join(kept[place] for place in sorted(rng.sample(range(len(kept)), count)))


if __name__ == "__main__":
    run(main)
