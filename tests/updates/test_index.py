"""Added, changed and deleted documents: search results, reloads and refusals."""

import random
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from changing import found, make_document, state, text_of
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import QUERIES, SCHEMES

from genir.decoding.stage import Stage
from genir.errors import InputError
from genir.evaluation.beam_tree import beam_tree
from genir.evaluation.explain import explain
from genir.models.encoder_head.model import EncoderHeadModel
from genir.models.encoder_head.word_sets import WordSets
from genir.retriever import Retriever
from genir.updates.planning import embed_documents, plan_upserts
from genir.updates.updates import Updates


@pytest.fixture(params=SCHEMES)
def retriever(request, saved_models, tmp_path):
    folder = shutil.copytree(saved_models(request.param), tmp_path / "model")
    return Retriever.load(folder, "cpu")


def reloaded(retriever):
    return Retriever.load(retriever.folder, "cpu")


def answers(retriever):
    return [[(h.key, h.rank, h.identifier) for h in hits] for hits in retriever.search(QUERIES, 9)]


# --- search results ----------------------------------------------------------------------------


def test_an_added_document_is_found_at_once_and_after_a_load(retriever):
    assert retriever.add([make_document("a"), make_document("b", "pack one program")]) == ["a", "b"]
    assert retriever.version == 1
    for one in (retriever, reloaded(retriever)):
        assert one.version == 1
        assert set(found(one)) == set(one.table.keys) and {"a", "b"} <= set(one.table.keys)
        (hit,) = (h for h in one.search(["hide"], 42)[0] if h.key == "a")
        assert (hit.title, hit.url) == ("a title", "https://docs.example.org/new/a")
        assert hit.snippet
    assert answers(retriever) == answers(reloaded(retriever))


def test_an_answer_shows_its_version_despite_later_changes(folder):
    retriever = Retriever.load(folder, "cpu")
    retriever.add([make_document("a", "the old text of this page")])
    expected = retriever.search(["copy a page"], 41)[0]
    (found,) = retriever.match(["copy a page"], 41)
    for change in (
        lambda: retriever.replace([make_document("a", "a new text altogether")]),
        lambda: retriever.delete(["a", "copy-file"]),
        retriever.close,
    ):
        change()
        assert found.hits() == expected
    shown = {hit.key: hit.snippet for hit in expected}
    assert "old text" in shown["a"] and "copy-file" in shown


def test_a_deleted_document_is_never_found_and_k_hits_still_are(retriever):
    gone = retriever.table.keys[:35]
    assert retriever.delete(gone) == gone
    for one in (retriever, reloaded(retriever)):
        for hits in one.search(QUERIES, 5):
            assert len(hits) == 5 and not {hit.key for hit in hits} & set(gone)
        assert len(found(one)) == 5
        assert all("disk" in key for key in found(one, where={"tags": "disk"}))


def test_no_random_query_finds_deleted_documents(folder):
    retriever, rng = Retriever.load(folder, "cpu"), random.Random(0)
    words = sorted({word for one in retriever.documents for word in one.text.split()})
    asked = [" ".join(rng.choices(words, k=rng.randint(1, 8))) for _ in range(300)]
    gone = set(rng.sample(retriever.table.keys, 30))
    retriever.delete(sorted(gone))
    retriever.compact()  # which must not bring them back
    retriever.delete(sorted(set(retriever.table.keys) - gone)[:2])
    for hits in retriever.search(asked, 8):
        assert len(hits) == 8 and not {hit.key for hit in hits} & gone


def test_a_deletion_is_undone_by_adding_again(retriever):
    key = retriever.table.keys[3]
    document, before, rows = retriever.documents.find(key), answers(retriever), len(retriever.table)
    retriever.delete([key])
    assert key not in found(retriever)
    retriever.add([document])
    assert answers(retriever) == before == answers(reloaded(retriever))
    assert len(retriever.table) == rows  # the live bit alone


def test_a_replaced_document_has_its_new_text(retriever):
    key = retriever.table.keys[3]
    retriever.replace([make_document(key, "erase every wire", verb="fly")])
    for one in (retriever, reloaded(retriever)):
        assert one.documents.find(key).text == "erase every wire"
        assert found(one, where={"verb": "fly"}) == [key]
        assert len(found(one)) == len(set(found(one))) == 40
        assert len(one.table) == len(one.table.keys) == 40
    assert answers(retriever) == answers(reloaded(retriever))


