"""Small analyses that docs/results cites; each command prints the figures of one paragraph."""

from genir.signals import guard

guard(__name__)  # before the slow imports

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import typer
from ir_measures import R
from scipy.stats import binomtest, ttest_rel
from sklearn.metrics import roc_auc_score

from genir.baselines.bm25 import Bm25
from genir.baselines.dense import Dense
from genir.cli import guarded
from genir.config import DecodingSection
from genir.console import print_line
from genir.corpus.readers import read_corpus, read_qrels, read_queries
from genir.corpus.trec_runs import read_run
from genir.evaluation.measures import evaluate, judgements, means
from genir.evaluation.significance import p_greater
from genir.models.encoder import TextEncoder
from genir.models.encoder_head.model import WORD_WEIGHTS, EncoderHeadModel
from genir.retriever import Retriever
from genir.types import Hit, Searcher

NAME = re.compile(r"\b(?:[a-z]+[A-Z]\w+|[A-Z][a-z]+[A-Z]\w+|\w+_\w+|\w+(?:\.\w+){2,})\b")
"""Names in code style: camel case, underscores, or three parts with dots."""
RECALLS = (R @ 2, R @ 10, R @ 100)
MEASURES = ("Success@1", "Success@10", "RR@10")
app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.command()
def split_qrels(qrels: Path, even: Path, odd: Path) -> None:
    """Split a qrels file by query, alternately in order of first appearance."""
    header, *lines = qrels.read_text(encoding="utf-8").splitlines(keepends=True)
    places: dict[str, int] = {}
    halves = [[header], [header]]
    for line in lines:
        halves[places.setdefault(line.split()[0], len(places)) % 2].append(line)
    for path, half in zip((even, odd), halves, strict=True):
        path.write_text("".join(half), encoding="utf-8")


@app.command()
def compare_runs(qrels: Path, run: Path, other: Path) -> None:
    """Compare two TREC runs by paired t-tests."""
    names = [path.name for path in (run, other)]
    compare(qrels, {name: read_run(path) for name, path in zip(names, (run, other), strict=True)})


@app.command()
def same_article(corpus: Path, run: Path) -> None:
    """Count the misses of a run on SQuAD whose first hit is of the right article (title)."""
    title = {document.key: document.title for document in read_corpus(corpus)}
    hits = {query: [hit.key for hit in own] for query, own in read_run(run).items()}
    gold = {qrel.query: qrel.document for qrel in read_qrels(corpus / "qrels" / "test.tsv")}
    article = {query for query in gold if title[hits[query][0]] == title[gold[query]]}
    missed = {query for query in gold if gold[query] not in hits[query][:10]}
    later = sum(gold[query] in hits[query] for query in missed)
    print_line(f"first hit of the right article: {len(article)} of {len(gold)} queries")
    print_line(
        f"not in the first ten: {len(missed)}; of these later in the run: {later}, "
        f"first hit of the right article: {len(missed & article)}"
    )


@app.command()
def tome_stages(corpus: Path, folder: Path) -> None:
    """Compare both stages of a model of the recipe `tome-taught` with each stage alone."""
    model, qrels = Retriever.load(folder), corpus / "qrels" / "test.tsv"
    queries = read_queries(corpus)
    texts = {key: queries[key].text for key in judgements(read_qrels(qrels))}

    def search(**changes: Any) -> dict[str, list[Hit]]:
        changed = model.with_recipe(model.recipe.model_copy(update=changes))
        return dict(zip(texts, changed.search(list(texts.values()), 10), strict=True))

    plain: dict[str, Any] = {"beams": 10, "softmax": "trie"}
    both = search()
    passages = search(decoding=DecodingSection(strategy="tome", **plain))
    alone = search(decoding=DecodingSection(**plain), passage_stage=None)
    compare(qrels, {"both": both, "second stage": alone, "passages": passages})


@app.command()
def exact_names(corpus: Path, folder: Path, draws: int = 5, size: int = 20) -> None:
    """Count how often names in code style that occur in one document are found first."""
    documents = list(read_corpus(corpus))
    places: dict[str, set[str]] = {}
    for document in documents:
        for name in NAME.findall(document.text):
            places.setdefault(name, set()).add(document.key)
    unique = sorted(name for name, keys in places.items() if len(keys) == 1 and 5 < len(name) < 40)
    searchers: dict[str, Searcher] = {"genir": Retriever.load(folder), "bm25": Bm25.fit(documents)}
    for draw in range(draws):
        names = Random(draw).sample(unique, size)
        found = {
            title: sum(
                bool(hits) and hits[0].key in places[name]
                for name, hits in zip(names, searcher.search(names, 1), strict=True)
            )
            for title, searcher in searchers.items()
        }
        print_line(f"draw {draw}: " + ", ".join(f"{t} {n} of {size}" for t, n in found.items()))


