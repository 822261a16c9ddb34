"""A corpus that changes, measured: documents held back from training, then added, learned, deleted.

The protocol of docs/living.md. In a work folder: `reduced/` (the corpus without a share of its
documents), `added.jsonl`, `model/` (the recipe trained on the reduced corpus), copies of it with
the documents added, with and without their train queries, and refreshed. `full` is the recipe
trained on the whole corpus: what can be had. Steps that are done are not done again.
"""

from genir.signals import guard

guard(__name__)  # the imports below take time

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from genir.cli import guarded
from genir.corpus.documents import record_of
from genir.corpus.folder import read_corpus, read_qrels, read_queries, read_train_queries
from genir.corpus.writing import write_corpus
from genir.evaluation.measures import evaluate, means
from genir.records import Document, Qrel, Query
from genir.retriever import Retriever
from genir.training.job import Job, train
from genir.training.refresh import Refresh, refresh

MEASURE = "RR@10"
RANDOM_WORDS = (1, 12)
"""The fewest and most words of a random query."""


@dataclass(frozen=True)
class Corpus:
    """A corpus parted in two by keys, and its queries. train: texts by key of the document."""

    folder: Path
    documents: list[Document]
    held_back: frozenset[str]
    texts: dict[str, Query]
    train: dict[str, list[str]]
    test: list[Qrel]

    @property
    def added(self) -> list[Document]:
        """Return the documents that are held back from training."""
        return [document for document in self.documents if document.key in self.held_back]


def part(source: Path, share: float, seed: int, split: str) -> Corpus:
    """Read a corpus folder and draw the share of its documents that is held back."""
    documents, texts = list(read_corpus(source)), read_queries(source)
    keys = sorted(document.key for document in documents)
    held_back = frozenset(Random(seed).sample(keys, round(len(keys) * share)))
    train = read_train_queries(source / "queries.jsonl", source / "qrels/train.tsv", set(keys))
    test = read_qrels(source / f"qrels/{split}.tsv", texts, set(keys))
    return Corpus(source, documents, held_back, texts, train, test)


def write_reduced(corpus: Corpus, folder: Path) -> None:
    """Write the corpus without what is held back, and without the judgements of that."""
    kept = [document for document in corpus.documents if document.key not in corpus.held_back]
    train = read_qrels(corpus.folder / "qrels/train.tsv")
    judged = [qrel for qrel in train if qrel.document not in corpus.held_back]
    asked = {qrel.query for qrel in judged}
    queries = [query for query in corpus.texts.values() if query.key in asked]
    write_corpus(folder, kept, queries, {"train": judged}, overwrite=True)


# --- measuring ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """RR@10 on the queries of documents that were there before, and of those that were added."""

    old: float
    added: float | None


def judge(retriever: Retriever, corpus: Corpus) -> Judged:
    """Measure a model on the test queries; those of the added only where it has these."""
    groups = queries_of(corpus)
    there = all(retriever.table.is_live(key) for key in corpus.held_back)
    wanted = ["old", "added"] if there else ["old"]
    found: dict[str, float | None] = {"old": None, "added": None}
    for name in wanted:
        judged = groups[name]
        asked = list(dict.fromkeys(qrel.query for qrel in judged))
        hits = retriever.search([corpus.texts[key].text for key in asked], 10)
        values = evaluate(dict(zip(asked, hits, strict=True)), judged)
        found[name] = round(means(values)[MEASURE], 4)
    return Judged(**found)  # type: ignore[arg-type]


def queries_of(corpus: Corpus) -> dict[str, list[Qrel]]:
    """Part the test judgements: queries that an added document answers, and all others."""
    asks = {qrel.query for qrel in corpus.test if qrel.document in corpus.held_back}
    return {
        "old": [qrel for qrel in corpus.test if qrel.query not in asks],
        "added": [qrel for qrel in corpus.test if qrel.query in asks],
    }


def random_queries(corpus: Corpus, count: int, seed: int) -> list[str]:
    """Return texts of words drawn from the documents."""
    rng = Random(f"random queries {seed}")
    words = sorted({word for document in corpus.documents for word in document.text.split()})
    return [" ".join(rng.choices(words, k=rng.randint(*RANDOM_WORDS))) for _ in range(count)]


def delete_and_ask(bench: "Bench", corpus: Corpus, count: int, seed: int) -> dict[str, Any]:
    """Delete the held-back documents, ask all test queries and random ones, count what is wrong."""
    retriever = Retriever.load(bench.copy("asked", "deleted"))
    retriever.delete(sorted(corpus.held_back))
    tested = [corpus.texts[key].text for key in dict.fromkeys(q.query for q in corpus.test)]
    asked = [*tested, *random_queries(corpus, count, seed)]
    answers = retriever.search(asked, 10)
    deleted = sum(hit.key in corpus.held_back for hits in answers for hit in hits)
    short = sum(len(hits) != 10 for hits in answers)
    return {
        "documents": len(corpus.held_back),
        "test queries": len(tested),
        "random queries": count,
        "deleted hits": deleted,
        "answers of fewer than 10": short,
    }


# --- the steps ---------------------------------------------------------------------------------


class Bench:
    """Runs the steps in a folder; what one has found is kept in `figures.json`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "figures.json"
        self.figures: dict[str, Any] = {}
        if self.path.is_file():
            self.figures = json.loads(self.path.read_text(encoding="utf-8"))

    def step(self, name: str, run: Callable[[], Mapping[str, Any]]) -> None:
        """Run a step unless its figures are there."""
        if name not in self.figures:
            Console(stderr=True).print(f"{name} ...", highlight=False)
            self.figures[name] = dict(run())
            self.path.write_text(json.dumps(self.figures, indent=2) + "\n", encoding="utf-8")

    def copy(self, source: str, name: str) -> Path:
        """Return a fresh copy of a model of the folder."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        return Path(shutil.copytree(self.folder / source, self.folder / name))