def test_documents_are_put_whether_they_are_there_or_not(retriever):
    key = retriever.table.keys[3]
    assert retriever.put([make_document(key, "erase every wire"), make_document("a")]) == [key, "a"]
    for one in (retriever, reloaded(retriever)):
        assert one.version == 1 and len(found(one)) == 41
        assert one.documents.find(key).text == "erase every wire"


def test_a_deleted_document_may_come_back_with_another_text(retriever):
    key = retriever.table.keys[3]
    retriever.delete([key])
    retriever.add([make_document(key, "erase every wire")])
    assert retriever.documents.find(key).text == "erase every wire"
    assert len(found(retriever)) == 40 == len(found(reloaded(retriever)))


def test_added_documents_with_equal_text_are_distinguished(retriever):
    twins = [make_document(f"twin-{n}", url="https://docs.example.org/t") for n in range(5)]
    retriever.add(twins)
    retriever.add([make_document("twin-5", url="https://docs.example.org/t")])
    rows = [tuple(row) for row in retriever.table.symbols.tolist()]
    assert len(set(rows)) == len(rows) == 46
    assert len(found(retriever)) == 46


def test_filters_apply_to_added_documents(retriever):
    assert found(retriever, where={"verb": "sing"}) == []
    retriever.add([make_document("a", verb="sing", section=9)])
    assert found(retriever, where={"verb": "sing"}) == ["a"]
    assert found(retriever, where={"section": {"gte": 5}}) == ["a"]
    assert "a" not in found(retriever, where={"section": {"not": 9}})
    assert found(retriever, where={"url": {"prefix": "https://docs.example.org/new"}}) == ["a"]
    retriever.delete(["a"])
    assert found(retriever, where={"verb": "sing"}) == []


def test_parameters_of_a_new_document_are_near_its_queries(folder, tmp_path):
    asked = {"a": ["pack the drive"], "b": ["best way to protect one host"]}
    made = [make_document("a", "zip it"), make_document("b", "cipher")]
    scores = []
    for name, queries in (("with", asked), ("without", None)):
        shutil.copytree(folder, tmp_path / name)
        retriever = Retriever.load(tmp_path / name, "cpu")
        retriever.add(made, queries)
        assert retriever.index.query_counts[-2:].tolist() == ([1, 1] if queries else [0, 0])
        texts = [asked["a"][0], asked["b"][0]]
        answers = retriever.search(texts, len(retriever.table))
        scores.append(
            [
                next(hit.score for hit in hits if hit.key == key)
                for key, hits in zip("ab", answers, strict=True)
            ]
        )
    given, bare = scores
    assert given[0] > bare[0] and given[1] > bare[1]


def test_queries_given_for_a_document_that_is_there_already_move_it(folder):
    retriever = Retriever.load(folder, "cpu")
    key = "copy-disk"
    document, asked = retriever.documents.find(key), ["protect the host"]

    def score():
        hits = retriever.search(asked, 40)[0]
        return next(hit.score for hit in hits if hit.key == key)

    retriever.replace([document], {key: ["cook rice slowly"]})
    before = score()
    retriever.replace([document], {key: asked})
    assert score() > before
    assert retriever.index.query_counts[retriever.table.number(key)] == 1


# --- versions ----------------------------------------------------------------------------------


def test_a_rollback_goes_back_and_is_a_version_itself(retriever):
    before = state(retriever)
    retriever.add([make_document("a")])
    first = state(retriever)
    retriever.delete(retriever.table.keys[:5])
    retriever.rollback(1)
    assert state(retriever) == first == state(reloaded(retriever)) and retriever.version == 3
    retriever.rollback(0)
    assert state(retriever) == before and retriever.version == 4
    retriever.rollback(3)  # versions made by a rollback can be restored
    assert state(retriever) == first == state(reloaded(retriever))
    retriever.add([make_document("b")])
    assert state(reloaded(retriever)).keys() == {*first, "b"}
    kinds = [(v.version, v.kind, v.target) for v in retriever.versions()]
    assert kinds[:4] == [(0, "trained", None), (1, "add", None), (2, "delete", None),
                         (3, "rollback", 1)]  # fmt: skip