@app.command()
def confidence(
    folder: Path, queries: Path, qrels: Path, foreign: Path, foreign_qrels: Path, size: int = 1_000
) -> None:
    """Tell queries of a model's documents from foreign ones by the confidence in the first hit."""
    retriever, values = Retriever.load(folder), list[list[float]]()
    for file, judged in ((queries, qrels), (foreign, foreign_qrels)):
        texts = read_queries(file)
        keys = sorted(judgements(read_qrels(judged)))
        asked = [texts[key].text for key in Random(0).sample(keys, min(size, len(keys)))]
        found = zip(asked, retriever.search(asked, 1), strict=True)
        sure = [retriever.confidence(text, hits[0].key) for text, hits in found]
        values.append([one for one in sure if one is not None])
    own, other = values
    auc = roc_auc_score([1] * len(own) + [0] * len(other), own + other)
    for name, ones in (("own", own), ("foreign", other)):
        low = sum(one < 0.5 for one in ones) / len(ones)
        print_line(f"{name}: {len(ones)} queries, median {median(ones):.3f}, below .5: {low:.1%}")
    print_line(f"AUC {auc:.4f}")


@app.command()
def word_weights(folder: Path, queries: Path, qrels: Path) -> None:
    """Print RR@10 and nDCG@10 of an encoder-head model by the weight of its word scores."""
    retriever, texts = Retriever.load(folder), read_queries(queries)
    asked = {key: texts[key].text for key in judgements(read_qrels(qrels))}
    network = retriever.model
    assert isinstance(network, EncoderHeadModel)
    for weight in (0.001, *WORD_WEIGHTS):
        network.word_weight.fill_(weight)
        run = dict(zip(asked, retriever.search(list(asked.values()), 10), strict=True))
        found = means(evaluate(run, read_qrels(qrels)))
        print_line(f"{weight:g}: RR@10 {found['RR@10']:.4f}, nDCG@10 {found['nDCG@10']:.4f}")


@app.command()
def recall(corpus: Path, folders: list[Path]) -> None:
    """Print Recall@2, @10 and @100 on the test queries of BM25, MiniLM and models."""
    queries, qrels = read_queries(corpus), read_qrels(corpus / "qrels" / "test.tsv")
    asked = {key: queries[key].text for key in judgements(qrels)}
    documents = list(read_corpus(corpus))
    systems: dict[str, Any] = {"BM25": Bm25.fit(documents)}
    systems["dense"] = Dense.fit(documents, TextEncoder.pretrained())
    systems |= {str(folder): Retriever.load(folder) for folder in folders}
    for name, system in systems.items():
        run = dict(zip(asked, system.search(list(asked.values()), 100), strict=True))
        found = means(evaluate(run, qrels, measures=RECALLS))
        print_line(f"{name}: " + ", ".join(f"{one} {value:.3f}" for one, value in found.items()))


def compare(qrels: Path, runs: Mapping[str, Mapping[str, Sequence[Hit]]]) -> None:
    """Print the means of runs, and paired tests of each run against the next one."""
    values = {name: evaluate(run, read_qrels(qrels)) for name, run in runs.items()}
    for name, own in values.items():
        print_line(f"{name}: " + ", ".join(f"{one} {means(own)[one]:.3f}" for one in MEASURES))
    for name, other in pairwise(values):
        print_line(f"{name} against {other}:")
        for measure in ("RR@10", "Success@10"):
            first, second = ([*values[one][measure].values()] for one in (name, other))
            won = sum(a > b for a, b in zip(first, second, strict=True))
            lost = sum(a < b for a, b in zip(first, second, strict=True))
            sign = binomtest(won, won + lost).pvalue if won + lost else 1.0
            print_line(
                f"  {measure}: won {won}, lost {lost} (sign test p = {sign:.2g}), t-test p = "
                f"{p_greater(first, second):.2g} one-sided, {ttest_rel(first, second).pvalue:.2g} "
                "two-sided"
            )


if __name__ == "__main__":
    guarded(app)
