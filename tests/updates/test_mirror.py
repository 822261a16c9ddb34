"""Mirroring: a model's documents are made equal to a corpus, as one version."""

import random
import shutil
from dataclasses import replace

import numpy as np
import pytest
from changing import edit_pages, found, make_document, state, text_of, write_page
from tiny import small

from genir.api import train
from genir.errors import InputError
from genir.retriever import Retriever
from genir.types import Link
from genir.updates.changes import Upsert
from genir.updates.difference import Difference

SCHEMES = ["atomic", "residual", "hierarchical", "url"]


@pytest.fixture(params=SCHEMES)
def retriever(request, saved_models, tmp_path):
    folder = shutil.copytree(saved_models(request.param), tmp_path / "model")
    return Retriever.load(folder, "cpu")


@pytest.fixture
def atomic(folder):
    return Retriever.load(folder, "cpu")


def documents_of(retriever):
    return dict(sorted(retriever.documents.fetch(list(state(retriever))).items()))


def moved(document, key):
    return replace(document, key=key, url=f"https://docs.example.org/moved/{key}")


def changed_corpus(documents):
    """Return documents after an edit, a rename, a deletion, an addition and other metadata."""
    new = dict(documents)
    new["copy-file"] = replace(new["copy-file"], text="Another text about ships.")
    new["renamed"] = moved(new.pop("copy-disk"), "renamed")
    del new["list-disk"]
    new["added"] = make_document("added")
    new["delete-file"] = replace(new["delete-file"], metadata={"lang": "de"})
    return new


def rows(retriever, key):
    """Return the parameter rows of a document, None for models without."""
    if not retriever.model.has_document_rows:
        return None
    table = retriever.table
    return retriever.model.copy_rows(
        table.symbols[table.rows_of(table.number(key)), 0].astype(np.int64)
    )


def test_every_kind_of_change_is_one_version(retriever):
    before = documents_of(retriever)
    wanted = changed_corpus(before)
    identifiers = {
        key: retriever.table.identifiers_of(retriever.table.number(key)) for key in before
    }
    kept = {key: rows(retriever, key) for key in before}
    difference = retriever.mirror(wanted.values())
    assert difference.added == ["added"] and difference.deleted == ["list-disk"]
    assert sorted(difference.changed) == ["copy-file", "delete-file"]
    assert difference.renamed == {"copy-disk": "renamed"}
    assert difference.unchanged == len(before) - 4
    assert retriever.version == 1 and [one.kind for one in retriever.versions()][1:] == ["sync"]
    expected = {key: text_of(one) for key, one in wanted.items()}
    assert state(retriever) == expected
    assert state(Retriever.load(retriever.folder, "cpu")) == expected
    (change,) = retriever.updates.changes()
    touched = {"copy-file", "delete-file", "renamed", "copy-disk", "list-disk", "added"}
    assert {entry.key for entry in change.entries} == touched
    for key in before.keys() - touched:
        assert retriever.table.identifiers_of(retriever.table.number(key)) == identifiers[key]
        assert np.array_equal(rows(retriever, key), kept[key])
    assert sorted(found(retriever)) == sorted(wanted)
    assert retriever.mirror(wanted.values()).is_empty and retriever.version == 1


def test_a_dry_run_changes_nothing(atomic):
    before = state(atomic)
    wanted = changed_corpus(documents_of(atomic)).values()
    planned = atomic.mirror(wanted, dry_run=True)
    assert state(atomic) == before and atomic.version == 0
    assert atomic.mirror(wanted) == planned


def test_a_renamed_document_keeps_its_row_and_queries(atomic):
    before = documents_of(atomic)
    former, number = rows(atomic, "copy-file"), atomic.table.number("copy-file")
    protected = atomic.index.protected_queries
    own = protected.vectors[protected.documents == number]
    counts = atomic.index.query_counts[number]
    assert len(own) and counts
    wanted = before | {"renamed": moved(before["copy-file"], "renamed")}
    del wanted["copy-file"]
    atomic.mirror(wanted.values())
    for loaded in (atomic, Retriever.load(atomic.folder, "cpu")):
        new, protected = loaded.table.number("renamed"), loaded.index.protected_queries
        assert np.array_equal(rows(loaded, "renamed"), former)
        assert np.array_equal(protected.vectors[protected.documents == new], own)
        assert loaded.index.query_counts[new] == counts
    atomic.compact()
    assert np.array_equal(rows(atomic, "renamed"), former)


