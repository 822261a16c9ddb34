"""Markdown tables of the results, written between two marks of a page."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.provenance import TOP
from benchmarks.recipes.claims import format_share, judge
from benchmarks.recipes.plan import Ablation, Collection, Plan, Run, runs
from benchmarks.recipes.results import Result, read_result
from genir.errors import InputError
from genir.evaluation.runner import GENIR
from genir.evaluation.tables import mark

PAGE = TOP / "docs" / "results" / "recipes.md"
"""The page that has the tables."""
BEGIN, END = "<!-- make results: begin -->", "<!-- make results: end -->"
COLUMNS = (
    ("Success@1", "all", "Success@1"),
    ("Success@10", "all", "Success@10"),
    ("RR@10", "all", "RR@10"),
    ("seen: Success@10", "seen", "Success@10"),
    ("RR@10", "seen", "RR@10"),
    ("unseen: Success@10", "unseen", "Success@10"),
    ("RR@10", "unseen", "RR@10"),
    ("RR@10, misspelt", "misspelt", "RR@10"),
    ("R@100", "all", "R@100"),
)
"""Heading, kind of query, measure."""
Figures = Mapping[str, Mapping[str, float]]
"""Kind of query -> measure -> mean."""


@dataclass(frozen=True)
class Tables:
    """Renders a plan with the results by id of the run."""

    plan: Plan
    results: Mapping[str, Result | None]

    def render(self) -> str:
        """Return the tables of all recipes, the ablations with their claims, the commands."""
        parts = [self._table(collection, "table") for collection in self.plan.collections]
        parts += [self._ablation(ablation) for ablation in self.plan.ablations]
        return "\n\n".join(filter(None, [*parts, self._commands()]))

    def _runs(self, collection: Collection, group: str) -> list[Run]:
        return [
            run
            for run in runs(self.plan)
            if run.collection is collection and group in run.row.groups
        ]

    def _measured(self, selected: Sequence[Run]) -> list[tuple[Run, Result]]:
        pairs = ((run, self.results[run.id]) for run in selected)
        return [(run, result) for run, result in pairs if result is not None]

    def _ablation(self, ablation: Ablation) -> str:
        parts, by_collection = [f"### {ablation.title}"], {}
        for collection in self.plan.collections:
            selected = self._runs(collection, ablation.group)
            if len(selected) < 2:  # nothing to compare
                selected = []
            elif ablation.shown:
                parts.append(self._table(collection, ablation.group, with_baselines=False))
            measured = self._measured(selected)
            by_collection[collection.name] = {run.name: result for run, result in measured}
        return "\n\n".join(filter(None, [*parts, "\n".join(judge(ablation, by_collection))]))

    def _table(self, collection: Collection, group: str, with_baselines: bool = True) -> str:
        """Return one collection's table of a group, or "" without rows."""
        selected = self._runs(collection, group)
        if not selected:
            return ""
        parts = [f"### {collection.name}" if with_baselines else f"On {collection.name}:"]
        measured = self._measured(selected)
        if measured:
            systems = measured[0][1]["systems"]
            names = [name for name in systems if name != GENIR] if with_baselines else []
            lines = [(name, systems[name], ("", "", "")) for name in names]
            lines += [_line(run, result) for run, result in measured]
            parts += [f"{_caption(collection, measured[0][1])} {_minutes_of(measured)}"]
            parts += [_markdown(lines, _columns(systems[GENIR]))]
        missing = [run.name for run in selected if self.results[run.id] is None]
        if missing:
            parts.append(f"**Not measured**: {', '.join(missing)}.")
        return "\n\n".join(parts)

    def _commands(self) -> str:
        lines: list[str] = []
        for run, result in self._measured(runs(self.plan)):
            lines.append(f"# {run.id}, commit {result['commit']}, {result['processor']}")
            lines += result["commands"]
        if not lines:
            return ""
        block = "```bash\n" + "\n".join(lines) + "\n```"
        return f"<details><summary>The commands of each row</summary>\n\n{block}\n\n</details>"


