"""The public API: `from genir import ...`, its arguments and results."""

import doctest
import shutil
import subprocess
import sys
from pathlib import Path

import ir_measures
import numpy as np
import pytest
import torch
from datasets import Dataset

import genir
from genir import api, retriever
from genir.baselines.bm25 import Bm25
from genir.corpus.readers import read_corpus, read_qrels, read_queries
from genir.errors import InputError
from genir.generation.generator import QueryGenerator
from genir.models.devices import available_devices
from genir.types import Document, Hit, HitList, Qrel, Query

TOP = Path(__file__).parents[1]
MEASURES = ["RR@10", "nDCG@3", "AP"]
CLIENT = """
from pathlib import Path

from genir import Document, Evaluation, Hit, Recipe, Retriever, evaluate, load_recipe, train


def first(retriever: Retriever, query: str) -> Hit:
    return retriever.search(query, k=5, where={"lang": "en"})[0][0]


recipe: Recipe = load_recipe("default", ["training.epochs=1"])
documents: list[Document | dict[str, str]] = [Document("a", "A."), {"_id": "b", "text": "B."}]
retriever = train(documents, recipe, out=Path("model"))
key: str = first(retriever, "text").key
result: Evaluation = evaluate(retriever, {"q": "text"}, {"q": {"a": 1}}, measures=["RR@10"])
mean: float = result.measures["RR@10"]
rows: int = retriever.search  # an error
"""


def test_importing_genir_loads_neither_torch_nor_typing():
    code = "import sys; before = set(sys.modules); import genir; print(set(sys.modules) - before)"
    run = [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(TOP)!r}); {code}"]
    loaded = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "{'genir'}"


def test_every_public_name_is_found_and_listed():
    assert all(getattr(genir, name).__name__ == name for name in genir.__all__)
    assert set(genir.__all__) <= set(dir(genir))
    with pytest.raises(AttributeError, match="has no attribute 'retriver'"):
        genir.retriver  # noqa: B018


def test_the_examples_of_the_public_api_run(tmp_path, monkeypatch):
    """In the order of use: train, search, evaluate."""
    monkeypatch.chdir(tmp_path)
    found = [*doctest.DocTestFinder().find(api), *doctest.DocTestFinder().find(retriever)]
    named = {test.name.removeprefix("genir."): test for test in found if test.examples}
    order = ["api.train", "retriever.Retriever", "retriever.Retriever.load",
             "retriever.Retriever.search", "api.evaluate", "api.Evaluation"]  # fmt: skip
    assert set(named) == set(order)
    names = {}
    for name in order:
        named[name].globs = names
        doctest.DebugRunner(verbose=False).run(named[name], clear_globs=False)


@pytest.fixture
def tiny(tiny_folder):
    return genir.Retriever.load(tiny_folder("residual"))


@pytest.fixture(scope="module")
def judged(tiny_corpus):
    return read_queries(tiny_corpus), read_qrels(tiny_corpus / "qrels" / "test.tsv")


def test_queries_and_qrels_of_every_form_give_the_same(tiny, tiny_corpus, judged):
    queries, qrels = judged
    grades = {}
    for one in qrels:
        grades.setdefault(one.query, {})[one.document] = one.grade
    forms = [
        (tiny_corpus, tiny_corpus / "qrels" / "test.tsv"),
        ({key: query.text for key, query in queries.items()}, grades),
        (queries.values(), qrels),
        (
            [{"_id": query.key, "text": query.text} for query in queries.values()],
            [ir_measures.Qrel(one.query, one.document, one.grade) for one in qrels],
        ),
    ]
    results = [genir.evaluate(tiny, *form, measures=MEASURES) for form in forms]
    assert all(result == results[0] for result in results)
    assert list(results[0].measures) == MEASURES and len(results[0].per_query) == len(qrels)


def test_measures_are_names_or_objects_and_agree_with_their_rows(tiny, judged):
    queries, qrels = judged
    by_name = genir.evaluate(tiny, queries.values(), qrels, MEASURES)
    objects = [ir_measures.parse_measure(name) for name in MEASURES]
    assert genir.evaluate(tiny, queries.values(), qrels, objects) == by_name
    frame = by_name.to_frame()
    assert frame.shape == (len(qrels), 3) and frame.index.name == "query"
    assert frame.mean().to_dict() == pytest.approx(by_name.measures)
    alone = genir.evaluate(tiny, queries.values(), qrels, "RR@10")
    assert repr(alone) == f"Evaluation(RR@10={alone.measures['RR@10']:.4f}, queries={len(qrels)})"


