"""Decoding against transformers on tiny models, and the latency of single queries."""

import json
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
import torch
from rich.console import Console
from tiny import tiny_retriever

from benchmarks.decode import latency, speed
from benchmarks.decode.grid import Cell
from benchmarks.decode.hf_baseline import (
    HFPrefixDecoder,
    dict_children,
    marisa_children,
)
from benchmarks.decode.memory_footprint import resident_bytes
from benchmarks.decode.speed import (
    DecodeRequest,
    ModelQueries,
    draw_codes,
    measure_grid,
    run_benchmark,
)
from benchmarks.decode.systems import DecodeSetting, small_t5, url_systems
from benchmarks.decode.tables import to_tables
from genir.corpus.readers import read_corpus
from genir.errors import InputError
from genir.retriever import Retriever

SMALL = Cell(batch=3, beams=6, identifiers=60, vocabulary=100, levels=3, codes=8)


@pytest.mark.parametrize("trie", [dict_children, marisa_children])
def test_both_baseline_tries_return_the_children_of_a_prefix(trie):
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
    """Return a function: scheme -> model folder."""

    def save(scheme):
        path = tmp_path / f"{scheme}.sqlite"
        tiny_retriever(tiny_encoder, tiny_corpus, path, scheme).save(tmp_path / scheme)
        return tmp_path / scheme

    return save


def test_a_trained_model_answers_the_given_queries(saved):
    asked = ModelQueries(saved("url"), ["copy a file", "list the directory", "erase a disk"] * 2)
    cells = [Cell(3, 6, levels=0, normalise=over) for over in ("vocabulary", "trie")]
    rows = list(measure_grid(cells, asked, turns=1))
    for row in rows:
        assert row.as_likely == 1.0 and row.speedup > 0
        assert row.identifiers > 30 and row.vocabulary < 1000
    with pytest.raises(InputError, match="6 queries are less than a batch of 8; give more"):
        next(measure_grid([replace(cells[0], batch=8)], asked, turns=1))


def test_a_model_without_text_identifiers_is_refused(saved):
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
def test_log_p_equals_the_sum_of_single_steps(legal):
    """Hand-worked: softmax of every token, over all tokens or over the allowed ones."""
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
def test_conflicting_options_are_refused(tmp_path, options, message):
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
def test_auto_is_measured_and_a_given_precision_replaces_it(
    monkeypatch, measured, capsys, share, asked, expected
):
    measured(share)
    both = [Cell(2, 4, 8, 100, 3, 16, precision=one, peers=False) for one in ("fp32", "auto")]
    monkeypatch.setattr(speed, "CODES", both)
    monkeypatch.setattr(speed, "MIN_TURN_S", 0.001)
    rows = run_benchmark(DecodeRequest(turns=1, device="cpu", precision=asked), None, None)
    assert [(row.precision, row.taken) for row in rows] == expected
    line = f"auto on cpu: answering {expected[-1][1]} (measured: bf16 takes {share:.2f} of"
    assert (line in capsys.readouterr().out) == (asked == "auto")


def test_cells_that_differ_only_in_size_alternate(monkeypatch):
    sizes, asked = (8, 30), []

    def watched(run):
        asked.append(run.__self__.trie.rows)
        return len(asked)

    monkeypatch.setattr(speed, "_seconds", watched)
    cells = [Cell(2, 4, size, 100, 3, 16, peers=False) for size in sizes]
    rows = list(measure_grid([*cells, replace(cells[0], beams=5)], [], turns=2))
    assert asked == [8, 30, 8, 30, 8, 8]
    assert [(row.identifiers, row.beams) for row in rows] == [(8, 4), (30, 4), (8, 5)]
    assert [row.genir_ms for row in rows] == [1000, 1500, 2750]  # of 1 and 3 s, 2 and 4, 5 and 6


def test_tables_have_at_most_80_columns_and_complete_figures():
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


def test_resident_bytes_of_symbols_and_documents():
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
    monkeypatch.setattr("benchmarks.decode.speed.QUICK", (SMALL,))
    run_benchmark(DecodeRequest(quick=True, turns=1), tmp_path / "rows.json", tmp_path / "rows.png")
    (row,) = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert {"batch", "beams", "identifiers", "vocabulary", "genir_ms", "transformers_ms",
            "speedup", "overhead", "bytes_per_identifier"} <= set(row)  # fmt: skip
    assert (tmp_path / "rows.png").read_bytes().startswith(b"\x89PNG")
    assert "ms a query" in capsys.readouterr().out


@pytest.mark.parametrize("device", ["gpu", *([] if torch.cuda.is_available() else ["cuda"])])
def test_a_missing_device_is_refused(device):
    with pytest.raises(InputError, match=f"--device '?{device}'?: .*take cpu"):
        run_benchmark(DecodeRequest(quick=True, device=device), None, None)


def test_outputs_replace_neither_inputs_nor_files_of_the_model(tmp_path, tiny_corpus):
    model, queries = tmp_path / "model", tmp_path / "q.tsv"
    model.mkdir()
    (model / "manifest.json").write_text("{}")
    queries.write_text("1\ta query\n")
    for place, message in (
        (queries, r"--queries and --json are both .*q\.tsv"),
        (model / "config.json", r"config\.json is inside the model folder"),
    ):
        with pytest.raises(InputError, match=message):
            latency.main(model, queries, json_file=place)
        with pytest.raises(InputError, match=message):
            run_benchmark(DecodeRequest(model=model, queries=queries), place, None)
    with pytest.raises(InputError, match=r"CORPUS's corpus\.jsonl and --json are both"):
        run_benchmark(DecodeRequest(corpus=tiny_corpus), tiny_corpus / "corpus.jsonl", None)
    assert queries.read_text() == "1\ta query\n"


def test_latency_of_the_model_an_encoder_pass_and_baselines(
    tiny_folder, tiny_corpus, tmp_path, capsys
):
    path = tmp_path / "l.json"
    latency.main(tiny_folder("atomic"), tiny_corpus / "queries.jsonl", count=4, json_file=path)
    made = json.loads(path.read_text())
    rows = made["latency_ms"]
    assert list(rows) == ["genir", "encoder", "dense", "bm25"] and made["queries"] == 4
    assert all(0 < row["p50"] <= row["p95"] for row in rows.values())
    assert made["p50_to_encoder"] == pytest.approx(rows["genir"]["p50"] / rows["encoder"]["p50"])
    assert made["p95_to_p50"] == pytest.approx(rows["genir"]["p95"] / rows["genir"]["p50"])
    assert f"p50 is {made['p50_to_encoder']:.2f} times that of" in capsys.readouterr().out
    latency.main(tiny_folder("atomic"), count=7, baselines="", json_file=path)  # titles
    made = json.loads(path.read_text())
    assert list(made["latency_ms"]) == ["genir", "encoder"] and made["queries"] == 7