def test_a_new_text_is_embedded_anew(atomic):
    wanted = documents_of(atomic)
    former = rows(atomic, "copy-file")
    wanted["copy-file"] = replace(wanted["copy-file"], text="Another text about ships.")
    atomic.mirror(wanted.values())
    assert not np.allclose(rows(atomic, "copy-file"), former)
    assert atomic.index.query_counts[atomic.table.number("copy-file")] == 0


@pytest.mark.parametrize("scheme", ["atomic", "residual"])
def test_another_url_or_link_changes_no_parameter(saved_models, tmp_path, scheme):
    retriever = Retriever.load(shutil.copytree(saved_models(scheme), tmp_path / "model"), "cpu")
    before = documents_of(retriever)
    scores = [(hit.key, hit.score) for hit in retriever.search("erase a drive", 40)[0]]
    wanted = {key: moved(one, key) for key, one in before.items()}
    wanted["copy-file"] = replace(wanted["copy-file"], links=(Link(0, 3, "copy-disk"),))
    difference = retriever.mirror(wanted.values())
    assert sorted(difference.changed) == sorted(before) and not difference.unchanged
    after = [(hit.key, hit.score) for hit in retriever.search("erase a drive", 40)[0]]
    assert [key for key, _ in after] == [key for key, _ in scores]
    assert [score for _, score in after] == pytest.approx([score for _, score in scores], abs=1e-5)


def test_the_units_of_renamed_and_changed_documents_keep_their_rows(tiny_encoder, tmp_path):
    settings = [*small("default", tiny_encoder, tmp_path), "identifiers.units=windows",
                "identifiers.unit_words=16"]  # fmt: skip
    text = " ".join(f"{word} a file or a drive." for word in ("copy", "erase", "list", "show") * 6)
    given = [{"_id": f"d{n}", "title": f"T {n}", "text": f"{n} {text}"} for n in range(6)]
    retriever = train(given, "default", out=tmp_path / "model", settings=settings)
    wanted = documents_of(retriever)
    spans = units(retriever, "d2")
    assert len(spans) > 1
    former, other = rows(retriever, "d2"), rows(retriever, "d1")
    wanted["renamed"] = moved(wanted.pop("d2"), "renamed")
    wanted["d1"] = replace(wanted["d1"], url="https://x.org/d1")
    retriever.mirror(wanted.values())
    for loaded in (retriever, Retriever.load(retriever.folder, "cpu")):
        assert units(loaded, "renamed") == spans
        assert np.array_equal(rows(loaded, "renamed"), former)
        assert np.array_equal(rows(loaded, "d1"), other)


def units(retriever, key):
    """Return the units of a document in the order of its symbols."""
    table = retriever.table
    return table.spans[table.rows_of(table.number(key))].tolist()


def test_a_deleted_page_comes_back_as_it_was(atomic):
    before = documents_of(atomic)
    former = rows(atomic, "copy-file")
    fewer = {key: one for key, one in before.items() if key != "copy-file"}
    atomic.mirror(fewer.values())
    difference = atomic.mirror(before.values())
    assert difference.added == ["copy-file"] and atomic.version == 2
    assert not any(isinstance(one, Upsert) for one in atomic.updates.changes()[-1].entries)
    assert np.array_equal(rows(atomic, "copy-file"), former)
    assert state(atomic) == {key: text_of(one) for key, one in before.items()}