def test_compaction_removes_only_deleted_documents(retriever):
    retriever.add([make_document("a"), make_document("b")])
    retriever.delete([retriever.table.keys[0], "b"])
    retriever.replace([make_document("copy-folder", "erase every wire")])
    before, hits = state(retriever), found(retriever)
    retriever.compact()
    for one in (retriever, reloaded(retriever)):
        assert state(one) == before and found(one) == hits
        assert one.version == 3 and len(one.table.keys) == len(one.table) == 40
        assert [v.kept for v in one.versions()] == [False, False, False, True]
    assert not [*retriever.folder.glob("journal-*")]
    if retriever.model.has_document_rows:
        assert len(retriever.model.head.codebooks[0]) == 40
        assert retriever.decoder.stage.scheme.level_sizes() == [40]
    with pytest.raises(InputError, match=r"version 2: choose one from 3 .* to 3"):
        retriever.rollback(2)
    retriever.add([make_document("c")])
    retriever.rollback(3)
    assert state(retriever) == before


def test_earlier_deletions_are_compacted_too(retriever, tmp_path):
    retriever.delete(["copy-file"])
    retriever.save(tmp_path / "other")  # with the dead rows, and no journal
    before, hits = state(retriever), found(retriever)
    retriever.compact()
    for one in (retriever, reloaded(retriever)):
        assert state(one) == before and found(one) == hits and one.version == 1
        assert len(one.table.keys) == len(one.table) == 39 and "copy-file" not in one.table
    stamp = (retriever.folder / "manifest.json").stat().st_mtime_ns
    retriever.compact()
    assert (retriever.folder / "manifest.json").stat().st_mtime_ns == stamp


def test_saving_elsewhere_keeps_changes(retriever, tmp_path):
    retriever.add([make_document("a")])
    retriever.delete(["copy-file"])
    before = state(retriever)
    retriever.save(tmp_path / "other")
    again = Retriever.load(tmp_path / "other", "cpu")
    assert state(again) == before == state(retriever) and again.version == 2
    again.add([again.documents.find("copy-file")])
    assert "copy-file" in state(Retriever.load(tmp_path / "other", "cpu"))
    assert "copy-file" not in state(Retriever.load(tmp_path / "model", "cpu"))


def test_saving_in_place_keeps_changes_of_others(folder):
    retriever, other = Retriever.load(folder, "cpu"), Retriever.load(folder, "cpu")
    other.add([make_document("a")])
    retriever.save(folder, overwrite=True)
    assert state(retriever) == state(other) == state(Retriever.load(folder, "cpu"))
    assert "a" in state(retriever) and retriever.version == 1
    other.delete(["a"])  # learns that the folder was written anew
    assert "a" not in state(Retriever.load(folder, "cpu"))


def test_saving_elsewhere_follows_a_compaction_by_others(folder, tmp_path):
    retriever, other = Retriever.load(folder, "cpu"), Retriever.load(folder, "cpu")
    other.delete(other.table.keys[:3])
    other.compact()
    retriever.save(tmp_path / "other")
    assert state(Retriever.load(tmp_path / "other", "cpu")) == state(other)


def test_another_process_s_changes_are_caught_up_with(retriever):
    other = reloaded(retriever)
    assert not other.sync()
    retriever.add([make_document("a")])
    retriever.delete(["copy-file"])
    assert other.sync() and not other.sync()
    assert state(other) == state(retriever) and other.version == 2
    retriever.rollback(1)
    assert other.sync() and state(other) == state(retriever)
    other.add([make_document("b")])  # a writer applies unseen changes first
    retriever.add([make_document("c")])
    assert {"b", "c"} <= state(retriever).keys() and retriever.version == 5
    retriever.compact()
    other.add([make_document("d")])
    assert retriever.sync() and state(other) == state(retriever) and retriever.version == 6
    other.compact()
    other.delete(["d"])
    retriever.compact()
    assert state(reloaded(other)) == state(retriever)


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sets(st.integers(0, 7), min_size=1), st.integers(0, 2)),
        st.tuples(st.just("delete"), st.sets(st.integers(0, 7), min_size=1)),
        st.tuples(st.sampled_from(["compact", "reload", "swap"])),
        st.tuples(st.just("rollback"), st.integers(0, 20)),
    ),
    max_size=12,
)
TEXTS = ("erase a drive", "show every task", "find one tree")


