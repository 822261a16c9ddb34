"""The results as Markdown, between two marks of a page. Same results, same text."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import store
from benchmarks.claims import Result, judge, short
from benchmarks.plan import Ablation, Collection, Plan, Run, runs
from genir.errors import InputError
from genir.evaluation.sheets import mark

BEGIN, END = "<!-- make results: begin -->", "<!-- make results: end -->"
GENIR = "genir"
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

Line = tuple[str, Mapping[str, Mapping[str, float]], Sequence[str]]
"""A system, its figures by kind of query, and the cells that follow them."""


def rewrite(plan: Plan, results: Path, page: Path) -> None:
    """Write the tables between the marks of a page. Raises InputError where it has none."""
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise InputError(f"{page}: the lines {BEGIN} and {END} are missing; put them back")
    made = f"{before}{BEGIN}\n{render(plan, results)}\n{END}{after}"
    if made != text:
        page.write_text(made, encoding="utf-8")


def render(plan: Plan, results: Path) -> str:
    """Return the tables of all recipes, then those of the ablations with their claims."""
    found = {run.place: store.read(results, run) for run in runs(plan)}
    parts = [
        _table(collection, _of(plan, collection, "table"), found, results)
        for collection in plan.collections
    ]
    parts += [_ablation(plan, ablation, found, results) for ablation in plan.ablations]
    parts.append(_commands(plan, found))
    return "\n\n".join(part for part in parts if part)


def _ablation(
    plan: Plan, ablation: Ablation, found: Mapping[str, Result | None], results: Path
) -> str:
    """Return a group's tables, and a line for each claim that rests on them."""
    parts, known = [f"### {ablation.title}"], {}
    for collection in plan.collections:
        own = _of(plan, collection, ablation.group)
        own = own if len(own) > 1 else []  # there is nothing to compare one with
        if ablation.shown:
            parts.append(_table(collection, own, found, results, with_baselines=False))
        known[collection.name] = {
            run.name: result for run in own if (result := found[run.place]) is not None
        }
    return "\n\n".join(part for part in [*parts, "\n".join(judge(ablation, known))] if part)


def _of(plan: Plan, collection: Collection, group: str) -> list[Run]:
    return [run for run in runs(plan) if run.collection is collection and group in run.row.groups]


def _table(
    collection: Collection,
    own: Sequence[Run],
    found: Mapping[str, Result | None],
    results: Path,
    with_baselines: bool = True,
) -> str:
    """Return one collection's table of the rows that have a result, and name the others.

    "" where the group has no row on it.
    """
    there = [(store.settled(results, run), result)
             for run in own if (result := found[run.place]) is not None]  # fmt: skip
    title = f"### {collection.name}" if with_baselines else f"On {collection.name}:"
    parts = [title] if own else []
    if there:
        first = there[0][1]
        lines = _baselines(first) if with_baselines else []
        lines += [_line(run, result) for run, result in there]
        kinds = first["systems"][GENIR]
        columns = [c for c in COLUMNS if "seen" not in c[1] or {"seen", "unseen"} <= set(kinds)]
        heads = ["system", *(head for head, _, _ in columns), "better than", "steps", "minutes"]
        rows = [_cells(line, lines, columns) for line in lines]
        parts += [f"{_caption(collection, first)} {_shares(there)}", _rows(heads, rows)]
    parts += _absent([run for run in own if found[run.place] is None], results)
    return "\n\n".join(parts)


def _caption(collection: Collection, result: Result) -> str:
    """Say what was asked of which documents; the same for every row."""
    counts = result["queries"]
    told = f"{counts['all']:,} test queries"
    if counts["unseen"] and counts["seen"]:
        told += f", {counts['seen']:,} on seen and {counts['unseen']:,} on unseen documents"
    if collection.queries:
        told += "; a random sample where the split has more, the same for all systems"
    return f"{told}."


def _shares(there: Sequence[tuple[Run, Result]]) -> str:
    """Say what the minutes are of: all rows' own, where they differ with their names."""
    names: dict[str, list[str]] = {}
    for run, result in there:
        names.setdefault(_share(result), []).append(run.name)
    if len(names) == 1:
        return f"Minutes are of {next(iter(names))}."
    return "Minutes are of " + ", of ".join(
        f"{share} ({', '.join(own)})" for share, own in names.items()
    ) + "."  # fmt: skip


def _share(result: Result) -> str:
    processor, jobs = result["processor"], result.get("jobs", 1)
    if "cores" in processor:
        return f"the processor's time ({processor})"
    return f"an {processor}" + (f" that {jobs} rows share" if jobs > 1 else "")


def _absent(absent: Sequence[Run], results: Path) -> list[str]:
    """Return a line that names the rows without a result, where there are any."""
    told = []
    for run in absent:
        reason = store.failure(results, run) if run.has_recipe else "no such recipe yet"
        told.append(f"{run.name} ({reason})" if reason else run.name)
    return [f"**Not measured**: {', '.join(told)}."] if told else []


def _baselines(result: Result) -> list[Line]:
    """Return the baselines' lines: of any result, since all were asked the same."""
    systems = result["systems"]
    return [(name, systems[name], ("", "", "")) for name in systems if name != GENIR]


def _line(run: Run, result: Result) -> Line:
    name = run.name
    if run.has_recipe and result["digest"] != run.digest:
        name += " (of an earlier plan)"
    marks = {pair.partition(">")[2]: mark(p).strip() for pair, p in result["p_values"].items()}
    better = " ".join(f"{other}{sign}" for other, sign in marks.items() if sign)
    return name, result["systems"][GENIR], (better or "-", _steps(result), _minutes(result))


def _steps(result: Result) -> str:
    """Return the steps of every training, the row's own last."""
    counts = [
        f"{part['first']:,} + {part['steps']:,}" if "first" in part else f"{part['steps']:,}"
        for part in result["trained"]
    ]
    return " + ".join(counts)


def _minutes(result: Result) -> str:
    seconds = sum(part["seconds"]["training"] for part in result["trained"])
    given = f"steps of {result['like']}" if "like" in result else f"{result['minutes']:g}"
    return f"{seconds / 60:.1f} ({given})"


def _cells(line: Line, lines: Sequence[Line], columns: Sequence[tuple[str, str, str]]) -> list[str]:
    name, figures, rest = line
    cells = [name]
    for _, kind, measure in columns:
        best = max(own[kind][measure] for _, own, _ in lines)
        text = short(figures[kind][measure])
        cells.append(f"**{text}**" if text == short(best) else text)
    return [*cells, *rest]


def _rows(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _commands(plan: Plan, found: Mapping[str, Any]) -> str:
    """Return the commands of every row that has a result, in a block that is folded away."""
    lines: list[str] = []
    for run in runs(plan):
        result = found[run.place]
        if result is not None:
            lines.append(f"# {run.place}, commit {result['commit']}, {result['processor']}")
            lines += result["commands"]
    if not lines:
        return ""
    block = "```bash\n" + "\n".join(lines) + "\n```"
    return f"<details><summary>The commands of each row</summary>\n\n{block}\n\n</details>"
