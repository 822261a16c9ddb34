"""Retrievers whose documents have several units: search, updates, files, training, serving."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from tiny import tiny_retriever, under
from typer.testing import CliRunner

from genir.cli import app
from genir.config import Recipe, dump_recipe
from genir.corpus.readers import read_corpus
from genir.corpus.store import DocumentStore
from genir.corpus.writer import write_corpus
from genir.errors import InputError
from genir.identifiers.units import UnitOptions, unit_spans
from genir.integrations.http import RemoteSearcher
from genir.retriever import Retriever
from genir.serving.app import create_app
from genir.training.build import build_retriever
from genir.training.job import TrainingJob
from genir.training.pipeline import train
from genir.training.recipe_checks import check_recipe
from genir.types import Document, Qrel, Query, Unit
from genir.updates.changes import Change, Upsert, from_row, to_row
from genir.updates.saving import compact

UNITS = {"units": "windows", "unit_words": 16, "unit_overlap": 2, "max_units": 4}
TOPICS = ("copy a file", "delete the disk", "watch one network", "encrypt every folder")


def text_of(*topics):
    """Return a text with twelve words on each topic."""
    return "\n\n".join(" ".join([topic] * 5)[:200] for topic in topics)


DOCUMENTS = [
    Document("long", text_of(*TOPICS), "a guide", metadata={"kind": "guide"}),
    Document("mixed", text_of(*TOPICS[:2]), "two things", metadata={"kind": "guide"}),
    Document("short", "watch one network", "network", metadata={"kind": "note"}),
    Document("bare", "", "encrypt", metadata={"kind": "note"}),
]


def recipe_of(encoder, units=UNITS, **training):
    return Recipe.model_validate(
        {
            "name": "tiny",
            "identifiers": {"scheme": "atomic"} | units,
            "tasks": [{"task": "queries"}, {"task": "lead"}],
            "model": {
                "kind": "encoder-head",
                "encoder": str(encoder),
                "word_set_size": 8,
                "word_weight": 1.8,
            },
            "training": {"precision": "fp32"} | training,
            "decoding": {"beams": 2},
        }
    )


def made(encoder, path, documents=DOCUMENTS, queries=None, units=UNITS):
    torch.manual_seed(0)
    store = DocumentStore.create(path / "store.sqlite", documents)
    retriever = build_retriever(recipe_of(encoder, units), store, queries or {}, None)
    retriever.model.eval()
    return retriever


@pytest.fixture
def retriever(tiny_encoder, tmp_path):
    own = made(tiny_encoder, tmp_path)
    own.save(tmp_path / "model")
    return own


def keys(retriever, query, k=10, **options):
    return [hit.key for hit in retriever.search(query, k, **options)[0]]


def scores(retriever, query):
    return {hit.key: hit.score for hit in retriever.search(query, 10)[0]}


def unit_scores(retriever, query):
    """Return the score of every unit by document and place, from the model alone."""
    model, table = retriever.model, retriever.table
    stage = retriever.decoder.stage
    with torch.inference_mode():
        (logits,) = model.prefix_free_log_probs(model.encode(*stage.encode([query])))
    return {
        key: [float(logits[0, table.symbols[row, 0]]) for row in table.rows_of(table.number(key))]
        for key in table.keys
    }


def test_each_unit_has_a_row_and_the_best_one_ranks_its_document(retriever):
    table = retriever.table
    counts = np.bincount(table.documents).tolist()
    assert counts == [4, 2, 1, 1] and table.max_units == 4
    assert len(retriever.model.head.codebooks[0]) == len(retriever.model.words) == 8
    for query in TOPICS:
        expected = {key: max(own) for key, own in unit_scores(retriever, query).items()}
        assert scores(retriever, query) == pytest.approx(expected, abs=1e-5)


def test_hits_carry_the_best_unit_and_its_snippet(retriever):
    expected = unit_spans(DOCUMENTS[0].text, UnitOptions(**UNITS))
    for query in TOPICS:
        own = unit_scores(retriever, query)["long"]
        (hit,) = [hit for hit in retriever.search(query, 10)[0] if hit.key == "long"]
        assert (hit.unit.start, hit.unit.end) == expected[int(np.argmax(own))]
        assert hit.snippet == " ".join(DOCUMENTS[0].text[hit.unit.start : hit.unit.end].split())
    assert retriever.search("encrypt", 4)[0][-1].unit is not None
    bare = {hit.key: hit.unit for hit in retriever.search("encrypt", 4)[0]}["bare"]
    assert bare == Unit(0, 0, "")


def test_sections_carry_their_heading(tiny_encoder, tmp_path):
    text = "# Start\n" + text_of(TOPICS[0]) + "\n## Remove it ##\n" + text_of(TOPICS[1])
    document = Document("a", text, "guide")
    units = {"units": "sections", "unit_words": 40}
    own = made(tiny_encoder, tmp_path, [document], units=units)
    assert len(own.table) == 2
    headings = [
        hit.unit.heading for query in (TOPICS[0], TOPICS[1]) for hit in own.search(query, 1)[0]
    ]
    assert headings == ["Start", "Remove it"]


@pytest.mark.parametrize("k", [1, 2, 3, 4, 100])
@pytest.mark.parametrize("exact", [False, True])
def test_a_search_finds_as_many_documents_as_asked_for(retriever, k, exact):
    for beams in (1, 2, 50):
        for query in TOPICS:
            found = keys(retriever, query, k, beams=beams, exact=exact)
            assert len(found) == len(set(found)) == min(k, 4)


def test_filters_work_on_documents(retriever):
    assert set(keys(retriever, TOPICS[0], where={"kind": "guide"})) == {"long", "mixed"}
    assert set(keys(retriever, TOPICS[0], where={"kind": "note"})) == {"short", "bare"}


def test_shares_of_documents_add_up_to_one(retriever):
    shares = retriever.shares(TOPICS[0], retriever.table.keys)
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    own = unit_scores(retriever, TOPICS[0])
    expected = [float(np.exp(own[key]).sum()) for key in retriever.table.keys]
    assert shares == pytest.approx(expected, abs=1e-5)


def state(retriever):
    """Return what a search depends on: units by key, their rows and word sets, and answers."""
    table, model = retriever.table, retriever.model
    live = {key for key in table.keys if table.is_live(key)}
    units = {}
    for key in sorted(live):
        rows = table.rows_of(table.number(key))
        symbols = torch.from_numpy(table.symbols[rows, 0].astype(np.int64))
        vectors = model.head.normalized_codebook(0)[symbols].detach().numpy().tolist()
        words = model.words.rows_at(symbols)
        units[key] = table.spans[rows].tolist(), vectors, words.indices.tolist()
    return units, [scores(retriever, query) for query in TOPICS]


def assert_same(one, other):
    assert one[0] == other[0]
    for mine, theirs in zip(one[1], other[1], strict=True):
        assert mine == pytest.approx(theirs, abs=1e-5)


def test_a_saved_model_is_equal(retriever, tmp_path):
    assert_same(state(Retriever.load(tmp_path / "model", "cpu")), state(retriever))
    assert Retriever.load(tmp_path / "model", "cpu").search(TOPICS) == retriever.search(TOPICS)


NEW = Document("new", text_of("compress a process", "search the host", "list one task"), "more")
NEW_UNITS = 4


def test_an_added_document_has_a_row_for_each_unit(retriever, tmp_path):
    retriever.add(NEW, {"new": ["search the host", "list one task"]})
    table = retriever.table
    rows = table.rows_of(table.number("new"))
    assert table.spans[rows].tolist() == [
        list(span) for span in unit_spans(NEW.text, UnitOptions(**UNITS))
    ]
    assert len(rows) == NEW_UNITS and len(retriever.model.head.codebooks[0]) == 8 + NEW_UNITS
    assert keys(retriever, "search the host", 1) == ["new"]
    (hit,) = retriever.search("list one task", 1)[0]
    assert "list one task" in NEW.text[hit.unit.start : hit.unit.end]
    assert_same(state(Retriever.load(tmp_path / "model", "cpu")), state(retriever))


def test_deleted_replaced_and_restored_documents(retriever, tmp_path):
    before = state(retriever)
    retriever.delete("long")
    assert "long" not in keys(retriever, TOPICS[3]) and retriever.index.live_count == 3
    retriever.replace(Document("mixed", NEW.text, "changed"))
    assert len(retriever.table.rows_of(retriever.table.number("mixed"))) == NEW_UNITS
    assert keys(retriever, "compress a process", 1) == ["mixed"]
    retriever.replace(Document("mixed", "one unit", "changed"))
    assert len(retriever.table.rows_of(retriever.table.number("mixed"))) == 1
    loaded = Retriever.load(tmp_path / "model", "cpu")
    assert_same(state(loaded), state(retriever))
    retriever.rollback(0)
    assert_same(state(retriever), before)
    loaded.sync()
    assert_same(state(loaded), before)


def test_compaction_keeps_the_units(retriever, tmp_path):
    retriever.add(NEW)
    retriever.delete("long")
    retriever.replace(Document("short", text_of(*TOPICS[1:]), "grown"))
    before = state(retriever)
    compact(retriever.updates)
    assert retriever.table.live.all() and len(retriever.table) == 2 + NEW_UNITS + 1 + 4
    for one in (retriever, Retriever.load(tmp_path / "model", "cpu")):
        units, found = state(one)
        assert units == before[0]
        # The softmax no longer has the rows of deleted documents.
        assert list(map(list, found)) == list(map(list, before[1]))


def test_a_journal_without_units_is_refused(retriever, tmp_path):
    retriever.add(NEW)
    (change,) = retriever.updates.changes()
    (put,) = change.entries
    assert from_row(to_row(put), "here").spans == put.spans
    columns = list(to_row(put))
    broken = json.loads(columns[3])
    columns[3] = json.dumps(broken | {"spans": broken["spans"][:1]})
    with pytest.raises(InputError, match=f"{NEW_UNITS} identifiers of 1 units"):
        from_row(tuple(columns), "here")
    plain = Upsert(put.document, put.identifiers, put.row)
    shape = retriever.updates.loaded.shape
    with pytest.raises(InputError, match="no units, but the model has"):
        shape.validate([Change(1, "add", "", [plain])], retriever.table)


def test_a_query_belongs_to_the_nearest_unit_of_its_document(tiny_encoder, tmp_path):
    (tmp_path / "other").mkdir()
    plain = made(tiny_encoder, tmp_path)
    asked = made(tiny_encoder, tmp_path / "other", queries={"long": [TOPICS[2]]})
    old, new = (one.model.head.normalized_codebook(0).detach() for one in (plain, asked))
    changed = (old - new).abs().amax(dim=1) > 1e-4
    query = torch.from_numpy(plain.model.encoder.embed(TOPICS[2], role="query"))
    expected = int((old[:4] @ query[0]).argmax())
    assert changed.nonzero().flatten().tolist() == [expected]


def test_training_moves_the_best_unit_of_the_target(retriever):
    head = retriever.model.head
    query = 20 * head.normalized_codebook(0).detach()[1:2].clone()  # second unit of "long"
    logits = query @ head.codebooks[0].detach().T
    for target in range(4):
        (loss,) = head.loss(query, torch.tensor([target]), 0.0).detach()
        expected = torch.nn.functional.cross_entropy(logits, torch.tensor([1]))
        assert float(loss) == pytest.approx(float(expected), abs=1e-5)


def test_anchored_rows_are_of_units(retriever):
    head = retriever.model.head
    before = head.normalized_codebook(0).detach().clone()
    vectors = np.random.default_rng(0).standard_normal(before.shape).astype(np.float32)
    head.blend_document_vectors(vectors)
    expected = torch.nn.functional.normalize(before + torch.from_numpy(vectors), dim=1)
    torch.testing.assert_close(head.codebooks[0].detach(), expected)


@pytest.mark.parametrize(
    ("section", "changes", "message"),
    [
        ("model", {"term_set_size": 4}, "term sets belong to whole documents"),
        ("model", {"kind": "seq2seq"}, "needs \\[model\\] kind = 'encoder-head'"),
        ("losses", {"loss": "margin"}, "'margin' takes a document for one identifier"),
        ("identifiers", {"scheme": "residual"}, "units: the scheme 'residual'|max_units: the"),
        ("identifiers", {"units": "none"}, "max_units: has no effect with units = 'none'"),
        ("identifiers", {"scheme": "url"}, "the scheme 'url' has one text for each document"),
    ],
)
def test_parts_that_take_a_document_for_one_identifier_refuse_units(
    tiny_encoder, section, changes, message
):
    values = recipe_of(tiny_encoder).model_dump()
    if section == "losses":
        values["losses"] = [changes]
    elif "kind" in changes:
        values["model"] = changes
    else:
        values[section] |= changes
    with pytest.raises(InputError, match=message):
        check_recipe(Recipe.model_validate(values))


def test_a_model_without_units_is_unchanged(tiny_encoder, tiny_corpus, tmp_path):
    plain = tiny_retriever(tiny_encoder, tiny_corpus, tmp_path / "s.sqlite", "atomic")
    assert plain.table.spans is None and plain.table.max_units == 1
    assert plain.search("copy a file", 1)[0][0].unit is None
    assert under(plain, beams=7).beam_width(1) == 7


def test_a_server_and_its_clients_return_the_unit(retriever, tmp_path):
    served = Retriever.load(tmp_path / "model", "cpu")
    with TestClient(create_app(served, loopback=True)) as http:
        answer = http.post("/v1/search", json={"query": TOPICS[3], "k": 2}).json()
        expected = retriever.search(TOPICS[3], 2)[0]
        assert [hit["unit"] for hit in answer["hits"]] == [asdict(hit.unit) for hit in expected]
        remote = RemoteSearcher("http://testserver", http=http)
        assert [hit.unit for hit in remote.search(TOPICS[3], 2)[0]] == [
            hit.unit for hit in expected
        ]
        put = http.post("/v1/documents", json={"documents": [{"_id": "n", "text": NEW.text}]})
        assert put.status_code == 201, put.text
        hits = http.post("/v1/search", json={"query": "list one task", "k": 9}).json()["hits"]
        (unit,) = [hit["unit"] for hit in hits if hit["key"] == "n"]
        assert (unit["start"], unit["end"]) in unit_spans(NEW.text, UnitOptions(**UNITS))


def test_commands_print_the_unit(retriever, tmp_path):
    def genir(*arguments):
        done = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    model = tmp_path / "model"
    (hit,) = json.loads(genir("search", model, TOPICS[0], "-k", "1", "--json"))["hits"]
    assert set(hit["unit"]) == {"start", "end", "heading"}
    assert "windows, at most 4 of 16 words, 2 in common" in genir("inspect", model)
    assert json.loads(genir("inspect", model, "--json"))["identifiers"] == 8
    assert "found at rank 1" in genir("explain", model, TOPICS[0], keys(retriever, TOPICS[0])[0])


@pytest.mark.parametrize("with_queries", [False, True])
def test_a_recipe_with_units_is_trained_and_evaluated(tiny_encoder, tmp_path, with_queries):
    corpus = tmp_path / "corpus"
    documents = [*DOCUMENTS[:3], *(Document(f"d{n}", NEW.text, f"copy {n}") for n in range(8))]
    queries = [Query(f"q{n}", f"{TOPICS[n % 4]} {n}") for n in range(24)]
    qrels = [Qrel(f"q{n}", documents[n % 11].key) for n in range(24)]
    splits = {"test": qrels[20:]} | ({"train": qrels[:20]} if with_queries else {})
    write_corpus(corpus, documents, queries, splits)
    recipe = recipe_of(tiny_encoder, epochs=2, batch_size=8, dev_queries=4, without_queries="skip")
    (tmp_path / "tiny.toml").write_text(dump_recipe(recipe))
    out = tmp_path / "trained"
    train(TrainingJob(str(tmp_path / "tiny.toml"), corpus, out))
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["steps"] > 0) == with_queries
    assert (
        "| units | windows, at most 4 of 16 words, 2 in common |"
        in (out / "MODEL_CARD.md").read_text()
    )
    trained = Retriever.load(out, "cpu")
    assert len(trained.table) == 7 + 8 * NEW_UNITS and trained.table.spans is not None
    done = CliRunner().invoke(
        app,
        ["evaluate", str(out), "--queries", str(corpus / "queries.jsonl"), "--qrels",
         str(corpus / "qrels/test.tsv"), "--no-typos", "--json", str(tmp_path / "found.json")],
        catch_exceptions=False,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "found.json").read_text())
    assert 0 <= found["systems"]["genir"]["RR@10"] <= 1
    trained.add(Document("later", text_of(*TOPICS)))
    assert set(keys(trained, TOPICS[1], 100)) == set(trained.table.keys)


def test_hits_lead_to_the_section_of_a_page(tiny_encoder, tmp_path):
    site = tmp_path / "site"
    (site / "docs").mkdir(parents=True)
    (site / "mkdocs.yml").write_text(
        "site_url: https://x.org/\nnav:\n  - Guides:\n      - page.md\n"
    )
    page = f"# The page\n\n{text_of(TOPICS[0])}\n\n## Erase {{ #own }}\n\n{text_of(TOPICS[1])}\n"
    (site / "docs/page.md").write_text(f"{page}\n### Look\n\n{text_of(TOPICS[2])}\n")
    units = {"units": "sections", "unit_words": 40, "max_units": 8}
    own = made(tiny_encoder, tmp_path, list(read_corpus(site / "docs")), units=units)
    hits = [own.search(topic, 1)[0][0] for topic in TOPICS[:3]]
    url = "https://x.org/page/"
    assert [(hit.url, hit.anchor, hit.unit.heading) for hit in hits] == [
        (url, "", "The page"),
        (f"{url}#own", "own", "Erase"),
        (f"{url}#look", "look", "Look"),
    ]
    assert hits[2].breadcrumb == ("Guides", "The page", "Erase", "Look")
    assert hits[0].breadcrumb == ("Guides", "The page") and hits[0].title == "The page"
    own.save(tmp_path / "model")
    loaded = Retriever.from_pretrained(str(tmp_path / "model"))
    assert loaded.search(TOPICS[2], 1)[0][0].url == f"{url}#look"
