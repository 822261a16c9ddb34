import json
from dataclasses import replace

import pytest
from PIL import Image
from tiny import SCHEMES, tiny_retriever

from genir.corpus.readers import read_qrels, read_queries
from genir.evaluation.compare import Decoding, ExactComparison, Options
from genir.evaluation.diagnosis import diagnose
from genir.evaluation.explain import explain
from genir.evaluation.report import to_json, write_report
from genir.evaluation.runner import compare_model
from genir.evaluation.tables import report_tables, to_markdown
from genir.types import Qrel

K = 5


@pytest.fixture(scope="module", params=SCHEMES)
def retriever(request, tiny_encoder, tiny_corpus, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "documents.sqlite"
    return tiny_retriever(tiny_encoder, tiny_corpus, path, request.param)


@pytest.fixture(scope="module")
def judged(tiny_corpus, retriever):
    texts = read_queries(tiny_corpus / "queries.jsonl")
    qrels = read_qrels(tiny_corpus / "qrels" / "test.tsv", texts, retriever.table)
    return [texts[qrel.query] for qrel in qrels], qrels


def test_the_diagnosis_sums_the_explanations(retriever, judged):
    queries, qrels = judged
    found = diagnose(retriever, queries, qrels, K)
    every = [explain(retriever, q.text, qrel.document, K) for q, qrel in zip(*judged, strict=True)]
    assert found.gold == len(qrels) and found.beams == K
    for level, share in enumerate(found.pruned, start=1):
        assert share == sum(one.pruned_at == level for one in every) / len(every)
    assert sum(found.pruned) == pytest.approx(
        sum(o.verdict == "pruned" for o in every) / len(every)
    )


def test_beam_is_held_against_exact(retriever, judged):
    queries, qrels = judged
    found = diagnose(retriever, queries, qrels, K).beam_against_exact
    gold = [qrel.document for qrel in qrels]
    texts = [query.text for query in queries]
    beam, exact = (
        [key in {hit.key for hit in hits} for key, hits in zip(gold, answers, strict=True)]
        for answers in (retriever.search(texts, K), retriever.search(texts, K, exact=True))
    )
    assert (found.beam, found.exact) == (sum(beam), sum(exact))
    assert found.missed == sum(e and not b for b, e in zip(beam, exact, strict=True))
    assert found.proven == 1
    assert found.beam_ms > 0 and found.exact_ms > 0


def test_judged_irrelevant_and_unknown_documents_are_no_gold(retriever, judged):
    queries, _ = judged
    qrels = [Qrel(queries[0].key, "copy-file", 0), Qrel(queries[0].key, "never heard of")]
    found = diagnose(retriever, queries, qrels)
    assert (found.gold, sum(found.pruned), found.beam_against_exact.exact) == (0, 0, 0)


def test_an_evaluation_reports_it_when_asked(retriever, tiny_corpus, tmp_path):
    files = (tiny_corpus / "queries.jsonl", tiny_corpus / "qrels" / "test.tsv")
    quick = {"typos": False, "latency_queries": 0}
    assert compare_model(retriever, *files, [], Options(**quick)).decoding is None
    comparison = compare_model(retriever, *files, [], Options(**quick, diagnose=True))
    values = json.loads(json.dumps(to_json(comparison), allow_nan=False))["decoding"]
    assert set(values) == {"gold", "beams", "pruned", "beam_against_exact"}
    assert len(values["pruned"]) == retriever.decoder.stage.trie.depth
    report = write_report(comparison, tmp_path / "report", "t").read_text(encoding="utf-8")
    assert "## Beam against exact" in report and "(pruned.png)" in report
    with Image.open(tmp_path / "report" / "pruned.png") as chart:
        assert chart.size[0] == 1950


def test_other_beams_apply_to_this_evaluation_only(retriever, tiny_corpus, judged):
    files = (tiny_corpus / "queries.jsonl", tiny_corpus / "qrels" / "test.tsv")
    options = Options(typos=False, latency_queries=0, diagnose=True, beams=12)
    found = compare_model(retriever, *files, [], options).decoding
    assert found.beams == 12 and retriever.recipe.decoding.beams == 4
    explained = [explain(retriever, q.text, r.document, 12) for q, r in zip(*judged, strict=True)]
    lost = sum(one.verdict == "pruned" for one in explained)
    assert sum(found.pruned) == pytest.approx(lost / len(explained))


def test_the_sheet(comparison):
    against = ExactComparison(
        k=10, beam=1, exact=3, missed=2, proven=0.75, beam_ms=1.26, exact_ms=9
    )
    known = replace(comparison, decoding=Decoding(4, 20, [0.25, 0.5], against))
    lines = to_markdown(report_tables(known)[-1]).splitlines()
    assert lines[4:6] == [
        "| beam 20 | 1 | 0.250 | 75.0% | 1.3 |",
        "| exact | 3 | 0.750 | - | 9.0 |",
    ]
    assert "missed" in lines[-1] and "found 2 that" in lines[-1] and "75.0%" in lines[-1]