QUERY, QREL = {"q": "copy"}, {"q": {"copy-file": 1}}
BAD = {
    "unknown measure": (QUERY, QREL, ["NDGC@10"], "does not know 'NDGC@10'"),
    "no measure": (QUERY, QREL, [], "measures: got none"),
    "a bare number": (QUERY, QREL, 10, "measures: got 10; give"),
    "measures None": (QUERY, QREL, None, "measures: got None; give"),
    "grades as a list": (QUERY, {"q": ["copy-file"]}, MEASURES, "qrels 'q': .* is not a dict"),
    "a number": (QUERY, QREL, [10], "measures: 10 is no measure"),
    "bare texts": (["copy"], QREL, MEASURES, "queries row 1: 'copy' is no query"),
    "a query twice": ([Query("q", "a")] * 2, QREL, MEASURES, "duplicate query id 'q'"),
    "no text": ({"p": "x"}, QREL, MEASURES, "judge 1 query without a text"),
    "tuples": (QUERY, [("q", "copy-file", 1)], MEASURES, "qrels row 1: .* is no judgement"),
    "no list": (QUERY, 5, MEASURES, "qrels: got 5; give a file or a list"),
    "a fraction": (QUERY, {"q": {"copy-file": 0.5}}, MEASURES, "give a whole number"),
    "half a surrogate pair": (QUERY, {"q": {"\ud800": 1}}, MEASURES, "unpaired surrogate"),
    "a surrogate query": (QUERY, {"\ud800": {"a": 1}}, MEASURES, "unpaired surrogate"),
    "number as query": (QUERY, {5: {"a": 1}}, MEASURES, "qrels 5: _id 5 is not a string"),
    "bytes as document": (QUERY, {"q": {b"x": 1}}, MEASURES, "_id b'x' is not a string"),
    "None as query": (QUERY, {None: {"a": 1}}, MEASURES, "_id None is not a string"),
    "grade as text": (QUERY, [Qrel("q", "a", "1")], MEASURES, "row 1: grade = '1': give a whole"),
    "grade None": (QUERY, [Qrel("q", "a", None)], MEASURES, "row 1: grade = None: give a whole"),
    "no package computes it": (QUERY, QREL, ["RBP(p=0.8)"], "another package for RBP"),
    "unknown document": (QUERY, {"q": {"nothing": 1}}, MEASURES, "document 'nothing' is unknown"),
    "nothing relevant": (
        QUERY,
        {"q": {"copy-file": 0}},
        MEASURES,
        "no judgement has a grade above 0",
    ),
    "foreign grade": (QUERY, [ir_measures.Qrel("q", "a", "1")], MEASURES, "grade = '1': give a"),
}


@pytest.mark.parametrize("name", BAD)
def test_unmeasurable_input_is_refused(tiny, name):
    queries, qrels, measures, message = BAD[name]
    with pytest.raises(InputError, match=message):
        genir.evaluate(tiny, queries, qrels, measures)


class Returning:
    def __init__(self, answers):
        self.answers = answers

    def search(self, queries, k, where=None):
        return self.answers


BAD_SEARCHERS = {
    "none": (None, "None has no method search; give a Retriever"),
    "no answers": (Returning([]), "search returned .* for 1 query; return a list of hits"),
    "None as answers": (Returning(None), "search returned None for 1 query"),
    "half a surrogate pair": (Returning([[Hit("\ud800", 1.0, 1)]]), "unpaired surrogate"),
    "a NUL": (Returning([[Hit("a\0b", 1.0, 1), Hit("a", 0.5, 2)]]), "holds a NUL; give it another"),
    "keys": (Returning([[5]]), "document key of a hit: got None"),
    "a text": (Returning(["copy-file"]), "document key of a hit: got None"),
    "numbers": (Returning([5]), "5 is no answer; return a list of hits"),
}


@pytest.mark.parametrize("name", BAD_SEARCHERS)
def test_searchers_that_break_their_protocol_are_refused(name):
    searcher, message = BAD_SEARCHERS[name]
    with pytest.raises(InputError, match=message):
        genir.evaluate(searcher, QUERY, QREL, MEASURES)


def test_judgements_of_deleted_documents_do_not_count(tiny_folder, tmp_path):
    tiny = genir.Retriever.load(shutil.copytree(tiny_folder("residual"), tmp_path / "model"))
    qrels = {"q": {"copy-file": 1, "copy-folder": 1}, "p": {"copy-file": 1}}
    queries = {"q": "copy a folder", "p": "copy a file"}
    tiny.delete("copy-file")
    assert len(genir.evaluate(tiny, queries, qrels, MEASURES).per_query) == 1
    tiny.delete("copy-folder")
    with pytest.raises(InputError, match="2 relevant documents are all deleted, so 2 queries"):
        genir.evaluate(tiny, queries, qrels, MEASURES)


def test_fewer_hits_than_a_measure_looks_at_are_refused(tiny):
    with pytest.raises(InputError, match="k = 10: the measures look at 20 hits"):
        genir.evaluate(tiny, QUERY, QREL, "RR@20", k=10)


@pytest.fixture
def settings(tiny_encoder):
    return [f'model.encoder="{tiny_encoder}"', "training.max_steps=2", "training.precision=fp32"]


