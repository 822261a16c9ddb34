import json
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
import torch
from rich.console import Console

from genir.corpus.folder import read_corpus
from genir.errors import InputError
from genir.evaluation import decode_speed
from genir.evaluation.contest import Setting, url_contest
from genir.evaluation.decode_speed import (
    Cell,
    Request,
    draw_codes,
    measure_grid,
    run_benchmark,
    to_tables,
)
from genir.evaluation.peer import dict_children, marisa_children
from genir.evaluation.residence import resident_bytes

SMALL = Cell(batch=3, beams=6, identifiers=60, vocabulary=100, levels=3, codes=8)


@pytest.mark.parametrize("trie", [dict_children, marisa_children])
def test_both_tries_of_the_peer_know_what_may_follow(trie):
    children = trie([(5, 6, 7), (5, 6, 8), (5, 9), (70_000, 1)])
    assert sorted(children([])) == [5, 70_000]
    assert sorted(children([5])) == [6, 9]
    assert sorted(children([5, 6])) == [7, 8]
    assert children([70_000]) == [1]
    assert children([5, 9]) == children([4]) == []


def test_genir_and_transformers_find_the_same_codes():
    (row,) = measure_grid([SMALL], [], turns=1)
    assert row.same == 1.0
    assert (row.identifiers, row.levels, row.symbols) == (60, 3, 3)
    assert row.speedup == pytest.approx(row.transformers_ms / row.genir_ms)
    assert row.passes >= 2
    assert 6 <= row.bytes_per_identifier < 30


def test_genir_and_transformers_find_the_same_urls(tiny_corpus):
    torch.manual_seed(0)
    corpus = list(read_corpus(tiny_corpus))
    contest = url_contest(corpus, 400, Setting(2, 2 * len(corpus)))
    ours, theirs = contest.genir(), contest.systems["transformers"]()
    marisa = contest.systems["marisa"]()
    assert [set(row) for row in ours] == [set(row) for row in theirs] == [set(r) for r in marisa]
    assert contest.steps(wanted=None)[-1].passes < contest.trie.depth, (
        "forced runs should save passes"
    )


@pytest.mark.parametrize(("normalise", "passes"), [("legal", 2), ("vocabulary", 3)])
def test_a_cell_without_peers_times_genir_alone(normalise, passes):
    cell = Cell(2, 4, 8, 100, 5, 64, normalise=normalise, peers=False)
    (row,) = measure_grid([cell], [], turns=1)
    assert row.genir_ms > 0
    assert row.passes <= passes and row.normalise == normalise
    assert row.transformers_ms is row.marisa_ms is row.speedup is row.same is None


def test_cells_that_differ_in_size_alone_take_turns(monkeypatch):
    sizes, asked = (8, 30), []

    def watched(run):
        asked.append(run.__self__.trie.rows)
        return len(asked)

    monkeypatch.setattr(decode_speed, "_seconds", watched)
    cells = [Cell(2, 4, size, 100, 3, 16, peers=False) for size in sizes]
    rows = list(measure_grid([*cells, replace(cells[0], beams=5)], [], turns=2))
    assert asked == [8, 30, 8, 30, 8, 8]
    assert [(row.identifiers, row.beams) for row in rows] == [(8, 4), (30, 4), (8, 5)]
    assert [row.genir_ms for row in rows] == [1000, 1500, 2750]  # of 1 and 3 s, 2 and 4, 5 and 6


def test_tables_fit_a_terminal_with_every_figure_whole():
    (made,) = measure_grid([SMALL], [], turns=1)
    large = replace(
        made, identifiers=10_000_000, batch=32, beams=100, normalise="vocabulary", genir_ms=21.08,
        transformers_ms=2294.19, marisa_ms=2568.45, overhead=-0.3643, overhead_ms=-20.44,
        step_ms=771.1, floor_ms=0.0123, bytes_per_identifier=18.06, resident_bytes=22.03,
    )  # fmt: skip
    console = Console(width=80, file=StringIO())
    console.print(to_tables([made, large]))
    shown = console.file.getvalue()
    assert "…" not in shown
    for figure in ("32x100", "10M", "vocabulary", "21.1", "2,294.2", "2,568.4", "-36.4%", "22.0"):
        assert figure in shown
    assert {len(line) for line in shown.splitlines()} <= set(range(81))


def test_resident_bytes_are_those_of_symbols_and_documents():
    rows = draw_codes(200_000, levels=4, codes=256)
    found = resident_bytes(rows)
    assert found is None or 4 * 2 + 4 <= found < 2 * (4 * 2 + 4)


def test_drawn_codes_are_distinct_sorted_and_the_same_each_time():
    rows = draw_codes(500, levels=3, codes=16)
    assert rows.shape == (500, 3)
    assert rows.min() >= 0 and rows.max() < 16
    as_tuples = [tuple(row) for row in rows.tolist()]
    assert as_tuples == sorted(set(as_tuples))
    assert np.array_equal(rows, draw_codes(500, levels=3, codes=16))


def test_the_benchmark_writes_json_and_a_chart(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("genir.evaluation.decode_speed.QUICK", (SMALL,))
    run_benchmark(Request(quick=True, turns=1), tmp_path / "rows.json", tmp_path / "rows.png")
    (row,) = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert {"batch", "beams", "identifiers", "vocabulary", "genir_ms", "transformers_ms",
            "speedup", "overhead", "bytes_per_identifier"} <= set(row)  # fmt: skip
    assert (tmp_path / "rows.png").read_bytes().startswith(b"\x89PNG")
    assert "ms a query" in capsys.readouterr().out


@pytest.mark.parametrize("device", ["gpu", *([] if torch.cuda.is_available() else ["cuda"])])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(InputError, match=f"--device '?{device}'?: .*take cpu"):
        run_benchmark(Request(quick=True, device=device), None, None)