def rewrite(plan: Plan, results: Path, page: Path) -> None:
    """Write the tables between the marks of a page. Raises InputError without the marks."""
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise InputError(f"{page}: no lines {BEGIN} and {END}; add them where the tables belong")
    found = {run.id: read_result(results, run) for run in runs(plan)}
    new = f"{before}{BEGIN}\n{Tables(plan, found).render()}\n{END}{after}"
    if new != text:
        page.write_text(new, encoding="utf-8")


def _columns(figures: Figures) -> list[tuple[str, str, str]]:
    split = {"seen", "unseen"} <= set(figures)
    return [column for column in COLUMNS if split or column[1] in ("all", "misspelt")]


def _caption(collection: Collection, result: Result) -> str:
    counts = result["queries"]
    caption = f"{counts['all']:,} test queries"
    if counts["unseen"] and counts["seen"]:
        caption += f", {counts['seen']:,} on seen and {counts['unseen']:,} on unseen documents"
    if collection.queries:
        caption += "; a random sample where the split has more, the same for all systems"
    return f"{caption}."


def _minutes_of(measured: Sequence[tuple[Run, Result]]) -> str:
    """Return a sentence about the processors; with the rows of each if there are several."""
    names: dict[str, list[str]] = {}
    for run, result in measured:
        names.setdefault(_processor(result), []).append(run.name)
    if len(names) == 1:
        return f"Minutes are of {next(iter(names))}."
    each = (f"{processor} ({', '.join(own)})" for processor, own in names.items())
    return f"Minutes are of {', of '.join(each)}."


def _processor(result: Result) -> str:
    name, rows_at_once = result["processor"], result.get("jobs", 1)
    if "cores" in name:
        return f"the processor's time ({name})"
    return f"an {name}" + (f" that {rows_at_once} rows share" if rows_at_once > 1 else "")


def _line(run: Run, result: Result) -> tuple[str, Figures, tuple[str, str, str]]:
    stale = "" if result["fingerprint"] == run.fingerprint else " (of an earlier plan)"
    marks = {pair.partition(">")[2]: mark(p).strip() for pair, p in result["p_values"].items()}
    beaten = " ".join(f"{baseline}{sign}" for baseline, sign in marks.items() if sign)
    cells = (beaten or "-", _steps(result), _minutes(result))
    return run.name + stale, result["systems"][GENIR], cells


def _steps(result: Result) -> str:
    """Return the steps of every training stage, the row's own last."""
    stages = [part[key] for part in result["trained"] for key in ("first", "steps") if key in part]
    return " + ".join(f"{steps:,}" for steps in stages)


def _minutes(result: Result) -> str:
    """Return the minutes of training; in brackets the budget of a result that had one."""
    seconds = sum(part["seconds"]["training"] for part in result["trained"])
    budget = ""
    if "like" in result:
        budget = f" (steps of {result['like']})"
    elif "minutes" in result:
        budget = f" ({result['minutes']:g})"
    return f"{seconds / 60:.1f}{budget}"


def _markdown(
    lines: Sequence[tuple[str, Figures, tuple[str, str, str]]],
    columns: Sequence[tuple[str, str, str]],
) -> str:
    """Return a table with the best figure of each column in bold."""
    heads = ["system", *(head for head, _, _ in columns), "better than", "steps", "minutes"]
    rows: list[Iterable[str]] = [heads, ["---"] * len(heads)]
    best = [max(own[kind][measure] for _, own, _ in lines) for _, kind, measure in columns]
    for name, own, cells in lines:
        shares = [format_share(own[kind][measure]) for _, kind, measure in columns]
        bold = [
            f"**{share}**" if share == format_share(highest) else share
            for share, highest in zip(shares, best, strict=True)
        ]
        rows.append([name, *bold, *cells])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
