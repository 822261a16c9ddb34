"""Tables of a comparison as text cells, rendered as rich tables and Markdown."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from rich import box
from rich.console import Group
from rich.table import Table

from genir.console import escape_markdown, styled
from genir.evaluation.compare import Comparison, Decoding, UpdateReport
from genir.evaluation.latency import few_queries_warning
from genir.evaluation.measures import MEASURES
from genir.plurals import counted

MAIN_MEASURE = "RR@10"


@dataclass(frozen=True, slots=True)
class Cell:
    """A formatted value; `best`: it is the best of its column."""

    text: str
    best: bool = False


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table of text; the first column names the rows."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""


def report_tables(comparison: Comparison) -> list[ReportTable]:
    """Return the tables of systems and query types; of changes and the decoder, if measured."""
    known = [_main(comparison), _kinds(comparison)]
    if comparison.life is not None:
        known.append(_changed(comparison.life, comparison.systems[0]))
    return known if comparison.decoding is None else [*known, _decoder(comparison.decoding)]


def significance_table(comparison: Comparison) -> ReportTable:
    """Return the corrected p-values: one row per pair of systems, one column per measure."""
    pairs = list(comparison.p_values[MAIN_MEASURE])
    rows = [
        [Cell(pair), *(Cell(f"{comparison.p_values[name][pair]:.2g}") for name in MEASURES)]
        for pair in pairs
    ]
    return ReportTable("Corrected p-values", ["better than", *MEASURES], rows)


def to_rich(sheet: ReportTable) -> Table:
    """Render a table for the terminal, the best value of a column in bold."""
    table = Table(title=sheet.title, caption=sheet.caption or None, box=box.SIMPLE_HEAD)
    for number, column in enumerate(sheet.columns):
        table.add_column(column, justify="right" if number else "left")
    for row in sheet.rows:
        table.add_row(*(styled((cell.text, "bold" if cell.best else "")) for cell in row))
    return table


def to_terminal(comparison: Comparison) -> Group:
    """Return the output of `genir evaluate`."""
    return Group(*(to_rich(sheet) for sheet in report_tables(comparison)))


def to_markdown(sheet: ReportTable) -> str:
    """Render a Markdown table, the best value of a column in bold."""
    lines = [f"## {escape_markdown(sheet.title)}", "", _row(map(escape_markdown, sheet.columns))]
    lines.append("| --- |" + " --: |" * (len(sheet.columns) - 1))
    lines += [
        _row(
            f"**{text}**" if cell.best else text
            for cell in row
            for text in [escape_markdown(cell.text)]
        )
        for row in sheet.rows
    ]
    return "\n".join([*lines, *(["", escape_markdown(sheet.caption)] if sheet.caption else [])])


def _row(texts: Iterable[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def _main(comparison: Comparison) -> ReportTable:
    first, *others = comparison.systems
    caption = (
        f"{counted(comparison.overall.queries, 'query', 'queries')}{_timed(comparison.timed)}."
    )
    if others:
        caption += f" {first} is better: † p < .05, ‡ p < .01 (paired t-test, Holm-corrected)"
    columns = [*map(partial(_measured, comparison), MEASURES), *_costs(comparison)]
    heads = ["system", *MEASURES, "p50 ms", "p95 ms", "bytes/doc"]
    return ReportTable("Systems", heads, _rows(comparison.systems, columns), caption)


def _timed(count: int) -> str:
    if not count:
        return ""
    note = few_queries_warning(count)
    return f", {count:,} of them timed" + (f": {note}" if note else "")


def _measured(comparison: Comparison, measure: str) -> list[Cell]:
    first, *others = comparison.systems
    values = {name: own[measure] for name, own in comparison.overall.systems.items()}
    p_values = comparison.p_values[measure]
    marks = {first: " ", **{name: mark(p_values[f"{first}>{name}"]) for name in others}}
    return _column(values, comparison.systems, "{:.3f}".format, max, marks)


def _costs(comparison: Comparison) -> list[list[Cell]]:
    p50 = {name: latency.p50 for name, latency in comparison.latency.items()}
    p95 = {name: latency.p95 for name, latency in comparison.latency.items()}
    return [
        _column(p50, comparison.systems, "{:.1f}".format, min),
        _column(p95, comparison.systems, "{:.1f}".format, min),
        _column(comparison.bytes_per_document, comparison.systems, "{:,.0f}".format, min),
    ]


def mark(p_value: float) -> str:
    """Return ‡ for p < .01, † for p < .05, else a space, so that columns stay aligned."""
    return "‡" if p_value < 0.01 else "†" if p_value < 0.05 else " "


def _kinds(comparison: Comparison) -> ReportTable:
    columns = [
        _column(
            {name: own[MAIN_MEASURE] for name, own in means.systems.items()},
            comparison.systems,
            "{:.3f}".format,
            max,
        )
        for means in comparison.kinds.values()
    ]
    heads = [f"{kind} ({means.queries:,})" for kind, means in comparison.kinds.items()]
    return ReportTable(
        f"{MAIN_MEASURE} by kind of query", ["system", *heads], _rows(comparison.systems, columns)
    )


def _changed(life: UpdateReport, first: str) -> ReportTable:
    rows = [
        [Cell(f"{name} ({own.queries:,})"),
         *(Cell(f"{own.systems[first][measure]:.3f}") for measure in MEASURES)]
        for name, own in (("old", life.old), ("added", life.added)) if own.queries
    ]  # fmt: skip
    if life.forgotten:
        gains = {measure: f"{value:+.3f}" for measure, value in life.forgotten.items()}
        cells = [Cell(gains.get(measure, "-")) for measure in MEASURES]
        rows.append([Cell(f"forgotten ({life.compared:,})"), *cells])
    caption = (
        f"{counted(life.deleted, 'document is', 'documents are')} deleted. "
        f"Hits that are deleted documents: {life.leaks:,}. "
        f"Queries left out, without a live relevant document: {life.orphans:,}. "
        f"Answers with too few hits: {life.short:,}"
    )
    heads = [f"{first}, queries of documents", *MEASURES]
    return ReportTable("A corpus that changes", heads, rows, caption)


def _decoder(decoding: Decoding) -> ReportTable:
    exact, lost = decoding.beam_against_exact, sum(decoding.pruned)
    searches = (
        (f"beam {decoding.beams}", exact.beam, exact.beam_ms, f"{lost:.1%}"),
        ("exact", exact.exact, exact.exact_ms, "-"),
    )
    rows = [
        [Cell(name), Cell(f"{found:,}"), Cell(f"{found / max(1, decoding.gold):.3f}"),
         Cell(pruned), Cell(f"{ms:.1f}")]
        for name, found, ms, pruned in searches
    ]  # fmt: skip
    caption = (
        f"{counted(decoding.gold, 'gold document')}. Exact search found {exact.missed:,} that beam "
        f"search missed, and proved {exact.proven:.1%} of its answers."
    )
    heads = ["search", f"gold in first {exact.k}", "share", "pruned", "ms/query"]
    return ReportTable("Beam against exact", heads, rows, caption)


def _column(
    values: Mapping[str, float],
    systems: Sequence[str],
    form: Callable[[float], str],
    better: Callable[[Sequence[float]], float],
    marks: Mapping[str, str] | None = None,
) -> list[Cell]:
    """Format a column; mark all values that are displayed like the best one."""
    texts = {name: form(value) for name, value in values.items()}
    best = form(better(list(values.values()))) if values else ""
    return [
        Cell(texts[name] + (marks or {}).get(name, ""), texts[name] == best)
        if name in values
        else Cell("-")
        for name in systems
    ]


def _rows(systems: Sequence[str], columns: Sequence[Sequence[Cell]]) -> list[list[Cell]]:
    return [
        [Cell(name), *(column[number] for column in columns)] for number, name in enumerate(systems)
    ]
