"""Evaluation from files: load the model, fit the baselines, compare, write reports."""

import os
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from genir.baselines.bm25 import Bm25
from genir.baselines.dense import Dense
from genir.baselines.fusion import Convex, Fusion
from genir.console import print_line, print_table
from genir.corpus.query_digests import normalise_query
from genir.corpus.readers import read_qrels, read_queries
from genir.corpus.trec_runs import tag_with_digest, write_run
from genir.corpus.vectors import with_vectors
from genir.errors import InputError, did_you_mean
from genir.evaluation.checks import (
    check_depth,
    check_judgements,
    require_live_judgements,
    require_query_vectors,
)
from genir.evaluation.compare import Comparison, Options, compare
from genir.evaluation.dense_vectors import change_notes, document_vectors, vectors_file
from genir.evaluation.diagnosis import diagnose
from genir.evaluation.incremental import PreviousModel, QuerySplits, update_report
from genir.evaluation.report import REPORT_FILES, check_report, write_json, write_report
from genir.evaluation.tables import to_terminal
from genir.evaluation.unindexable import drop_unindexable
from genir.models.encoder import TextEncoder
from genir.models.encoder_head.given_vectors import GivenVectors
from genir.models.network_loading import MINILM
from genir.outputs import check_distinct, check_output, write_all
from genir.plurals import counted
from genir.retriever import Retriever
from genir.types import Document, Qrel, Query, Searcher


@dataclass(frozen=True)
class Outputs:
    """Output files of an evaluation besides the terminal."""

    run: Path | None = None
    json_file: Path | None = None
    report: Path | None = None

    def check(self, inputs: Mapping[str, Path | None]) -> None:
        """Raise InputError for an output that is not writable or is an input (option -> path)."""
        outputs = {"--run": self.run, "--json": self.json_file, "--report": self.report}
        if self.report is not None:
            outputs |= {f"--report's {name}": self.report / name for name in REPORT_FILES}
        check_distinct(outputs, inputs)
        for path in (self.run, self.json_file):
            if path is not None:
                check_output(path)
        if self.report is not None:
            check_report(self.report)

    def write(self, comparison: Comparison, title: str) -> None:
        """Write all outputs, even if one fails. Raises InputError that names the failed ones."""
        writers: dict[Path, Callable[[], object]] = {}
        if (json_file := self.json_file) is not None:
            writers[json_file] = lambda: write_json(comparison, json_file)
        if (run := self.run) is not None:
            answers = comparison.answers[GENIR]
            asked = [query for query in comparison.queries if answers.get(query.key)]
            tag = tag_with_digest(GENIR, asked)
            writers[run] = lambda: write_run(run, answers, tag)
        if (report := self.report) is not None:
            writers[report] = lambda: print_line(
                f"report: {write_report(comparison, report, title)}", stderr=True
            )
        write_all(writers)


BASELINES = ("bm25", "dense", "rrf", "convex")
"""Names of the baselines for `genir evaluate --baselines`."""
FUSIONS = ("rrf", "convex")
GENIR = "genir"
RERANKED = "genir+rerank"


def build_baselines(
    retriever: Retriever,
    names: Sequence[str],
    dev: tuple[Sequence[Query], Sequence[Qrel]] | None = None,
) -> dict[str, Searcher]:
    """Fit BM25, the dense retriever on the recipe's unchanged encoder, and their fusions.

    Args:
        dev: Queries and judgements for the weight of `convex`; None: 0.5.

    Raises:
        InputError: A name is unknown.
    """
    for name in names:
        if name not in BASELINES:
            raise InputError(
                f"--baselines: unknown baseline {name!r}{did_you_mean(name, BASELINES)}"
            )
    corpus, fitted = live_documents(retriever), dict[str, Searcher]()
    fuses = any(name in FUSIONS for name in names)
    if "bm25" in names or fuses:
        fitted["bm25"] = Bm25.fit(corpus)
    if "dense" in names or fuses:
        fitted["dense"] = _dense(retriever, corpus)
    if "rrf" in names:
        fitted["rrf"] = Fusion([fitted["bm25"], fitted["dense"]])
    if "convex" in names:
        parts = [fitted["bm25"], fitted["dense"]]
        convex = Convex(parts) if dev is None else Convex.tuned(parts, *dev)
        fitted["convex"] = convex
    return {name: fitted[name] for name in names}


