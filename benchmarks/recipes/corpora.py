"""Corpus folders of the benchmark: some documents without train queries, fewer test queries."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

from benchmarks.recipes.plan import Collection
from genir.corpus.layout import find_file
from genir.corpus.readers import read_corpus, read_qrels, read_queries
from genir.corpus.writer import write_corpus
from genir.errors import InputError
from genir.types import Qrel, Query

CARD = """# {name}

{source} without the train queries of a random {unseen:.0%} of its documents ({removed} of {train}
train queries), and with {kept_test} of its {test} test queries. Both samples have seed {seed}.
"""


def write_collection(collection: Collection, data: Path, work: Path) -> Path:
    """Write the corpus folder of a collection and return its path."""
    source, folder = data / collection.source, work / "corpora" / collection.name
    if not source.is_dir():
        raise InputError(
            f"{source}: not a folder; set GENIR_DATA to the folder that contains it (the scripts "
            "in data_prep/ write it)"
        )
    queries, documents = read_queries(source), list(read_corpus(source))
    keys = [document.key for document in documents]
    train, test = (_qrels(source, split, queries, keys) for split in ("train", "test"))
    kept = drop_unseen(train, keys, collection.unseen, collection.seed)
    sampled = sample_queries(test, collection.queries, collection.seed)
    counts = [len({qrel.query for qrel in own}) for own in (train, kept, test, sampled)]
    card = CARD.format(
        **collection.model_dump(),
        train=counts[0],
        removed=counts[0] - counts[1],
        test=counts[2],
        kept_test=counts[3],
    )
    splits = {"train": kept, "test": sampled} if kept else {"test": sampled}
    write_corpus(folder, documents, queries.values(), splits, card, overwrite=True)
    return folder


def _qrels(
    source: Path, split: str, queries: Mapping[str, Query], keys: Sequence[str]
) -> list[Qrel]:
    if split == "train" and find_file(source / "qrels", ["train.tsv"]) is None:
        return []
    return read_qrels(source / "qrels" / f"{split}.tsv", queries, set(keys))


def drop_unseen(train: Sequence[Qrel], keys: Sequence[str], share: float, seed: int) -> list[Qrel]:
    """Drop the train queries of a random share of the documents, for all their documents.

    Kept for its other documents, a query would be a negative example for the unseen one.
    """
    unseen = set(Random(f"unseen {seed}").sample(sorted(keys), round(share * len(keys))))
    dropped = {qrel.query for qrel in train if qrel.document in unseen}
    return [qrel for qrel in train if qrel.query not in dropped]


def sample_queries(test: Sequence[Qrel], count: int, seed: int) -> list[Qrel]:
    """Return the judgements of `count` random queries; of all for 0."""
    queries = sorted({qrel.query for qrel in test})
    if not count or count >= len(queries):
        return list(test)
    sampled = set(Random(f"sample {seed}").sample(queries, count))
    return [qrel for qrel in test if qrel.query in sampled]


def seen_documents(corpus: Path) -> set[str]:
    """Return the keys of the documents that have a train query."""
    train = find_file(corpus / "qrels", ["train.tsv"])
    return set() if train is None else {q.document for q in read_qrels(train) if q.grade > 0}
