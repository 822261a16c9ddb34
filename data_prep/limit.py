"""Make a collection in the manner of LIMIT (Weller et al., 2025, arXiv:2508.21038, section 5).

Every pair of some documents answers one query and no other. A single vector per document of few
dimensions cannot rank all pairs first.
"""

from genir.signals import guard

guard(__name__)  # the imports below take time

from collections.abc import Iterator, Sequence
from itertools import combinations
from random import Random
from typing import Annotated

import typer
from common import Out, Overwrite, run

from genir.corpus.analyzer import Analyzer
from genir.corpus.writer import check_target, write_corpus
from genir.errors import InputError
from genir.models.encoder import TextEncoder
from genir.types import Document, Qrel, Query

ATTRIBUTES = 50
"""Attributes of each document (LIMIT: 50)."""
FILLERS = 815
"""Attributes that no query asks for (LIMIT: 1,850 attributes in all)."""
FIRST_PIECE, LAST_PIECE = 2_500, 16_000
"""Places in the vocabulary of the encoder from which attributes are drawn: frequent words."""
FIRST_NAMES = (
    "Ada", "Ben", "Cara", "Dan", "Ella", "Finn", "Gina", "Hugo", "Iris", "Jon", "Kim", "Leo", "Mia",
    "Noah", "Olga", "Paul", "Quinn", "Rosa", "Sam", "Tina", "Uma", "Vera", "Will", "Yann", "Zoe",
)  # fmt: skip
LAST_NAMES = (
    "Abel", "Berg", "Costa", "Dietz", "Ekman", "Ford", "Gallo", "Hahn", "Ito", "Jones", "Klein",
    "Lopez", "Moore", "Nagy", "Okafor", "Price", "Quist", "Rossi", "Silva", "Tran", "Unger",
)  # fmt: skip
ABOUT = """
In the manner of LIMIT (Weller et al., 2025): {documents} documents. Every pair of {answers} of them
answers one query "who likes ...?". Each of these attributes belongs to these two documents only.
Attributes are words of MiniLM's vocabulary (seed {seed}).
"""


def main(
    out: Out,
    documents: Annotated[int, typer.Option(min=2, help="documents")] = 5_000,
    answers: Annotated[int, typer.Option(min=2, max=51, help="documents that answer queries")] = 46,
    seed: int = 0,
    overwrite: Overwrite = False,
) -> None:
    """Write a corpus folder with a split `test`."""
    check_target(out, overwrite)
    if documents < answers:
        raise InputError(f"--documents {documents}: must be at least --answers, {answers}")
    rng = Random(seed)
    pairs = list(combinations(range(answers), 2))
    words = rng.sample(list(frequent_words()), len(pairs) + FILLERS)
    asked, fillers = words[: len(pairs)], words[len(pairs) :]
    liked: list[list[str]] = [[] for _ in range(documents)]
    for word, pair in zip(asked, pairs, strict=True):
        for place in pair:
            liked[place].append(word)
    order = rng.sample(range(documents), documents)  # answers are at random places
    keys = [f"person{order[place]}" for place in range(documents)]
    corpus = [_document(keys[place], own, fillers, rng) for place, own in enumerate(liked)]
    corpus.sort(key=lambda document: int(document.key.removeprefix("person")))
    queries = [Query(f"q{number}", f"Who likes {word}?") for number, word in enumerate(asked)]
    qrels = [Qrel(query.key, keys[place])
             for query, pair in zip(queries, pairs, strict=True) for place in pair]  # fmt: skip
    about = ABOUT.format(documents=documents, answers=answers, seed=seed)
    write_corpus(out, corpus, queries, {"test": qrels}, about, overwrite)


def frequent_words() -> Iterator[str]:
    """Yield words of four letters or more from the encoder's vocabulary, one for each stem."""
    vocabulary = TextEncoder.pretrained().tokenizer.get_vocab()
    places = sorted(vocabulary, key=vocabulary.__getitem__)[FIRST_PIECE:LAST_PIECE]
    words = [word for word in places if len(word) > 3 and word.isascii() and word.isalpha()]
    seen = set[str]()
    for word, terms in zip(words, Analyzer().terms(words), strict=True):
        if terms and terms[0] not in seen:  # a stop word has no term
            seen.add(terms[0])
            yield word


def _document(key: str, own: Sequence[str], fillers: Sequence[str], rng: Random) -> Document:
    likes = [*own, *rng.sample(fillers, ATTRIBUTES - len(own))]
    rng.shuffle(likes)
    name = f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}"
    return Document(key, f"{name} likes {', '.join(likes[:-1])} and {likes[-1]}.", name)


if __name__ == "__main__":
    run(main)
