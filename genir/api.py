"""`genir.train` and `genir.evaluate`: the command line's trainings and measures, from Python."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ir_measures

from genir.arguments import as_count, as_path, as_texts, is_listable
from genir.atomic_dirs import temporary_folder
from genir.config import Recipe, load_recipe
from genir.corpus.json_lines import shorten
from genir.corpus.readers import read_qrels, read_queries
from genir.corpus.serialization import key_of, query_of
from genir.corpus.tsv import HEADER
from genir.corpus.vectors import with_vectors
from genir.corpus.writer import write_corpus
from genir.errors import InputError
from genir.evaluation.checks import require_live_judgements, require_query_vectors
from genir.evaluation.compare import RUN_DEPTH, measure_searcher
from genir.evaluation.incremental import QuerySplits
from genir.evaluation.measures import MEASURES
from genir.models.encoder_head.given_vectors import VECTORS
from genir.retriever import Retriever
from genir.training import pipeline as training
from genir.training.job import TrainingJob
from genir.types import Document, Qrel, Query, Searcher

Corpus = str | Path | Iterable[Mapping[str, Any] | Document]
"""A path that `genir train --corpus` takes, or documents: dicts, `Document`s, a `Dataset`."""
Queries = str | Path | Mapping[str, str] | Iterable[Query | Mapping[str, Any]]
"""A file, query id -> text, or queries: `Query`s, or dicts with `_id` and `text`."""
Qrels = str | Path | Mapping[str, Mapping[str, int]] | Iterable[Any]
"""A BEIR or TREC file, query id -> document id -> grade, or `Qrel`s (genir's or ir_measures')."""


def train(
    corpus: Corpus,
    recipe: str | Path | Recipe = "default",
    *,
    out: str | Path,
    queries: Queries | None = None,
    qrels: Qrels | None = None,
    settings: str | Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    base_url: str = "",
    vectors: str | Path | None = None,
    query_vectors: str | Path | None = None,
) -> Retriever:
    """Train a recipe on documents; return the retriever, saved as a model folder.

    Args:
        corpus: A corpus folder, a .jsonl or .tsv file or a folder of pages; or documents: dicts
            with `_id` and `text` as in corpus.jsonl, `Document` records, a `datasets.Dataset`.
        recipe: Name of a recipe, path of a .toml file, or a `Recipe`.
        out: The model folder to write.
        queries: Train queries: a file, `{query id: text}`, or `Query` records. By default from
            the corpus folder, if it has any. `queries` and `qrels` go together.
        qrels: Which documents answer them: a file, `{query id: {document id: grade}}`, or `Qrel`
            records. Only grades above 0 are trained on.
        settings: Changes to the recipe, for example `["training.epochs=1"]`.
        resume: Continue an interrupted training of the same inputs.
        overwrite: Replace a model folder at `out`.
        base_url: Prefix of the URLs of a folder of pages.
        vectors: File of document vectors by any model (`write_vectors`). Unless the settings name
            an encoder, queries then need vectors, too: `Retriever.search(queries, vectors=...)`.
        query_vectors: File of the train queries' vectors.

    Returns:
        The trained retriever, on CUDA where there is a GPU.

    Raises:
        InputError: A bad document, query, judgement, recipe or setting; an existing `out` without
            `overwrite`; with `resume`, an input that has changed.
        Stopped: A signal (Ctrl-C) ended the training; `resume=True` continues it.

    Examples:
        >>> from genir import train
        >>> documents = [
        ...     {"_id": "copy", "text": "Copy a file to another folder."},
        ...     {"_id": "move", "text": "Rename a file, or move it elsewhere."},
        ... ]
        >>> retriever = train(documents, out="model", settings="training.max_steps=10")
        >>> retriever.search("how do I rename a file?", k=1)[0][0].key
        'move'
    """
    settings = as_texts(settings, "settings")
    own = {"vectors": vectors, "query_vectors": query_vectors}
    files = {key: as_path(file, key) for key, file in own.items() if file is not None}
    if isinstance(recipe, Recipe) and (settings or files):
        raise InputError(
            "settings: they and vectors change a recipe that is given by name or path; this one is "
            "a Recipe, so give them to load_recipe"
        )
    if not isinstance(recipe, Recipe):
        as_path(recipe, "recipe")
        settings += _vector_settings(str(recipe), settings, files)
    with temporary_folder() as folder:
        job = TrainingJob(
            recipe if isinstance(recipe, Recipe) else str(recipe),
            _corpus_path(corpus, folder),
            as_path(out, "out"),
            None if queries is None else _queries_path(queries, folder),
            None if qrels is None else _qrels_path(qrels, folder),
            settings,
            resume,
            overwrite,
            base_url,
        )
        return training.train(job)


@dataclass(frozen=True)
class Evaluation:
    """Measures of a searcher over judged queries.

    Attributes:
        measures: Name of each measure, for example "RR@10", and its mean over all judged queries.
        per_query: A row for each judged query: its id under "query", and each measure's value.

    Examples:
        >>> from genir import Evaluation
        >>> Evaluation({"RR@10": 0.5}, [{"query": "q1", "RR@10": 0.5}])
        Evaluation(RR@10=0.5000, queries=1)
    """

    measures: Mapping[str, float]
    per_query: Sequence[Mapping[str, Any]] = field(default_factory=list)

    def __repr__(self) -> str:
        means = (f"{name}={value:.4f}" for name, value in self.measures.items())
        return f"Evaluation({', '.join([*means, f'queries={len(self.per_query)}'])})"

    def to_frame(self) -> Any:
        """Return `per_query` as a `pandas.DataFrame`: one row per query, indexed by its id."""
        import pandas

        return pandas.DataFrame(list(self.per_query)).set_index("query")


def evaluate(
    retriever: Searcher,
    queries: Queries,
    qrels: Qrels,
    measures: Any = MEASURES,
    *,
    k: int | None = None,
    query_vectors: str | Path | None = None,
) -> Evaluation:
    """Search for judged queries and measure the hits.

    A judged query without hits has the value 0; queries without judgements are left out, and so
    are judgements of deleted documents.

    Args:
        retriever: A `Retriever`, or anything else with its `search`.
        queries: The queries: a file, `{query id: text}`, or `Query` records.
        qrels: Their judgements: a file, `{query id: {document id: grade}}`, or `Qrel` records.
        measures: Measures of ir_measures or their names, such as `["RR@10", "nDCG@10"]`.
        k: Hits per query. Default: as many as the deepest measure needs, at least 100, as
            `genir evaluate` does.
        query_vectors: File of the queries' vectors, for a model trained with `vectors`.

    Returns:
        Means, and values by query.

    Raises:
        InputError: An unknown measure, a measure that needs more than `k` hits, a judged query
            without text, an unknown document, contradictory judgements, or none of a relevant
            document.

    Examples:
        >>> from genir import Retriever, evaluate
        >>> retriever = Retriever.load("model")
        >>> queries = {"q1": "how do I rename a file?"}
        >>> evaluate(retriever, queries, {"q1": {"move": 1}}, measures=["RR@10"])
        Evaluation(RR@10=1.0000, queries=1)
    """
    chosen = as_measures(measures)
    deepest = max(int(one.params.get("cutoff", 0)) for one in chosen)
    k = max(RUN_DEPTH, deepest) if k is None else as_count(k, "k")
    if k < deepest:
        raise InputError(f"k = {k}: the measures look at {deepest} hits; give at least as many")
    asked, judged = as_queries(queries), as_qrels(qrels)
    if query_vectors is None and isinstance(retriever, Retriever):
        require_query_vectors(retriever, "query_vectors")
    if query_vectors is not None:
        texts, wanted = {one.key: one for one in asked}, [one.query for one in judged]
        asked = list(with_vectors(texts, query_vectors, wanted).values())
    values = measure_searcher(retriever, asked, _live_judgements(retriever, judged), chosen, k)
    per_query = [
        {"query": query} | {name: own[query] for name, own in values.items()}
        for query in next(iter(values.values()))
    ]
    means = {}
    for one in chosen:
        total = one.aggregator()
        for value in values[str(one)].values():
            total.add(value)
        means[str(one)] = float(total.result())
    return Evaluation(means, per_query)


def _live_judgements(searcher: Searcher, qrels: Sequence[Qrel]) -> Sequence[Qrel]:
    """Return the judgements of live documents. Raises InputError as `evaluate`."""
    where = Path("qrels")
    if not isinstance(searcher, Retriever):
        require_live_judgements(qrels, qrels, 0, where)
        return qrels
    for one in qrels:
        if one.document not in searcher.table:
            raise InputError(
                f"qrels: query {one.query!r}: document {one.document!r:.60} is unknown; remove the "
                "judgement, or give the model of this collection"
            )
    parts = QuerySplits.split(searcher, qrels, None)
    require_live_judgements(qrels, parts.judged, len(parts.orphans), where)
    return parts.judged


def as_measures(given: Any) -> list[Any]:
    """Return measures of ir_measures, given as objects or names; one alone is a list of one.

    Raises:
        InputError: A name that ir_measures does not know, another type, or no measure at all.
    """
    alone = isinstance(given, str | ir_measures.measures.Measure)
    if not (alone or is_listable(given)):
        raise InputError(f"measures: got {shorten(given)}; give names such as 'nDCG@10'")
    found = []
    for one in [given] if alone else given:
        try:
            found.append(ir_measures.parse_measure(one) if isinstance(one, str) else one)
        except (NameError, ValueError, SyntaxError) as error:
            raise InputError(
                f"measures: ir_measures does not know {one!r} ({error}); write names such as "
                "'nDCG@10', 'RR@10' or 'R@100'"
            ) from None
        if not isinstance(found[-1], ir_measures.measures.Measure):
            raise InputError(f"measures: {shorten(one)} is no measure; give names or ir_measures'")
        if not ir_measures.DefaultPipeline.supports(found[-1]):
            raise InputError(
                f"measures: ir_measures needs another package for {one!s:.60}; its documentation "
                "names the provider to install"
            )
    if not found:
        raise InputError("measures: got none; give at least one, such as 'RR@10'")
    return list(dict.fromkeys(found))


def as_queries(given: Any) -> list[Query]:
    """Return queries of any form that `Queries` names. Raises InputError for a bad one."""
    if isinstance(given, str | Path):
        return list(read_queries(given).values())
    if isinstance(given, Mapping):
        given = [{"_id": key, "text": text} for key, text in given.items()]
    queries: dict[str, Query] = {}
    for number, one in enumerate(_listed(given, "queries"), 1):
        where = f"queries row {number}"
        if not isinstance(one, Query | Mapping):
            raise InputError(
                f"{where}: {shorten(one)} is no query; give Query(key, text), a dict with _id and "
                "text, or {query id: text}"
            )
        record = one if isinstance(one, Mapping) else {"_id": one.key, "text": one.text}
        query = query_of(record, where)
        if query.key in queries:
            raise InputError(f"{where}: duplicate query id {query.key!r}; give each its own")
        queries[query.key] = query
    return list(queries.values())


def as_qrels(given: Any) -> list[Qrel]:
    """Return judgements of any form that `Qrels` names. Raises InputError for a bad one."""
    if isinstance(given, str | Path):
        return read_qrels(given)
    if isinstance(given, Mapping):
        for query, grades in given.items():
            if not isinstance(grades, Mapping):
                raise InputError(
                    f"qrels {query!r}: {shorten(grades)} is not a dict; give {{document id: grade}}"
                )
        rows = ((query, *pair) for query, own in given.items() for pair in own.items())
        return [_qrel(f"qrels {query!r:.60}", query, *pair) for query, *pair in rows]
    qrels = []
    for number, one in enumerate(_listed(given, "qrels"), 1):
        where = f"qrels row {number}"
        if isinstance(one, Qrel):
            qrels.append(_qrel(where, one.query, one.document, one.grade))
        elif isinstance(one, ir_measures.Qrel):
            qrels.append(_qrel(where, one.query_id, one.doc_id, one.relevance))
        else:
            raise InputError(
                f"{where}: {shorten(one)} is no judgement; give Qrel(query, document, grade), or "
                "{query id: {document id: grade}}"
            )
    return qrels


def _qrel(where: str, query: Any, document: Any, grade: Any) -> Qrel:
    """Return a checked judgement; `measures.judgements` checks the range of the grade."""
    grade = as_count(grade, f"{where}: grade", minimum=-(2**31))
    return Qrel(key_of({"_id": query}, where), key_of({"_id": document}, where), grade)


def _listed(given: Any, name: str) -> Iterable[Any]:
    if not is_listable(given):
        raise InputError(f"{name}: got {shorten(given)}; give a file or a list")
    return given


def _vector_settings(recipe: str, settings: Sequence[str], files: Mapping[str, Path]) -> list[str]:
    """Return the changes to a recipe for files of vectors by key of `[model]`."""
    changes = [f"model.{key}={json.dumps(str(f), ensure_ascii=False)}" for key, f in files.items()]
    if files and "encoder" not in load_recipe(recipe, settings).model.options:
        changes.append(f"model.encoder={VECTORS}")
    return changes


# --- documents in memory become files, so that a training can digest them ------------------------


def _corpus_path(corpus: Corpus, folder: Path) -> Path:
    if isinstance(corpus, str | Path):
        return as_path(corpus, "corpus")
    write_corpus(folder / "documents", corpus)
    return folder / "documents"


def _queries_path(queries: Queries, folder: Path) -> Path:
    if isinstance(queries, str | Path):
        return as_path(queries, "queries")
    rows = [{"_id": query.key, "text": query.text} for query in as_queries(queries)]
    return _write_lines(folder / "queries.jsonl", map(json.dumps, rows))


def _qrels_path(qrels: Qrels, folder: Path) -> Path:
    if isinstance(qrels, str | Path):
        return as_path(qrels, "qrels")
    rows = [f"{one.query}\t{one.document}\t{one.grade}" for one in as_qrels(qrels)]
    return _write_lines(folder / "qrels.tsv", ["\t".join(HEADER), *rows])


def _write_lines(path: Path, lines: Iterable[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path
