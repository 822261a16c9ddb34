"""Evaluation from files: load the model, fit the baselines, compare, write reports."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from genir.baselines.bm25 import Bm25
from genir.baselines.dense import Dense
from genir.baselines.fusion import Fusion
from genir.console import print_line, print_table
from genir.corpus.readers import read_qrels, read_queries
from genir.corpus.trec_runs import tag_with_digest, write_run
from genir.errors import InputError, did_you_mean
from genir.evaluation.checks import check_judgements
from genir.evaluation.compare import Comparison, Options, compare
from genir.evaluation.diagnosis import diagnose
from genir.evaluation.encoder_pass import EncoderPass
from genir.evaluation.incremental import PreviousModel, QuerySplits, update_report
from genir.evaluation.latency import few_queries_warning, latencies
from genir.evaluation.report import REPORT_FILES, write_json, write_report
from genir.evaluation.tables import to_terminal
from genir.evaluation.unindexable import drop_unindexable
from genir.models.encoder import MINILM, TextEncoder
from genir.outputs import check_distinct, check_folder, check_output, write_all, write_text
from genir.retriever import Retriever
from genir.types import Document, Searcher


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
            check_folder(self.report)
            for name in REPORT_FILES if self.report.is_dir() else ():
                check_output(self.report / name)

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


BASELINES = ("bm25", "dense", "rrf")
GENIR = "genir"
ENCODER = "encoder"
TITLE_WORDS = 8
"""Number of words that replace a missing title."""


def build_baselines(retriever: Retriever, names: Sequence[str]) -> dict[str, Searcher]:
    """Fit BM25, the dense retriever on the recipe's unchanged encoder, and their fusion.

    Raises InputError for an unknown name.
    """
    for name in names:
        if name not in BASELINES:
            raise InputError(
                f"--baselines: unknown baseline {name!r}{did_you_mean(name, BASELINES)}"
            )
    corpus, fitted = _live_documents(retriever), dict[str, Searcher]()
    if "bm25" in names or "rrf" in names:
        fitted["bm25"] = Bm25.fit(corpus)
    if "dense" in names or "rrf" in names:
        encoder = str(retriever.recipe.model.options.get("encoder", MINILM))
        fitted["dense"] = Dense.fit(
            corpus, TextEncoder.pretrained(encoder).to(retriever.model.device), _cache(retriever)
        )
    if "rrf" in names:
        fitted["rrf"] = Fusion([fitted["bm25"], fitted["dense"]])
    return {name: fitted[name] for name in names}


def _live_documents(retriever: Retriever) -> Sequence[Document]:
    """Return the live documents; baselines do not support deletions."""
    table = retriever.table
    if table.live.all():
        return retriever.documents
    return [one for one in retriever.documents if table.is_live(one.key)]


def _cache(retriever: Retriever) -> Path | None:
    """Return the path where the dense baseline caches the vectors of these documents."""
    files = retriever.manifest.get("files")
    if (
        not files
        or not retriever.table.live.all()
        or retriever.version != retriever.manifest.get("version")
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
    if options is not None and options.beams is not None:
        retriever = _with_beams(retriever, options.beams)
    former = None if options is None else options.previous
    if options is not None and options.diagnose:
        retriever.require_traceable_search("--diagnose")
    texts = read_queries(queries)
    before = None if former is None else PreviousModel(former)
    known = read_qrels(qrels, texts, retriever.table)
    parts = QuerySplits.split(retriever, known, None if before is None else before.retriever)
    judged = parts.judged
    asked = [texts[key].text for key in dict.fromkeys(qrel.query for qrel in judged)]
    names, notes = drop_unindexable(names, _live_documents(retriever), asked)
    notes = [*notes, *check_judgements(retriever, texts, judged, qrels)]
    if before is not None:
        notes += before.check(retriever, parts, texts)
    systems: Mapping[str, Searcher] = {GENIR: retriever, **build_baselines(retriever, names)}
    counts = retriever.query_counts
    seen = {key for key, count in zip(retriever.table.keys, counts, strict=True) if count}
    comparison = compare(systems, list(texts.values()), judged, seen=seen, options=options)
    if options is not None and options.diagnose:
        decoding = diagnose(retriever, comparison.queries, judged)
        comparison = replace(comparison, decoding=decoding)
    if parts.has_changes or before is not None:
        life = update_report(comparison, retriever, texts, parts, before)
        comparison = replace(comparison, life=life)
    return replace(comparison, notes=notes)


def _with_beams(retriever: Retriever, beams: int) -> Retriever:
    """Return a copy of the model with another beam width."""
    decoding = retriever.recipe.decoding.model_copy(update={"beams": beams})
    other = copy(retriever)
    other.recipe = retriever.recipe.model_copy(update={"decoding": decoding})
    return other


def evaluate(
    model: Path,
    queries: Path,
    qrels: Path,
    baselines: str,
    outputs: Outputs,
    options: Options | None = None,
) -> Comparison:
    """Run `genir evaluate`; `baselines` are comma-separated names."""
    names = _names(baselines)
    former = None if options is None else options.previous
    outputs.check({"MODEL": model, "--queries": queries, "--qrels": qrels, "--previous": former})
    retriever = Retriever.load(model)
    comparison = compare_model(retriever, queries, qrels, names, options)
    try:
        print_table(to_terminal(comparison))
        for note in comparison.notes:
            print_line(f"warning: {note}", stderr=True)
    finally:  # write files even if stdout is closed
        outputs.write(comparison, f"{retriever.recipe.name} on {qrels.stem}")
    return comparison


def benchmark_latency(
    model: Path, queries: Path | None, count: int, baselines: str, json_file: Path | None
) -> None:
    """Run `genir benchmark latency`: p50 and p95 in ms of each system, one query at a time.

    Without queries, titles of documents from the whole corpus are the queries.
    """
    check_distinct({"--json": json_file}, {"MODEL": model, "--queries": queries})
    retriever = Retriever.load(model)
    texts = _latency_texts(retriever, queries, count)
    systems: dict[str, Searcher] = {
        GENIR: retriever,
        ENCODER: EncoderPass(retriever.model, retriever.recipe.training.source_length),
    }
    systems |= build_baselines(retriever, _names(baselines))
    times = latencies(systems, texts)
    own = times[GENIR]
    ratio, spread = own.p50 / times[ENCODER].p50, own.p95 / own.p50
    for name, latency in times.items():
        print_line(f"{name:>7}  p50 {latency.p50:.1f} ms  p95 {latency.p95:.1f} ms")
    print_line(
        f"{GENIR}: p50 is {ratio:.2f} times that of transformers' encoder pass in fp32, "
        f"p95 {spread:.2f} times its own p50, of {len(texts):,} queries"
    )
    if note := few_queries_warning(len(texts)):
        print_line(f"warning: {note}", stderr=True)
    if json_file is not None:
        figures = {
            "latency_ms": {name: asdict(latency) for name, latency in times.items()},
            "p50_to_encoder": ratio,
            "p95_to_p50": spread,
            "queries": len(texts),
        }
        write_text(json_file, json.dumps(figures, indent=2) + "\n")


def _latency_texts(retriever: Retriever, queries: Path | None, count: int) -> list[str]:
    if queries is not None:
        texts = [query.text for query in read_queries(queries).values()]
    else:
        documents = _live_documents(retriever)
        every = max(1, len(documents) // count)
        numbers = range(0, len(documents), every)
        drawn = (documents[number] for number in numbers[:count])
        texts = [one.title or " ".join(one.text.split()[:TITLE_WORDS]) for one in drawn]
    return texts[:count]


def _names(baselines: str) -> list[str]:
    return [name.strip() for name in baselines.split(",") if name.strip()]