def _dense(retriever: Retriever, corpus: Sequence[Document]) -> Dense:
    """Return the dense baseline, with the document vectors that the recipe names, if any."""
    encoder = _untrained_encoder(retriever).to(retriever.model.device)
    file = vectors_file(retriever)
    if file is None:
        assert isinstance(encoder, TextEncoder)
        return Dense.fit(corpus, encoder, _cache(retriever))
    try:
        vectors = document_vectors(retriever, corpus, file, encoder)
    except InputError as error:
        raise InputError(
            f"dense: {error}; or compare with words alone (--baselines bm25)"
        ) from None
    return Dense(corpus, [document.key for document in corpus], vectors, encoder)


def _untrained_encoder(retriever: Retriever) -> TextEncoder | GivenVectors:
    """Load the model's encoder as it was before training, with the same prompts and length."""
    if isinstance(own := getattr(retriever.model, "encoder", None), GivenVectors):
        return own
    options = retriever.recipe.model.options
    given = ("length", "query_prompt", "document_prompt")
    settings = {key: options[key] for key in given if key in options}
    return TextEncoder.pretrained(str(options.get("encoder", MINILM)), **settings)


def live_documents(retriever: Retriever) -> Sequence[Document]:
    """Return the live documents; baselines do not support deletions."""
    table = retriever.table
    if table.live.all():
        return retriever.documents
    return [one for one in retriever.documents if table.is_live(one.key)]


def _cache(retriever: Retriever) -> Path | None:
    """Return the path where the dense baseline caches the vectors of these documents."""
    files = retriever.index.manifest.get("files")
    if (
        not files
        or not retriever.table.live.all()
        or retriever.version != retriever.index.manifest.get("version")
    ):
        return None  # the store on disk is not complete
    root = Path(os.environ.get("XDG_CACHE_HOME", "") or Path.home() / ".cache")
    return root / "genir" / f"dense-{files['documents.sqlite']['sha256'][:16]}.safetensors"


def compare_model(
    retriever: Retriever,
    queries: Path,
    qrels: Path,
    names: Sequence[str],
    options: Options | None = None,
) -> Comparison:
    """Compare a loaded model with its baselines on a file of judged queries."""
    options = options or Options()
    if options.beams is not None:
        recipe = retriever.recipe
        decoding = recipe.decoding.model_copy(update={"beams": options.beams})
        retriever = retriever.with_recipe(recipe.model_copy(update={"decoding": decoding}))
    reranked, retriever = _with_and_without_rerank(retriever, options.rerank)
    if options.diagnose:
        retriever.decoder.traceable_strategy("--diagnose")
    texts = read_queries(queries)
    options, notes = _check_query_vectors(retriever, options)
    before = None if options.previous is None else PreviousModel(options.previous)
    known = read_qrels(qrels, texts, retriever.table)
    parts = QuerySplits.split(retriever, known, None if before is None else before.retriever)
    judged = parts.judged
    require_live_judgements(known, judged, len(parts.orphans), qrels)
    asked = [texts[key].text for key in dict.fromkeys(qrel.query for qrel in judged)]
    texts = with_vectors(texts, options.query_vectors, (qrel.query for qrel in judged))
    names, dropped = drop_unindexable(names, live_documents(retriever), asked)
    notes += [*dropped, *check_judgements(retriever, texts, judged, qrels)]
    notes += check_depth(retriever.index.live_count)
    if before is not None:
        notes += before.check(retriever, parts, texts)
    dev = None
    if options.dev is not None:
        own = {normalise_query(text) for text in asked}
        dev, dropped = _read_dev(retriever, *options.dev, own, options.query_vectors)
        notes += dropped
    baselines = build_baselines(retriever, names, dev)
    notes += change_notes(retriever, baselines)
    convex = baselines.get("convex")
    if dev is not None and isinstance(convex, Convex):
        notes.append(f"convex: {convex.weight:.1f} of bm25, chosen on dev queries.")
    systems: dict[str, Searcher] = {GENIR: retriever}
    if reranked.reranker is not None:
        systems[RERANKED] = reranked
    systems |= baselines
    counts = retriever.index.query_counts
    seen = {key for key, count in zip(retriever.table.keys, counts, strict=True) if count}
    comparison = compare(systems, list(texts.values()), judged, seen=seen, options=options)
    if reranked.reranker is not None:
        notes.append(f"{RERANKED}: {reranked.reranker.cost(reranked.recipe.rerank.top_n)}.")
    if options.diagnose:
        figures = diagnose(retriever, comparison.queries, judged)
        comparison = replace(comparison, decoding=figures)
    if parts.has_changes or before is not None:
        life = update_report(comparison, retriever, texts, parts, before)
        comparison = replace(comparison, life=life)
    return replace(comparison, notes=[*notes, *comparison.notes])


