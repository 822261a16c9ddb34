"""The collections as rows see them: documents without train queries, fewer test queries."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

from benchmarks.contents import digest_of
from benchmarks.locks import held
from benchmarks.plan import Collection
from genir.corpus.folder import read_corpus, read_qrels, read_queries
from genir.corpus.layout import find_file
from genir.corpus.writing import write_corpus
from genir.errors import InputError
from genir.records import Document, Qrel, Query
from genir.training.fingerprints import DocumentDigest

CARD = """# {name}

{source}; of a random {unseen:.0%} of its documents all train queries are left out ({left} of
{train} are). {asked} of its {test} test queries are asked. Both were drawn by seed {seed}.
Made from contents {digest}.
"""


def build(collection: Collection, data: Path, work: Path) -> Path:
    """Write the collection's corpus folder, unless it stands already; return it."""
    source = data / collection.source
    if not source.is_dir():
        raise InputError(
            f"{source}: no such collection; set GENIR_DATA to the folder that holds it (data_prep/ "
            "has the scripts that make it)"
        )
    with held(work, f"corpus-{collection.name}"):
        return _build(collection, source, corpus_folder(collection, work))


def corpus_folder(collection: Collection, work: Path) -> Path:
    """Return where the collection's corpus folder is, or will be."""
    return work / "corpora" / collection.name


def _build(collection: Collection, source: Path, folder: Path) -> Path:
    texts, documents = read_queries(source), list(read_corpus(source))
    keys = [document.key for document in documents]
    train, test = _train(source, texts, keys), _judged(source, "test", texts, keys)
    kept = without_queries(train, keys, collection.unseen, collection.seed)
    asked = sample(test, collection.queries, collection.seed)
    counts = {
        name: len({qrel.query for qrel in own})
        for name, own in (("train", train), ("left", kept), ("test", test), ("asked", asked))
    }
    counts["left"] = counts["train"] - counts["left"]
    digest = _digest(documents, texts, (train, test))
    fields = collection.model_dump(exclude={"queries"})
    card = CARD.format(**fields, **counts, digest=digest)
    if _stands(folder, card):
        return folder
    splits = {"train": kept, "test": asked} if kept else {"test": asked}
    write_corpus(folder, documents, texts.values(), splits, card, overwrite=True)
    return folder


def _digest(
    documents: Sequence[Document], texts: Mapping[str, Query], qrels: Sequence[Sequence[Qrel]]
) -> str:
    """Return a digest of a collection's contents: the folder made of them is stale with others."""
    digest = DocumentDigest()
    for _ in digest.over(documents):
        pass
    asked = [[query.key, query.text] for query in texts.values()]
    judged = [[[q.query, q.document, q.grade] for q in own] for own in qrels]
    return digest_of([digest.value, asked, judged])


def _stands(folder: Path, card: str) -> bool:
    readme = folder / "README.md"
    return readme.is_file() and readme.read_text(encoding="utf-8") == card


def _train(source: Path, texts: Mapping[str, Query], keys: Sequence[str]) -> list[Qrel]:
    there = find_file(source / "qrels", ["train.tsv"]) is not None
    return _judged(source, "train", texts, keys) if there else []


def _judged(
    source: Path, split: str, texts: Mapping[str, Query], keys: Sequence[str]
) -> list[Qrel]:
    return read_qrels(source / "qrels" / f"{split}.tsv", texts, set(keys))


def without_queries(
    train: Sequence[Qrel], keys: Sequence[str], share: float, seed: int
) -> list[Qrel]:
    """Leave out every train query that one of a random share of all documents answers.

    Such a query goes altogether: kept for its other documents, it would speak against this one.
    """
    drawn = set(Random(f"unseen {seed}").sample(sorted(keys), round(share * len(keys))))
    gone = {qrel.query for qrel in train if qrel.document in drawn}
    return [qrel for qrel in train if qrel.query not in gone]


def sample(test: Sequence[Qrel], count: int, seed: int) -> list[Qrel]:
    """Return the judgements of `count` random queries; of all, for 0 or where there are fewer."""
    queries = sorted({qrel.query for qrel in test})
    if not count or count >= len(queries):
        return list(test)
    asked = set(Random(f"sample {seed}").sample(queries, count))
    return [qrel for qrel in test if qrel.query in asked]


def seen_documents(corpus: Path) -> set[str]:
    """Return the keys of the documents that have a train query."""
    train = find_file(corpus / "qrels", ["train.tsv"])
    if train is None:
        return set()
    return {qrel.document for qrel in read_qrels(train) if qrel.grade > 0}
