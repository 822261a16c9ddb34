"""Measure a corpus that grows and shrinks: hold documents back, train, insert, fine-tune, delete.

Protocol (docs/guides/update.md): `model/` is trained on `reduced/`, the corpus without part of its
documents. The held-back documents are inserted into copies of it, with and without their train
queries, and the copies are then fine-tuned. The upper bound is `--full`, the recipe trained on the
whole corpus. Figures of finished steps are kept in `figures.json` and not measured again.
"""

from genir.signals import guard

guard(__name__)  # before the slow imports

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Annotated, Any

import typer

from genir.cli import guarded
from genir.console import print_json, print_line
from genir.corpus.readers import read_corpus, read_qrels, read_queries, read_train_queries
from genir.corpus.writer import write_corpus
from genir.evaluation.measures import evaluate, means
from genir.retriever import Retriever
from genir.training.incremental import RefreshRequest, refresh
from genir.training.job import TrainingJob
from genir.training.pipeline import train
from genir.types import Document, Qrel, Query

MEASURE = "RR@10"
RANDOM_QUERY_WORDS = (1, 12)
Figures = dict[str, Any]


@dataclass(frozen=True)
class SplitCorpus:
    """A corpus of which some documents are held back from training."""

    folder: Path
    documents: list[Document]
    held_back: frozenset[str]
    queries: dict[str, Query]
    test: list[Qrel]

    @classmethod
    def read(cls, folder: Path, share: float, seed: int, split: str) -> "SplitCorpus":
        """Read a corpus folder and sample the held-back share of its documents."""
        documents, queries = list(read_corpus(folder)), read_queries(folder)
        keys = sorted(document.key for document in documents)
        held_back = frozenset(Random(seed).sample(keys, round(len(keys) * share)))
        test = read_qrels(folder / f"qrels/{split}.tsv", queries, set(keys))
        return cls(folder, documents, held_back, queries, test)

    @property
    def added(self) -> list[Document]:
        """The held-back documents."""
        return [document for document in self.documents if document.key in self.held_back]

    def train_qrels(self, with_held_back: bool) -> list[Qrel]:
        """Return the train judgements, with or without judgements of held-back documents."""
        qrels = read_qrels(self.folder / "qrels/train.tsv")
        return [qrel for qrel in qrels if with_held_back or qrel.document not in self.held_back]

    def write_reduced(self, folder: Path) -> None:
        """Write the corpus without the held-back documents and their judgements."""
        documents = [one for one in self.documents if one.key not in self.held_back]
        train = self.train_qrels(with_held_back=False)
        judged = {qrel.query for qrel in train}
        queries = [query for query in self.queries.values() if query.key in judged]
        write_corpus(folder, documents, queries, {"train": train}, overwrite=True)

    @property
    def queries_on_added(self) -> set[str]:
        """Test queries that a held-back document answers."""
        return {qrel.query for qrel in self.test if qrel.document in self.held_back}

    def measure(self, retriever: Retriever) -> Figures:
        """Return RR@10 of old and of added documents; None for added ones without them."""
        keys = list(dict.fromkeys(qrel.query for qrel in self.test))
        hits = retriever.search([self.queries[key].text for key in keys], 10)
        values = evaluate(dict(zip(keys, hits, strict=True)), self.test)
        on_added = self.queries_on_added
        old, added = (
            round(means(values, [key for key in keys if (key in on_added) == kind])[MEASURE], 4)
            for kind in (False, True)
        )
        has_added = all(retriever.table.is_live(key) for key in self.held_back)
        return {"old": old, "added": added if has_added else None}