class Model:
    """Two retrievers over one folder, and the mapping that both must have."""

    def __init__(self, folder):
        self.folder = folder
        self.retriever, self.other = (Retriever.load(folder, "cpu") for _ in range(2))
        self.history, self.oldest = [state(self.retriever)], 0

    @property
    def expected(self):
        return self.history[-1]

    def put(self, numbers, text):
        documents = [make_document(f"n{n}", TEXTS[text], number=n) for n in numbers]
        for there, change in ((False, self.retriever.add), (True, self.retriever.replace)):
            own = [one for one in documents if (one.key in self.history[-1]) is there]
            if own:
                assert change(own) == [one.key for one in own]
                self.history.append(self.expected | {one.key: text_of(one) for one in own})

    def delete(self, numbers):
        keys = [f"n{n}" for n in numbers]
        known = [key for key in keys if key in self.expected]
        if len(known) < len(keys):
            with pytest.raises(InputError, match="nothing was deleted"):
                self.retriever.delete(keys)
        if known:
            assert self.retriever.delete(known) == known
            self.history.append({k: v for k, v in self.expected.items() if k not in known})

    def rollback(self, version):
        if self.oldest <= version < len(self.history):
            self.retriever.rollback(version)
            self.history.append(self.history[version])

    def compact(self):
        self.retriever.compact()
        self.oldest = self.retriever.version

    def reload(self):
        self.retriever = Retriever.load(self.folder, "cpu")

    def swap(self):
        self.retriever, self.other = self.other, self.retriever
        self.retriever.sync()

    def check(self):
        assert state(self.retriever) == self.expected
        assert self.retriever.version == len(self.history) - 1
        assert sorted(found(self.retriever)) == sorted(self.expected)


@pytest.mark.parametrize("scheme", ["atomic", "residual", "exact-words", "compact-words"])
@settings(max_examples=10)
@given(operations=OPERATIONS)
def test_any_history_ends_where_a_mapping_does(scheme, saved_models, operations):
    with tempfile.TemporaryDirectory() as place:
        model = Model(shutil.copytree(saved_models(scheme), Path(place) / "model"))
        for name, *arguments in operations:
            getattr(model, name)(*arguments)
            model.check()
        model.swap()
        model.check()
        again = Retriever.load(model.folder, "cpu")
        scores = [
            [(hit.key, hit.identifier, round(hit.score, 3)) for hit in one.search(["erase"], 50)[0]]
            for one in (model.retriever, model.other, again)
        ]
        assert state(again) == model.expected and scores[0] == scores[1] == scores[2]


# --- refusals ----------------------------------------------------------------------------------


def refused(retriever, change, message):
    before, version = state(retriever), retriever.version
    with pytest.raises(InputError, match=message):
        change()
    assert state(retriever) == before == state(reloaded(retriever))
    assert retriever.version == version == reloaded(retriever).version


def test_bad_changes_change_nothing(folder):
    retriever = Retriever.load(folder, "cpu")
    one = make_document("a")
    refused(retriever, lambda: retriever.add([one, one]), "'a' is given twice")
    refused(retriever, lambda: retriever.add([one, make_document("copy-file")]), "is there already")
    refused(retriever, lambda: retriever.replace([one]), "'a' is not there; add it")
    refused(retriever, lambda: retriever.delete(["copy-file", "x"]), "no document with the key 'x'")
    refused(retriever, lambda: retriever.rollback(7), "version 7: choose one from 0 .* to 0")
    refused(retriever, lambda: retriever.rollback(-1), "version = -1: give at least 0")
    assert retriever.add([]) == [] and retriever.delete([]) == [] and retriever.version == 0


def test_unstorable_input_is_refused(folder):
    from genir.types import Document

    retriever = Retriever.load(folder, "cpu")
    for bad, message in (
        (Document("", "text"), "_id '' is empty"),
        (Document("a\0b", "text"), "NUL"),
        (Document("a", " "), "empty text"),
        (Document("a", "half \ud800 a pair"), "cannot be stored"),
        (Document("a", "text", metadata={"x": float("nan")}), "cannot be stored"),
        (Document("a", "text", metadata={"x": object()}), "cannot be stored"),
    ):
        refused(retriever, lambda bad=bad: retriever.add([bad]), message)


