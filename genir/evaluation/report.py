"""Output of a comparison: JSON, a Markdown report with charts, and a TSV by query."""

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from genir.console import escape_markdown
from genir.errors import InputError
from genir.evaluation.chart import draw, draw_pruned
from genir.evaluation.compare import Comparison
from genir.evaluation.tables import report_tables, significance_table, to_markdown
from genir.manifest import read_json
from genir.outputs import check_folder, check_output, write_text

REPORT_FILES = ("report.md", "chart.png", "pruned.png", "queries.tsv", "evaluation.json")
BY_QUERY = ("RR@10", "nDCG@10")


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Return the JSON of `genir evaluate --json`.

    `systems`: system -> measure -> mean. `p_values`: measure -> `first>other` -> corrected p.
    `seen`, `unseen`, `typos`: {"queries", "systems"} each, with 0 and {} if not measured.
    `latency_ms`: of the first system; `latency_ms_by_system`: of all systems; {} if not timed.
    `decoding`: {"gold", "beams", "pruned", "beam_against_exact"}; absent if not diagnosed.
    `life`: {"old", "added", "deleted", "orphans", "leaks", "short", "forgotten"}; absent without
    changes of the corpus. `notes`: warnings about queries, judgements and skipped baselines; absent
    if there are none.
    """
    latency = {name: asdict(own) for name, own in comparison.latency.items()}
    found = {
        "systems": comparison.overall.systems,
        "p_values": comparison.p_values,
        "queries": comparison.overall.queries,
        "seen": asdict(comparison.seen),
        "unseen": asdict(comparison.unseen),
        "typos": asdict(comparison.typos),
        "latency_ms": latency.get(comparison.systems[0], {}),
        "latency_ms_by_system": latency,
        "bytes_per_document": comparison.bytes_per_document,
    }
    if comparison.decoding is not None:
        found["decoding"] = asdict(comparison.decoding)
    if comparison.life is not None:
        found["life"] = asdict(comparison.life)
    if comparison.notes:
        found["notes"] = list(comparison.notes)
    return found


def write_json(comparison: Comparison, path: Path) -> None:
    """Write `to_json` to a file."""
    text = json.dumps(to_json(comparison), indent=2, allow_nan=False)
    write_text(path, text + "\n")


def check_report(folder: Path) -> None:
    """Raise InputError if a folder cannot hold a report, or has files that are not a report's."""
    check_folder(folder)
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not _is_report(folder / "evaluation.json"):
        raise InputError(
            f"{folder}: is neither empty nor an earlier report of genir; give a new folder"
        )
    for name in REPORT_FILES:
        check_output(folder / name)


def _is_report(path: Path) -> bool:
    """Return whether a file is an `evaluation.json` of genir's, which a report writes first."""
    try:
        values = read_json(path)
    except InputError:
        return False
    return isinstance(values, dict) and {"systems", "p_values", "queries"} <= values.keys()


def write_report(comparison: Comparison, folder: Path, title: str) -> Path:
    """Write `report.md`, its charts, `queries.tsv` and `evaluation.json`; return `report.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(comparison, folder / "evaluation.json")
    write_queries(comparison, folder / "queries.tsv")
    draw(comparison, folder / "chart.png", title)
    if comparison.decoding is not None:
        draw_pruned(comparison.decoding, folder / "pruned.png")
    report = folder / "report.md"
    write_text(report, to_report(comparison, title))
    return report


def to_report(comparison: Comparison, title: str) -> str:
    """Return the Markdown report, which refers to `chart.png` and `pruned.png`."""
    tables = report_tables(comparison)
    if len(comparison.systems) > 1:
        tables.append(significance_table(comparison))
    notes = "\n".join(f"- {escape_markdown(note)}" for note in comparison.notes)
    parts = [f"# {escape_markdown(title)}", *([f"**Warnings**\n\n{notes}"] if notes else [])]
    parts += ["![Systems side by side](chart.png)", *map(to_markdown, tables)]
    if comparison.decoding is not None:
        parts.append("![Gold documents pruned](pruned.png)")
    parts.append("Query by query, the worst for the first system above: [queries.tsv](queries.tsv)")
    return "\n\n".join(parts) + "\n"


def write_queries(comparison: Comparison, path: Path) -> None:
    """Write each query's text, and RR@10 and nDCG@10 of each system, as TSV.

    Sorted by the first system's loss of nDCG@10 against the best other system, largest first.
    """
    heads = [f"{name} {measure}" for name in comparison.systems for measure in BY_QUERY]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, dialect="excel-tab", lineterminator="\n")
        writer.writerow(["query", "text", *heads])
        for query in sorted(comparison.queries, key=lambda query: _gain(comparison, query.key)):
            cells = [
                f"{own[measure][query.key]:.4f}"
                for own in comparison.values.values()
                for measure in BY_QUERY
            ]
            writer.writerow([query.key, query.text, *cells])


def _gain(comparison: Comparison, query: str) -> float:
    """Return the first system's nDCG@10 minus the best other system's."""
    first, *others = (own["nDCG@10"][query] for own in comparison.values.values())
    return first - max(others, default=0.0)
