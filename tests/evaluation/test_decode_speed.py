import json
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
import torch
from rich.console import Console
from tiny import tiny_retriever

from genir.corpus.readers import read_corpus
from genir.errors import InputError
from genir.evaluation import decode_speed
from genir.evaluation.decode_grid import Cell
from genir.evaluation.decode_speed import (
    DecodeRequest,
    ModelQueries,
    draw_codes,
    measure_grid,
    run_benchmark,
)
from genir.evaluation.decode_tables import to_tables
from genir.evaluation.decoder_systems import DecodeSetting, small_t5, url_systems
from genir.evaluation.hf_baseline import (
    HFPrefixDecoder,
    dict_children,
    marisa_children,
)
from genir.evaluation.memory_footprint import resident_bytes
from genir.retriever import Retriever

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
    assert row.same == row.as_likely == 1.0
    assert (row.identifiers, row.levels, row.symbols) == (60, 3, 3)
    assert row.speedup == pytest.approx(row.transformers_ms / row.genir_ms)
    assert row.passes >= 2
    assert 6 <= row.bytes_per_identifier < 30


def test_genir_and_transformers_find_the_same_urls(tiny_corpus):
    torch.manual_seed(0)
    corpus = list(read_corpus(tiny_corpus))
    contest = url_systems(corpus, 400, DecodeSetting(2, 2 * len(corpus)))
    ours, theirs = contest.run_genir(), contest.systems["transformers"]()
    marisa = contest.systems["marisa"]()
    assert [set(row) for row in ours] == [set(row) for row in theirs] == [set(r) for r in marisa]
    assert contest.steps(wanted=None)[-1].forward_passes < contest.trie.depth, (
        "forced runs should save passes"
    )


@pytest.fixture
def saved(tiny_encoder, tiny_corpus, tmp_path):
    """Return what gives the folder of a model of a scheme."""

    def save(scheme):
        path = tmp_path / f"{scheme}.sqlite"
        tiny_retriever(tiny_encoder, tiny_corpus, path, scheme).save(tmp_path / scheme)
        return tmp_path / scheme

    return save


def test_a_trained_model_is_asked_what_is_given(saved):
    asked = ModelQueries(saved("url"), ["copy a file", "list the directory", "erase a disk"] * 2)
    cells = [Cell(3, 6, levels=0, normalise=over) for over in ("vocabulary", "trie")]
    rows = list(measure_grid(cells, asked, turns=1))
    for row in rows:
        assert row.as_likely == 1.0 and row.speedup > 0
        assert row.identifiers > 30 and row.vocabulary < 1000
    with pytest.raises(InputError, match="6 queries are less than a batch of 8; give more"):
        next(measure_grid([replace(cells[0], batch=8)], asked, turns=1))


def test_only_a_model_that_writes_text_can_be_held_against_transformers(saved):
    asked = ModelQueries(saved("atomic"), ["copy a file"])
    with pytest.raises(InputError, match="give a model of the recipe url, title or genre"):
        next(measure_grid([Cell(1, 2, levels=0)], asked, turns=1))


def test_a_model_with_deleted_documents_has_to_be_compacted_first(saved):
    folder = saved("url")
    retriever = Retriever.load(folder)
    retriever.delete(retriever.table.keys[:1])
    cells, asked = [Cell(1, 2, levels=0)], ModelQueries(folder, ["copy a file"])
    with pytest.raises(InputError, match=r"has deleted documents.*genir compact"):
        next(measure_grid(cells, asked, turns=1))
    Retriever.load(folder).compact()
    assert next(measure_grid(cells, asked, turns=1)).as_likely == 1.0