def test_a_document_without_a_url_is_refused_where_it_is_the_identifier(saved_models, tmp_path):
    retriever = Retriever.load(shutil.copytree(saved_models("url"), tmp_path / "model"), "cpu")
    refused(retriever, lambda: retriever.add([make_document("a", url="")]), "'a' has no URL")


def test_a_model_without_a_folder_is_not_changed(saved_models):
    retriever = Retriever.load(saved_models("residual"), "cpu")
    retriever = Retriever(Updates(retriever.updates.loaded))
    with pytest.raises(InputError, match="has no folder yet; save it"):
        retriever.add([make_document("a")])


def test_rows_of_new_documents_leave_old_answers(folder):
    retriever = Retriever.load(folder, "cpu")
    old = retriever.model.head.codebooks[0].detach().numpy().copy()
    retriever.add([make_document(f"a{n}", TEXTS[n % 3]) for n in range(70)])
    new = retriever.model.head.codebooks[0].detach().numpy()
    assert np.array_equal(new[:40], old) and len(new) == 110
    assert np.allclose(np.linalg.norm(new[40:], axis=1), 1, atol=1e-5)


def test_documents_may_be_dicts_or_a_single_one(folder):
    retriever = Retriever.load(folder, "cpu")
    assert retriever.add({"_id": "a", "text": "erase a wire", "lang": "en"}) == ["a"]
    assert retriever.add([{"_id": "b", "text": "x", "metadata": "a string"}]) == ["b"]
    assert retriever.add(make_document("c")) == ["c"]
    assert retriever.put({"_id": "a", "text": "hide a wire", "title": "T"}) == ["a"]
    assert retriever.replace(iter([{"_id": "b", "text": "y"}])) == ["b"]
    assert retriever.documents.find("a").title == "T"
    before = retriever.version
    for documents, message in (
        ([{"_id": "d"}], "document 1: document 'd' has an empty text"),
        ([{"text": "x"}], r"document 1: no _id; add one .*: text"),
        ("a text", "documents 'a text': not documents; give a list of dicts"),
        (["a text"], "document 1: 'a text' is not a mapping"),
        ({"_id": "d", "text": "x", "links": [{"start": 0}]}, "lacks a field"),
    ):
        refused(retriever, lambda documents=documents: retriever.add(documents), message)
    assert retriever.version == before


def test_the_queries_of_a_document_may_be_one_string(folder):
    retriever = Retriever.load(folder, "cpu")
    retriever.add([make_document("a"), make_document("b")], {"a": "how to?", "b": ["x", "y"]})
    assert retriever.index.query_counts[-2:].tolist() == [1, 2]
    for queries, message in (
        ({"z": ["x"]}, "queries: 'z' is not the key of a given document"),
        ({"c": [" "]}, "queries: query 'c' has an empty text"),
        ({"c": ["\ud800"]}, "unpaired surrogate"),
        ({"c": [7]}, "text 7 is not a string"),
        ({"c": 7}, "queries of 'c': 7 is not a list of strings"),
        (["x"], r"queries \['x'\]: give a dict"),
    ):
        refused(
            retriever,
            lambda queries=queries: retriever.add([make_document("c")], queries),
            message,
        )


def test_saving_to_the_own_folder_survives_a_compaction_right_after(folder, monkeypatch):
    retriever = Retriever.load(folder, "cpu")
    retriever.delete(retriever.table.keys[:5])

    begin = retriever.updates.reload

    def reload():  # another process compacts before the folder is read again
        other = Retriever.load(folder, "cpu")
        other.compact()
        begin()

    monkeypatch.setattr(retriever.updates, "reload", reload)
    retriever.save(folder, overwrite=True)
    monkeypatch.undo()
    assert retriever.table.keys == retriever.documents.keys()
    retriever.add([make_document("a")])
    fresh = Retriever.load(folder, "cpu")
    assert len(fresh.table.keys) == 36 and retriever.version == fresh.version
    assert fresh.search("copy a file", 36) == retriever.search("copy a file", 36)


