import csv
import json
import re
from dataclasses import replace
from io import StringIO

import pytest
from PIL import Image
from rich.console import Console

from genir.evaluation.compare import Options, compare
from genir.evaluation.measures import MEASURES
from genir.evaluation.report import to_json, write_report
from genir.evaluation.tables import (
    mark,
    report_tables,
    to_markdown,
    to_rich,
    to_terminal,
)
from genir.types import Query


def test_json_has_the_agreed_shape(comparison):
    found = to_json(comparison)
    assert list(found["systems"]) == ["genir", "bm25"]
    assert all(list(own) == list(MEASURES) for own in found["systems"].values())
    assert set(found["p_values"]) == set(MEASURES)
    assert list(found["p_values"]["RR@10"]) == ["genir>bm25"]
    assert found["queries"] == 3
    for kind, queries in (("seen", 1), ("unseen", 2), ("typos", 3)):
        assert found[kind]["queries"] == queries
        assert list(found[kind]["systems"]["bm25"]) == list(MEASURES)
    assert set(found["latency_ms"]) == {"p50", "p95"}
    assert found["latency_ms_by_system"]["genir"] == found["latency_ms"]
    assert set(found["latency_ms_by_system"]) == {"genir", "bm25"}
    assert found["bytes_per_document"] == {"genir": 1536.0}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_json_of_the_unmeasured_is_empty(queries, qrels, canned):
    options = Options(typos=False, latency_queries=0)
    found = to_json(compare({"genir": canned({})}, queries, qrels, options=options))
    assert found["seen"] == found["typos"] == {"queries": 0, "systems": {}}
    assert found["latency_ms"] == {}


def test_best_values_are_bold_and_significance_is_marked(queries, qrels, canned):
    texts = ["first", "second", "third"]
    queries = [Query(f"{n}{one.key}", one.text) for one in queries for n in range(3)]
    qrels = [replace(one, query=f"{n}{one.query}") for one in qrels for n in range(3)]
    good = canned({"first": ["a"], "second": ["b"], "third": ["d"]}, size=9)
    bad = canned({text: ["x"] for text in texts}, size=8)
    options = Options(typos=False, latency_queries=0)
    main, kinds = report_tables(
        compare({"genir": good, "bm25": bad}, queries, qrels, options=options)
    )
    # Nine queries: p is at least .5 ** 9 = .002, of equal differences too.
    lines = to_markdown(main).splitlines()
    assert lines[4] == (
        "| genir | **1.000** | **1.000** | **1.000** | **0.871** | **0.833** | - | - | 9 |"
    )
    assert lines[5] == ("| bm25 | 0.000‡ | 0.000‡ | 0.000‡ | 0.000‡ | 0.000‡ | - | - | **8** |")
    assert kinds.columns == ["system", "all (9)"]
    console = Console(width=120, file=StringIO(), force_terminal=True, color_system="standard")
    console.print(to_rich(main))
    assert re.search(r"\x1b\[1m *0\.833 *\x1b\[0m", console.file.getvalue())


def test_marks():
    assert [mark(p) for p in (0.0, 0.0099, 0.01, 0.049, 0.05, 1.0)] == [
        "‡",
        "‡",
        "†",
        "†",
        " ",
        " ",
    ]


def test_terminal_shows_all_systems_and_kinds(comparison):
    console = Console(width=120, file=StringIO())
    console.print(to_terminal(comparison))
    text = console.file.getvalue()
    for word in ("genir", "bm25", "nDCG@10", "seen (1)", "unseen (2)", "typos (3)", "1,536"):
        assert word in text


def test_report_folder(comparison, tmp_path):
    report = write_report(comparison, tmp_path / "new" / "report", "A title | with a bar")
    text = report.read_text(encoding="utf-8")
    assert text.startswith("# A title | with a bar\n\n![Systems side by side](chart.png)")
    assert "| genir>bm25 |" in text
    folder = report.parent
    assert json.loads((folder / "evaluation.json").read_text()) == to_json(comparison)
    with Image.open(folder / "chart.png") as chart:
        assert chart.size == (1950, 720)
        colours = {colour for _, colour in chart.convert("RGB").getcolors(2**22)}
    assert {(0x25, 0x63, 0xEB), (0xF5, 0x9E, 0x0B)} <= colours


def test_chart_of_nothing_found(queries, qrels, canned, tmp_path):
    options = Options(typos=False, latency_queries=0)
    comparison = compare({"genir": canned({})}, queries, qrels, options=options)
    assert "p-values" not in write_report(comparison, tmp_path, "t").read_text()
    assert (tmp_path / "chart.png").stat().st_size > 1000


def test_queries_lost_most_come_first(queries, qrels, canned, tmp_path):
    systems = {
        "genir": canned({"first": ["a"], "second": ["b", "c"], "third": ["x"]}),
        "bm25": canned({"second": ["b", "c"], "third": ["d"]}),
    }
    write_report(
        compare(systems, queries, qrels, options=Options(latency_queries=0)), tmp_path, "t"
    )
    with (tmp_path / "queries.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, dialect="excel-tab"))
    assert [row["query"] for row in rows] == ["q3", "q2", "q1"]
    assert rows[0]["text"] == "third"
    assert float(rows[0]["bm25 RR@10"]) == pytest.approx(1)
    assert float(rows[2]["genir nDCG@10"]) == pytest.approx(1)


def test_a_title_is_text_in_every_format(comparison, tmp_path):
    title = "a $x^{$ <b>東京</b> [x](y)\n# \x1b[2J"
    report = write_report(comparison, tmp_path / "report", title)
    head = report.read_text(encoding="utf-8").splitlines()[0]
    assert head == r"# a $x^{$ \<b>東京\</b> \[x\](y) \# \\x1b\[2J"
    assert (tmp_path / "report" / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_the_main_sheet_counts_the_timed_queries(comparison):
    caption = report_tables(comparison)[0].caption
    assert f"{comparison.overall.queries} queries, 2 of them timed: p95 is close to the" in caption
    untimed = report_tables(replace(comparison, timed=0))[0].caption
    assert untimed.startswith(f"{comparison.overall.queries} queries.")
