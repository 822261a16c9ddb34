"""A whole evaluation from files: load the model, fit the baselines beside it, compare, report."""

import json
import os
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from genir.baselines.bm25 import Bm25
from genir.baselines.dense import Dense
from genir.baselines.fusion import Fusion
from genir.console import print_line, print_table
from genir.corpus.folder import read_qrels, read_queries
from genir.corpus.runs import write_run
from genir.errors import InputError, nearest
from genir.evaluation.compare import Comparison, Options, compare
from genir.evaluation.diagnosis import diagnose
from genir.evaluation.latency import latencies
from genir.evaluation.life import Former, Parts, life_of
from genir.evaluation.report import write_json, write_report
from genir.evaluation.sheets import to_terminal
from genir.models.encoder import MINILM, TextEncoder
from genir.records import Document, Searcher
from genir.retriever import Retriever


@dataclass(frozen=True)
class Outputs:
    """Where an evaluation is written beside the terminal, if anywhere."""

    run: Path | None = None
    json_file: Path | None = None
    report: Path | None = None


BASELINES = ("bm25", "dense", "rrf")
GENIR = "genir"


def fit_baselines(retriever: Retriever, names: Sequence[str]) -> dict[str, Searcher]:
    """Fit BM25, the dense retriever on the recipe's encoder as it came, and their fusion.

    Raises InputError for an unknown name.
    """
    for name in names:
        if name not in BASELINES:
            raise InputError(f"--baselines: unknown baseline {name!r}{nearest(name, BASELINES)}")
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
    """Return what can be found: a baseline knows of no deletions."""
    table = retriever.table
    if table.live.all():
        return retriever.documents
    return [one for one in retriever.documents if table.is_live(one.key)]


def _cache(retriever: Retriever) -> Path | None:
    """Return where the dense baseline keeps the vectors of these documents between evaluations."""
    files = retriever.manifest.get("files")
    if (
        not files
        or not retriever.table.live.all()
        or retriever.version != retriever.manifest.get("version")
    ):
        return None  # the store on the disk is not all there is
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
        retriever = _beaming(retriever, options.beams)
    former = None if options is None else options.former
    if options is not None and options.diagnose:
        retriever.require_one_stage("--diagnose")
    texts = read_queries(queries)
    before = None if former is None else Former(former)
    known = read_qrels(qrels, texts, retriever.table)
    parts = Parts.of(retriever, known, None if before is None else before.retriever)
    judged = parts.judged
    systems: Mapping[str, Searcher] = {GENIR: retriever, **fit_baselines(retriever, names)}
    counts = retriever.query_counts
    seen = {key for key, count in zip(retriever.table.keys, counts, strict=True) if count}
    comparison = compare(systems, list(texts.values()), judged, seen=seen, options=options)
    if options is not None and options.diagnose:
        decoding = diagnose(retriever, comparison.queries, judged)
        comparison = replace(comparison, decoding=decoding)
    if parts.changed or before is not None:
        life = life_of(comparison, retriever, texts, parts, before)
        comparison = replace(comparison, life=life)
    return comparison


def _beaming(retriever: Retriever, beams: int) -> Retriever:
    """Return the same model under another number of beams; the one given stays as it is."""
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
    """Run `genir evaluate`; `baselines` are names with commas between."""
    names = [name.strip() for name in baselines.split(",") if name.strip()]
    retriever = Retriever.load(model)
    comparison = compare_model(retriever, queries, qrels, names, options)
    print_table(to_terminal(comparison))
    if outputs.json_file is not None:
        write_json(comparison, outputs.json_file)
    if outputs.report is not None:
        path = write_report(comparison, outputs.report, f"{retriever.recipe.name} on {qrels.stem}")
        print_line(f"report: {path}", stderr=True)
    if outputs.run is not None:  # last: it refuses keys that the format cannot hold
        write_run(outputs.run, comparison.answers[GENIR], GENIR)
    return comparison


def benchmark_latency(model: Path, queries: Path, count: int, json_file: Path | None) -> None:
    """Run `genir benchmark latency`: p50 and p95 in ms of each system, one query at a time."""
    retriever = Retriever.load(model)
    systems: dict[str, Searcher] = {GENIR: retriever}
    systems |= fit_baselines(retriever, ["dense", "bm25"])
    texts = [query.text for query in read_queries(queries).values()]
    times = latencies(systems, texts[:count])
    rows = {name: asdict(latency) for name, latency in times.items()}
    for name, row in rows.items():
        print_line(f"{name:>6}  p50 {row['p50']:.1f} ms  p95 {row['p95']:.1f} ms")
    if json_file is not None:
        json_file.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
