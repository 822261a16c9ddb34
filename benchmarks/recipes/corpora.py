"""Corpus folders of the benchmark: some documents without train queries, fewer test queries."""

from pathlib import Path
from random import Random

from benchmarks.recipes.plan import Collection
from genir.corpus.layout import find_file
from genir.corpus.readers import read_corpus, read_qrels, read_queries
from genir.corpus.writer import write_corpus
from genir.errors import InputError

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
    queries, documents, seed = read_queries(source), list(read_corpus(source)), collection.seed
    keys = sorted(document.key for document in documents)
    splits = {
        split: read_qrels(source / "qrels" / f"{split}.tsv", queries, set(keys))
        for split in ("train", "test")
        if split == "test" or find_file(source / "qrels", ["train.tsv"]) is not None
    }
    before = {split: {qrel.query for qrel in qrels} for split, qrels in splits.items()}
    # A query is dropped for all its documents: kept for others, it would be a negative example.
    unseen = set(Random(f"unseen {seed}").sample(keys, round(collection.unseen * len(keys))))
    train = splits.get("train", [])
    kept = before.get("train", set()) - {qrel.query for qrel in train if qrel.document in unseen}
    sampled, count = sorted(before["test"]), collection.queries
    if 0 < count < len(sampled):
        sampled = Random(f"sample {seed}").sample(sampled, count)
    after = {"train": kept, "test": set(sampled)}
    card = CARD.format(
        **collection.model_dump(),
        train=len(before.get("train", ())),
        removed=len(before.get("train", ())) - len(kept),
        test=len(before["test"]),
        kept_test=len(sampled),
    )
    splits = {
        split: [qrel for qrel in qrels if qrel.query in after[split]]
        for split, qrels in splits.items()
    }
    write_corpus(folder, documents, queries.values(), splits, card, overwrite=True)
    return folder


def seen_documents(corpus: Path) -> set[str]:
    """Return the keys of the documents that have a train query."""
    train = find_file(corpus / "qrels", ["train.tsv"])
    return set() if train is None else {q.document for q in read_qrels(train) if q.grade > 0}