class Experiment:
    """The steps of the protocol, in one work folder."""

    def __init__(self, corpus: SplitCorpus, folder: Path) -> None:
        self.corpus, self.folder = corpus, folder
        self.path = folder / "figures.json"
        self.figures: dict[str, Figures] = {}
        if self.path.is_file():
            self.figures = json.loads(self.path.read_text(encoding="utf-8"))

    def step(self, name: str, run: Callable[[], Figures]) -> None:
        """Run a step unless it has figures."""
        if name not in self.figures:
            print_line(f"{name} ...", stderr=True)
            self.figures[name] = run()
            self.path.write_text(json.dumps(self.figures, indent=2) + "\n", encoding="utf-8")

    def copy(self, source: str, name: str) -> Path:
        """Return a fresh copy of a model folder."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        return Path(shutil.copytree(self.folder / source, self.folder / name))

    def insert(self, name: str, queries: Mapping[str, list[str]]) -> Figures:
        """Insert the held-back documents into a copy of the model."""
        retriever, documents = Retriever.load(self.copy("model", name)), self.corpus.added
        begin = time.perf_counter()
        retriever.add(documents, queries)
        milliseconds = 1000 * (time.perf_counter() - begin) / len(documents)
        return {"ms a document": round(milliseconds, 1), **self.corpus.measure(retriever)}

    def fine_tune(self, source: str, name: str, settings: Sequence[str]) -> Figures:
        """Fine-tune a copy of a model with inserted documents.

        `added` was given no queries of the inserted documents, so they are left out here too.
        """
        qrels = self.corpus.train_qrels(with_held_back=source != "added")
        path = self.folder / f"{source}-train.tsv"
        lines = [f"{qrel.query}\t{qrel.document}\t{qrel.grade}\n" for qrel in qrels]
        path.write_text("query-id\tcorpus-id\tscore\n" + "".join(lines), encoding="utf-8")
        model, queries = self.copy(source, name), self.corpus.folder / "queries.jsonl"
        request = RefreshRequest(model, queries, path, settings=settings, overwrite=True)
        result = asdict(refresh(request))
        return {"refresh": result, **self.corpus.measure(Retriever.load(model))}

    def delete(self, random_queries: int, seed: int) -> Figures:
        """Delete the held-back documents, search, and count deleted hits and short answers."""
        corpus, retriever = self.corpus, Retriever.load(self.copy("asked", "deleted"))
        retriever.delete(sorted(corpus.held_back))
        keys = dict.fromkeys(qrel.query for qrel in corpus.test)
        texts, rng = [corpus.queries[key].text for key in keys], Random(f"random queries {seed}")
        words = sorted({word for one in corpus.documents for word in one.text.split()})
        drawn = [
            " ".join(rng.choices(words, k=rng.randint(*RANDOM_QUERY_WORDS)))
            for _ in range(random_queries)
        ]
        answers = retriever.search([*texts, *drawn], 10)
        return {
            "documents": len(corpus.held_back),
            "test queries": len(texts),
            "random queries": random_queries,
            "deleted hits": sum(hit.key in corpus.held_back for hits in answers for hit in hits),
            "answers of fewer than 10": sum(len(hits) != 10 for hits in answers),
        }


def ratios(figures: Mapping[str, Figures]) -> dict[str, Figures]:
    """Return, by model, added RR@10 as a share of full training, and the loss on old documents."""
    full, before = figures["full"], figures["before"]
    return {
        name: {
            "added, of full": round(own["added"] / full["added"], 4),
            "old, lost": round(before["old"] - own["old"], 4),
        }
        for name, own in figures.items()
        if name not in ("full", "before", "deleted")
    }


def main(
    source: Annotated[Path, typer.Argument(help="corpus folder with qrels/train.tsv")],
    out: Annotated[Path, typer.Argument(help="work folder")],
    full: Annotated[Path, typer.Option(help="the recipe trained on the whole corpus")],
    recipe: Annotated[str, typer.Option(help="recipe of the reduced corpus")] = "default",
    split: Annotated[str, typer.Option(help="test judgements: qrels/SPLIT.tsv")] = "test",
    share: Annotated[float, typer.Option(help="share of documents to hold back")] = 0.1,
    seed: int = 0,
    queries: Annotated[int, typer.Option(help="random queries after deletion")] = 10_000,
    settings: Annotated[list[str] | None, typer.Option("--set", help="of fine-tuning")] = None,
) -> None:
    """Run the protocol; print the figures as JSON."""
    corpus = SplitCorpus.read(source, share, seed, split)
    steps, known = Experiment(corpus, out), settings or []
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "reduced").is_dir():
        corpus.write_reduced(out / "reduced")
    train(TrainingJob(recipe, out / "reduced", out / "model", resume=True))
    keys = {document.key for document in corpus.documents}
    texts = read_train_queries(source / "queries.jsonl", source / "qrels/train.tsv", keys)
    own = {key: texts[key] for key in sorted(corpus.held_back & texts.keys())}
    steps.step("full", lambda: corpus.measure(Retriever.load(full)))
    steps.step("before", lambda: corpus.measure(Retriever.load(out / "model")))
    steps.step("added", lambda: steps.insert("added", {}))
    steps.step("added with queries", lambda: steps.insert("asked", own))
    steps.step("refreshed with queries", lambda: steps.fine_tune("asked", "learned-asked", known))
    steps.step("deleted", lambda: steps.delete(queries, seed))
    steps.step("refreshed", lambda: steps.fine_tune("added", "learned", known))
    print_json({**steps.figures, "ratios": ratios(steps.figures)})


if __name__ == "__main__":
    guarded(lambda: typer.run(main))