def add(
    bench: Bench, corpus: Corpus, name: str, queries: Mapping[str, list[str]]
) -> dict[str, Any]:
    """Add what was held back to a copy of the model."""
    retriever = Retriever.load(bench.copy("model", name))
    began = time.perf_counter()
    retriever.add(corpus.added, queries)
    each = 1000 * (time.perf_counter() - began) / len(corpus.added)
    return {"ms a document": round(each, 1), **asdict(judge(retriever, corpus))}


def learn(
    bench: Bench, corpus: Corpus, names: tuple[str, str], settings: Sequence[str], adapters: int
) -> dict[str, Any]:
    """Refresh a copy of a model with additions; names: of that model and of the copy."""
    source, name = names
    train_qrels = read_qrels(corpus.folder / "qrels/train.tsv")
    if source == "added":  # nothing is known of what is asked of the added documents
        train_qrels = [qrel for qrel in train_qrels if qrel.document not in corpus.held_back]
    path = bench.folder / f"{source}-train.tsv"
    lines = [f"{qrel.query}\t{qrel.document}\t{qrel.grade}\n" for qrel in train_qrels]
    path.write_text("query-id\tcorpus-id\tscore\n" + "".join(lines), encoding="utf-8")
    folder = bench.copy(source, name)
    request = Refresh(folder, corpus.folder / "queries.jsonl", path, settings=settings,
                      adapters=adapters, overwrite=True)  # fmt: skip
    found = asdict(refresh(request))
    return {"refresh": found, **asdict(judge(Retriever.load(folder), corpus))}


def ratios(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the targets speak of: shares of the full training, and losses of the old."""
    full, before = figures["full"], figures["before"]
    rows = {}
    for name, row in figures.items():
        if name in ("full", "before", "deleted"):
            continue
        rows[name] = {
            "added, of full": round(row["added"] / full["added"], 4),
            "old, lost": round(before["old"] - row["old"], 4),
        }
    return rows


def table(figures: Mapping[str, Any]) -> Table:
    """Lay the figures out: a row a model."""
    shares = ratios(figures)
    laid = Table("model", f"old {MEASURE}", f"added {MEASURE}", "of full", "old, lost", "ms a doc.")
    for name, row in figures.items():
        if name == "deleted":
            continue
        own = shares.get(name, {})
        cells = [row["old"], row["added"], own.get("added, of full"), own.get("old, lost")]
        texts = ["-" if cell is None else f"{cell:.4f}" for cell in cells]
        laid.add_row(name, *texts, str(row.get("ms a document", "-")))
    return laid


def main(
    source: Annotated[Path, typer.Argument(help="a corpus folder with qrels/train.tsv")],
    out: Annotated[Path, typer.Argument(help="the work folder")],
    full: Annotated[Path, typer.Option(help="the recipe trained on the whole corpus")],
    recipe: Annotated[
        str, typer.Option(help="what the reduced corpus is trained with")
    ] = "default",
    split: Annotated[str, typer.Option(help="test judgements: qrels/SPLIT.tsv")] = "test",
    share: Annotated[float, typer.Option(help="of the documents, held back")] = 0.1,
    seed: int = 0,
    queries: Annotated[int, typer.Option(help="random queries after deleting")] = 10_000,
    adapters: Annotated[int, typer.Option(help="their rank, in one more refresh")] = 0,
    settings: Annotated[list[str] | None, typer.Option("--set", help="of the refreshes")] = None,
    stop_after_training: Annotated[bool, typer.Option(help="only prepare and train")] = False,
) -> None:
    """Hold documents back, train, add, refresh, delete; print figures as JSON and a table."""
    corpus, bench = part(source, share, seed, split), Bench(out)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "reduced").is_dir():
        write_reduced(corpus, out / "reduced")
        records = [json.dumps(record_of(one), ensure_ascii=False) for one in corpus.added]
        (out / "added.jsonl").write_text("\n".join(records) + "\n", encoding="utf-8")
    train(Job(recipe, out / "reduced", out / "model", resume=True))
    if stop_after_training:
        return
    own = {key: corpus.train[key] for key in sorted(corpus.held_back) if key in corpus.train}
    bench.step("full", lambda: asdict(judge(Retriever.load(full), corpus)))
    bench.step("before", lambda: asdict(judge(Retriever.load(out / "model"), corpus)))
    bench.step("added", lambda: add(bench, corpus, "added", {}))
    bench.step("added with queries", lambda: add(bench, corpus, "asked", own))
    known = settings or []
    bench.step(
        "refreshed with queries",
        lambda: learn(bench, corpus, ("asked", "learned-asked"), known, 0),
    )
    bench.step("deleted", lambda: delete_and_ask(bench, corpus, queries, seed))
    bench.step("refreshed", lambda: learn(bench, corpus, ("added", "learned"), known, 0))
    if adapters:
        bench.step(
            "refreshed with queries by adapters",
            lambda: learn(bench, corpus, ("asked", "learned-adapters"), known, adapters),
        )
    typer.echo(json.dumps({**bench.figures, "ratios": ratios(bench.figures)}, indent=2))
    Console(stderr=True).print(table(bench.figures))


if __name__ == "__main__":
    guarded(lambda: typer.run(main))