def test_a_search_uses_one_version_whatever_another_thread_applies(folder, monkeypatch):
    retriever, other = Retriever.load(folder, "cpu"), Retriever.load(folder, "cpu")
    before = retriever.search("copy a file", 3, where={"verb": "list"})
    gone = [key for key in other.table.keys if not key.startswith("list")][:20]
    other.delete(gone)
    other.compact()
    masks = retriever.index.masks.masks

    def meanwhile(*asked):
        found = masks(*asked)
        retriever.sync()  # as another thread may do at any time
        return found

    monkeypatch.setattr(retriever.index.masks, "masks", meanwhile)
    assert retriever.search("copy a file", 3, where={"verb": "list"}) == before
    assert len(retriever.table.keys) == 20


VERSIONED = ["atomic", "exact-words", "compact-words"]


@pytest.mark.parametrize("scheme", VERSIONED)
def test_a_search_scores_with_one_version_whatever_is_added(
    scheme, saved_models, tmp_path, monkeypatch
):
    retriever = Retriever.load(shutil.copytree(saved_models(scheme), tmp_path / "model"), "cpu")
    before, length = retriever.search(QUERIES, 99), len(retriever.table)
    score, added = WordSets.forward, []

    def meanwhile(words, ids):
        found = score(words, ids)
        if not added:
            added.extend(make_document(f"n{n}", f"{QUERIES[0]} new{n}") for n in range(9))
            with ThreadPoolExecutor(1) as other:
                other.submit(retriever.add, added).result()
        return found

    monkeypatch.setattr(WordSets, "forward", meanwhile)
    assert retriever.search(QUERIES, 99) == before
    assert len(retriever.table) == length + 9
    after = retriever.search(QUERIES, 99)
    assert after == reloaded(retriever).search(QUERIES, 99)
    assert all(len(hits) == length + 9 for hits in after)


@pytest.mark.parametrize("scheme", VERSIONED)
@pytest.mark.parametrize("steps", [beam_tree, explain])
def test_explanations_use_one_version(steps, scheme, saved_models, tmp_path, monkeypatch):
    retriever = Retriever.load(shutil.copytree(saved_models(scheme), tmp_path / "model"), "cpu")
    asked = (QUERIES[0],) if steps is beam_tree else (QUERIES[0], retriever.table.keys[-1], 9)
    before, encode = steps(retriever, *asked), Stage.encode

    def meanwhile(stage, texts):
        monkeypatch.undo()
        with ThreadPoolExecutor(1) as other:
            new = [make_document(f"a{n}", f"{QUERIES[0]} new{n}") for n in range(9)]
            other.submit(retriever.add, new).result()
        return encode(stage, texts)

    monkeypatch.setattr(Stage, "encode", meanwhile)
    assert steps(retriever, *asked) == before
    assert retriever.version == 1 and steps(retriever, *asked) != before


@pytest.mark.parametrize("scheme", VERSIONED)
def test_a_search_during_a_compaction_reads_all_documents(
    scheme, saved_models, tmp_path, monkeypatch
):
    retriever = Retriever.load(shutil.copytree(saved_models(scheme), tmp_path / "model"), "cpu")
    retriever.delete(retriever.table.keys[:20])
    before, save, during = retriever.search(QUERIES, 9), EncoderHeadModel.save, []

    def meanwhile(model, folder):
        during.append(retriever.search(QUERIES, 9))
        save(model, folder)

    monkeypatch.setattr(EncoderHeadModel, "save", meanwhile)
    retriever.compact()
    assert during == [before]
    assert [[hit.key for hit in own] for own in retriever.search(QUERIES, 9)] == [
        [hit.key for hit in own] for own in before
    ]


def test_a_row_with_invalid_word_ids_is_damage(folder):
    retriever, new = Retriever.load(folder, "cpu"), make_document("new")
    loaded = retriever.updates.loaded
    made = embed_documents(loaded, [new], {})
    made["new"].rows[0, loaded.model.encoder.dimension] = -1.0
    with retriever.updates.transaction() as writing:
        writing.append("add", plan_upserts(loaded, [new], made, {}))
    with pytest.raises(InputError, match=r"journal.*: damaged: a row has word ids that are not"):
        Retriever.load(folder, "cpu")