def _check_query_vectors(retriever: Retriever, options: Options) -> tuple[Options, list[str]]:
    """Return the options, without typing errors if queries have vectors, and a note on it.

    Raises:
        InputError: The model needs vectors of queries, and there are none.
    """
    if options.query_vectors is None:
        require_query_vectors(retriever, "--query-vectors")
        return options, []
    note = "typos: left out, since the vector of a query has no typing errors."
    return replace(options, typos=False), [note] if options.typos else []


def _with_and_without_rerank(retriever: Retriever, name: str | None) -> tuple[Retriever, Retriever]:
    """Return the model with a re-ranker, None for the recipe's, and without one."""
    reranked, plain = retriever.at_this_version(), retriever.at_this_version()
    reranked.set_rerank(retriever.recipe.rerank.model if name is None else name)
    plain.set_rerank("")
    return reranked, plain


def _read_dev(
    retriever: Retriever,
    queries: Path,
    qrels: Path,
    asked: Container[str],
    vectors: Path | None,
) -> tuple[tuple[Sequence[Query], Sequence[Qrel]], list[str]]:
    """Return dev queries that are not evaluated, their judgements, and notes on the others.

    Raises:
        InputError: All of them are evaluated: nothing may be chosen on test queries.
    """
    texts = read_queries(queries)
    judged = read_qrels(qrels, texts, retriever.table)
    kept = [one for one in judged if normalise_query(texts[one.query].text) not in asked]
    ours, left = ({one.query for one in some} for some in (judged, kept))
    if judged and not kept:
        raise InputError(
            f"{qrels}: all of its queries are among the evaluated ones, on which no weight may be "
            "chosen; give dev queries of their own"
        )
    shared = counted(len(ours) - len(left), "dev query is", "dev queries are")
    notes = [f"{shared} evaluated, too, and left out of dev."] if len(left) < len(ours) else []
    texts = with_vectors(texts, vectors, left)
    return ([texts[key] for key in texts if key in left], kept), notes


def evaluate(
    model: Path,
    queries: Path,
    qrels: Path,
    baselines: str,
    outputs: Outputs,
    options: Options | None = None,
) -> Comparison:
    """Run `genir evaluate`; `baselines` are comma-separated names."""
    options, names = options or Options(), baseline_names(baselines)
    inputs: dict[str, Path | None] = {"MODEL": model, "--queries": queries, "--qrels": qrels}
    inputs |= {"--previous": options.previous, "--query-vectors": options.query_vectors}
    inputs |= zip(("--dev-queries", "--dev-qrels"), options.dev or (None, None), strict=True)
    outputs.check(inputs)
    retriever = Retriever.load(model)
    comparison = compare_model(retriever, queries, qrels, names, options)
    try:
        print_table(to_terminal(comparison))
        for note in comparison.notes:
            print_line(f"note: {note}", stderr=True)
    finally:  # write files even if stdout is closed
        outputs.write(comparison, f"{retriever.recipe.name} on {qrels.stem}")
    return comparison


def baseline_names(baselines: str) -> list[str]:
    """Return the names in a comma-separated list."""
    return [name.strip() for name in baselines.split(",") if name.strip()]