@pytest.mark.parametrize("legal", [False, True])
def test_likelihoods_are_those_of_single_steps(legal):
    """Hand-worked: every token's softmax, over all or over those that may follow."""
    torch.manual_seed(0)
    net = small_t5(50)
    rows = [(5, 6, 1), (5, 9, 1), (7, 1)]
    children = dict_children(rows)
    ids = torch.randint(3, 50, (2, 4))
    inputs = (ids, torch.ones_like(ids))
    found = HFPrefixDecoder(net, children, 3, legal).log_p(inputs, [rows[:2], rows[2:]])
    for total, query, answers in zip(found, ids, [rows[:2], rows[2:]], strict=True):
        expected = 0.0
        for row in answers:
            for place, token in enumerate(row):
                before = torch.tensor([[0, *row[:place]]])
                with torch.inference_mode():
                    own = net(input_ids=query[None], decoder_input_ids=before).logits[0, -1]
                among = own[children(row[:place])] if legal else own
                expected += float(own[token] - among.logsumexp(0))
        assert float(total) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "m"}, "--model and --queries belong together"),
        ({"queries": "q"}, "--model and --queries belong together"),
        ({"model": "m", "queries": "q", "corpus": "c"}, "--corpus and --model: mutually exclusive"),
        ({"corpus": "c", "sizes": True}, "--quick and --sizes apply to codes only"),
        ({"model": "m", "queries": "q", "quick": True}, "--quick and --sizes apply to codes only"),
    ],
)
def test_options_that_clash_are_refused(tmp_path, options, message):
    paths = {name: v if v is True else tmp_path / v for name, v in options.items()}
    with pytest.raises(InputError, match=message):
        run_benchmark(DecodeRequest(**paths), None, None)


@pytest.mark.parametrize(("normalise", "passes"), [("trie", 2), ("vocabulary", 3)])
def test_a_cell_without_peers_times_genir_alone(normalise, passes):
    cell = Cell(2, 4, 8, 100, 5, 64, normalise=normalise, peers=False)
    (row,) = measure_grid([cell], [], turns=1)
    assert row.genir_ms > 0
    assert row.passes <= passes and row.normalise == normalise
    assert row.transformers_ms is row.marisa_ms is row.speedup is row.same is None


@pytest.mark.parametrize(
    ("share", "asked", "expected"),
    [
        (0.5, "auto", [("fp32", "fp32"), ("auto", "bf16")]),
        (2.0, "auto", [("fp32", "fp32"), ("auto", "fp32")]),
        (2.0, "bf16", [("fp32", "fp32"), ("bf16", "bf16")]),
        (0.5, "fp32", [("fp32", "fp32")]),  # not twice
    ],
)
def test_auto_is_what_is_measured_unless_a_precision_is_asked_for(
    monkeypatch, measured, capsys, share, asked, expected
):
    measured(share)
    both = [Cell(2, 4, 8, 100, 3, 16, precision=one, peers=False) for one in ("fp32", "auto")]
    monkeypatch.setattr(decode_speed, "CODES", both)
    monkeypatch.setattr(decode_speed, "MIN_TURN_S", 0.001)
    rows = run_benchmark(DecodeRequest(turns=1, device="cpu", precision=asked), None, None)
    assert [(row.precision, row.taken) for row in rows] == expected
    told = f"auto on cpu: answering {expected[-1][1]} (measured: bf16 takes {share:.2f} of"
    assert (told in capsys.readouterr().out) == (asked == "auto")


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
    run_benchmark(DecodeRequest(quick=True, turns=1), tmp_path / "rows.json", tmp_path / "rows.png")
    (row,) = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert {"batch", "beams", "identifiers", "vocabulary", "genir_ms", "transformers_ms",
            "speedup", "overhead", "bytes_per_identifier"} <= set(row)  # fmt: skip
    assert (tmp_path / "rows.png").read_bytes().startswith(b"\x89PNG")
    assert "ms a query" in capsys.readouterr().out


@pytest.mark.parametrize("device", ["gpu", *([] if torch.cuda.is_available() else ["cuda"])])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(InputError, match=f"--device '?{device}'?: .*take cpu"):
        run_benchmark(DecodeRequest(quick=True, device=device), None, None)