def test_documents_of_every_form_train_the_same_model(tiny_corpus, judged, settings, tmp_path):
    documents = list(read_corpus(tiny_corpus))
    rows = [{"_id": one.key, "title": one.title, "text": one.text, "url": one.url}
            for one in documents]  # fmt: skip
    plain = [Document(one.key, one.text, one.title, one.url) for one in documents]
    queries = read_queries(tiny_corpus).values()
    qrels = read_qrels(tiny_corpus / "qrels" / "train.tsv")
    forms = [plain, (row for row in rows), Dataset.from_list(rows)]
    answers = []
    for number, form in enumerate(forms):
        out = tmp_path / f"model-{number}"
        made = genir.train(form, out=out, queries=queries, qrels=qrels, settings=settings)
        answers.append(made.search("clone a text", k=3))
        assert made.index.query_counts.sum() == 0.9 * len(qrels)  # a tenth is held out for dev
    assert answers[0] == answers[1] == answers[2]
    again = genir.train(
        rows, out=tmp_path / "model-0", queries=queries, qrels=qrels, settings=settings, resume=True
    )
    assert again.search("clone a text", k=3) == answers[0]
    with pytest.raises(InputError, match=r"documents: 40 documents.* then, 39 documents"):
        genir.train(rows[1:], out=tmp_path / "model-0", settings=settings, resume=True)


def test_a_recipe_object_takes_no_settings(tiny_corpus, tmp_path):
    with pytest.raises(InputError, match=r"settings: .*give them to load_recipe"):
        genir.train(tiny_corpus, genir.load_recipe("default"), out=tmp_path / "m", settings="a=1")


@pytest.mark.parametrize("device", ["", b"x", 5.5, "gpu"])
def test_other_devices_are_refused(tiny, device):
    with pytest.raises(InputError, match="not a torch device; give cpu"):
        tiny.to(device)
    assert tiny.to("cpu") is tiny


@pytest.mark.parametrize("device", ["cuda:99", "xpu:99", "mps:99", "hpu", "xla", "meta"])
def test_a_device_that_is_not_there_is_refused(tiny, device):
    """A CPU build of torch has an AssertionError, NotImplementedError or ImportError for these."""
    message = rf"device '{device}': (not available|holds no values).*; give cpu"
    for use in (tiny.to, lambda given: genir.Retriever.load(tiny.folder, given)):
        with pytest.raises(InputError, match=message):
            use(device)
    with pytest.raises(InputError, match=message):
        QueryGenerator.open(str(tiny.folder), device)
    assert tiny.search(["alpha"])[0] is not None


def test_the_devices_of_the_machine_are_named(monkeypatch):
    assert available_devices().startswith("cpu")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert available_devices() == "cpu, cuda:0 or cuda:1"


def test_documents_and_names_of_other_types_are_refused(tiny_folder, tmp_path):
    saved = genir.Retriever.load(shutil.copytree(tiny_folder("atomic"), tmp_path / "model"))
    for change in (saved.add, saved.replace, saved.put):
        with pytest.raises(InputError, match="not documents; give a list of dicts"):
            change(np.array("x"))
    with pytest.raises(InputError, match="not a collection; give a path or a list"):
        read_corpus(np.array("x"))
    with pytest.raises(InputError, match="not documents; give a list of dicts"):
        Bm25.fit(np.array("x"))
    with pytest.raises(InputError, match="name: got None"):
        saved.push_to_hub(None)


def test_reprs_say_what_there_is(tiny):
    assert repr(tiny).startswith("Retriever(recipe='tiny', documents=40, parameters=")
    hit = Hit("a", -0.123456, 1, title="A title", snippet="x" * 100)
    shown = f"Hit(rank=1, key='a', score=-0.1235, title='A title', snippet='{'x' * 59}…')"
    assert repr(hit) == shown
    assert repr(HitList([hit, hit])) == f"[{shown},\n {shown}]" and repr(HitList()) == "[]"
    assert repr(HitList([1], proven=True)) == "Answer([1], proven=True)"


def test_a_client_passes_mypy_strict(tmp_path):
    """One line is wrong, to check that mypy sees the types."""
    (tmp_path / "client.py").write_text(CLIENT)
    (tmp_path / "mypy.ini").write_text(
        f"[mypy]\nstrict = true\nmypy_path = {TOP}\n[mypy-genir.*]\nfollow_imports = silent\n"
        "[mypy-torch.*,transformers.*,numpy.*,scipy.*,pydantic.*,ir_measures.*,faiss.*]\n"
        "follow_imports = skip\nignore_missing_imports = true\n"
    )
    cache = TOP / ".mypy_cache" / "client"  # a run without a cache checks all of genir
    run = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--cache-dir", str(cache)]
    run.append("client.py")
    out = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True).stdout
    lines = [line for line in out.splitlines() if "error:" in line]
    assert len(lines) == 1 and "client.py:17:" in lines[0] and "[assignment]" in lines[0], out