def test_a_wrong_folder_deletes_nothing(atomic):
    before = documents_of(atomic)
    few = dict(list(before.items())[:15])
    with pytest.raises(InputError, match=r"25 of 40 documents .* more than 50%; check the folder"):
        atomic.mirror(few.values())
    with pytest.raises(InputError, match="max_deleted = 2: give a share from 0 to 1"):
        atomic.mirror(few.values(), max_deleted=2)
    assert atomic.version == 0
    atomic.mirror(few.values(), max_deleted=0.625)
    assert documents_of(atomic).keys() == few.keys()


def test_changes_of_another_process_are_compared_again(atomic, monkeypatch):
    """Another process changes documents while this one embeds the new ones."""
    wanted = changed_corpus(documents_of(atomic))
    other, embed = Retriever.load(atomic.folder, "cpu"), []

    def meanwhile(*arguments):
        if not embed:
            embed.append(True)
            other.add([make_document("foreign"), make_document("added", "another text")])
            other.delete("list-file")
        return real(*arguments)

    from genir.updates import mirror

    real = mirror.embed_documents
    monkeypatch.setattr(mirror, "embed_documents", meanwhile)
    difference = atomic.mirror(wanted.values())
    assert difference.deleted == ["foreign", "list-disk"] and "added" in difference.changed
    assert difference.added == ["list-file"] and atomic.version == 3
    assert state(atomic) == {key: text_of(one) for key, one in wanted.items()}


def test_swapped_and_equal_texts(atomic):
    wanted = documents_of(atomic)
    one, two = wanted["copy-file"], wanted["copy-disk"]
    wanted["copy-file"] = replace(two, key="copy-file")
    wanted["copy-disk"] = replace(one, key="copy-disk")
    wanted["twin-a"] = moved(wanted["delete-file"], "twin-a")
    wanted["twin-b"] = moved(wanted.pop("delete-file"), "twin-b")
    difference = atomic.mirror(wanted.values())
    assert difference.renamed == {"delete-file": "twin-a"} and difference.added == ["twin-b"]
    assert state(atomic) == {key: text_of(one) for key, one in wanted.items()}


def test_an_unsupported_insertion_is_refused_and_a_deletion_is_not(
    saved_models, tmp_path, monkeypatch
):
    from genir.updates.loaded_model import LoadedModel

    retriever = Retriever.load(shutil.copytree(saved_models("atomic"), tmp_path / "model"), "cpu")
    monkeypatch.setattr(LoadedModel, "insert_unsupported_reason", "no insertions")
    wanted = documents_of(retriever)
    del wanted["copy-file"]
    assert retriever.mirror(wanted.values()).deleted == ["copy-file"]
    with pytest.raises(InputError, match="no insertions"):
        retriever.mirror([*wanted.values(), make_document("new")])
    assert state(retriever) == {key: text_of(one) for key, one in wanted.items()}


def test_the_same_documents_as_a_training_from_scratch(tiny_encoder, tmp_path):
    """Edit, rename, delete and add pages at random; compare with a new training, key by key."""
    rng, site = random.Random(0), tmp_path / "site"
    for number in range(20):
        write_page(site, rng, f"part-{number % 3}/page-{number}.md")
    write_page(site, rng, "index.md")
    settings = small("default", tiny_encoder, tmp_path)
    url = "https://x.org/docs"

    def trained(name):
        return train(site, "default", out=tmp_path / name, settings=settings, base_url=url)

    retriever = trained("model")
    for _ in range(3):
        edit_pages(site, rng)
        pages = state(retriever)
        difference = retriever.mirror(site)
        scratch = Retriever.load(trained("scratch").folder, "cpu")
        assert (
            state(retriever) == state(Retriever.load(tmp_path / "model", "cpu")) == state(scratch)
        )
        same = {key for key, one in state(scratch).items() if pages.get(key) == one}
        assert difference.unchanged == len(same)
        touched = {entry.key for entry in retriever.updates.changes()[-1].entries}
        assert touched == (pages.keys() | state(scratch).keys()) - same
        shutil.rmtree(tmp_path / "scratch")


def test_an_empty_difference_has_no_effect():
    assert Difference().is_empty and not Difference(deleted=["a"]).is_empty
