"""add, delete, versions, rollback and compact on the command line."""

import gzip
import json

import pytest
from changing import found, make_document, state
from typer.testing import CliRunner

from genir.cli import app
from genir.corpus.serialization import record_of
from genir.errors import InputError
from genir.retriever import Retriever


def genir(*arguments):
    done = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def write(path, *documents):
    path.write_text("".join(json.dumps(record_of(one)) + "\n" for one in documents))
    return path


def keys_of(folder):
    return set(state(Retriever.load(folder, "cpu")))


def test_documents_come_and_go(folder, tmp_path):
    before = keys_of(folder)
    file = write(tmp_path / "new.jsonl", make_document("a"), make_document("b", "erase a wire"))
    out = genir("add", folder, file)
    assert out.startswith("2 documents added in ") and out.endswith("; version 1\n")
    report = json.loads(genir("delete", folder, "a", "copy-file", "--json"))
    assert report == {"documents": 2, "version": 2}
    (tmp_path / "keys").write_text("copy-disk\n\nb\n")
    assert genir("delete", folder, "--file", tmp_path / "keys").startswith("2 documents deleted")
    assert keys_of(folder) == before - {"copy-file", "copy-disk"}
    assert genir("rollback", folder, 1) == "42 documents, as at version 1; version 4\n"
    shown = genir("versions", folder)
    assert "documents changed" in shown  # and not the number there are
    assert "rollback to 1" in shown and shown.count("yes") == 5
    report = json.loads(genir("versions", folder, "--json"))
    assert [one["version"] for one in report] == [0, 1, 2, 3, 4] and report[4]["target"] == 1
    report = json.loads(genir("compact", folder, "--json"))
    assert (report["documents"], report["version"]) == (42, 4)
    assert keys_of(folder) == before | {"a", "b"}


def test_replacing_must_be_requested(folder, tmp_path):
    file = write(tmp_path / "new.jsonl", make_document("copy-file", "new"), make_document("a"))
    with pytest.raises(InputError, match="'copy-file' is there already; replace it"):
        genir("add", folder, file)
    report = json.loads(genir("add", folder, file, "--replace", "--json"))
    assert (report["documents"], report["version"]) == (2, 1) and report["seconds"] >= 0
    retriever = Retriever.load(folder, "cpu")
    assert retriever.documents.find("copy-file").text == "new" and "a" in found(retriever)


def test_queries_come_with_documents(folder, tmp_path):
    file = write(tmp_path / "new.jsonl", make_document("a"), make_document("b"))
    (tmp_path / "q.jsonl").write_text('{"_id": "1", "text": "x"}\n{"_id": "2", "text": "y"}\n')
    rows = ["query-id\tcorpus-id\tscore", "1\ta\t1", "2\ta\t1", "2\tcopy-file\t1"]
    (tmp_path / "q.tsv").write_text("\n".join(rows) + "\n")
    (tmp_path / "made.jsonl").write_text('{"document": "b", "text": "z"}\n')
    files = ("--queries", tmp_path / "q.jsonl", "--qrels", tmp_path / "q.tsv")
    genir("add", folder, file, *files, "--pseudo", tmp_path / "made.jsonl")
    retriever = Retriever.load(folder, "cpu")
    assert retriever.index.query_counts[-2:].tolist() == [2, 1]
    assert retriever.index.protected_queries.documents[-3:].tolist() == [40, 40, 41]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["delete"], "no key given; name keys"),
        (["delete", "nothing"], "no document with the key 'nothing'; nothing was deleted"),
        (["rollback", 3], "version 3: choose one from 0"),
        (["add", "new.jsonl", "--queries", "q.jsonl"], "--queries and --qrels: give both"),
        (["add", "none.jsonl"], r"none.jsonl: no such file"),
        (["add", "new.jsonl", "--pseudo", "made.jsonl"], "document 'x' is unknown"),
    ],
)
def test_impossible_changes_are_refused(folder, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "new.jsonl", make_document("a"))
    (tmp_path / "made.jsonl").write_text('{"document": "x", "text": "z"}\n')
    verb, *rest = arguments
    before = keys_of(folder)
    with pytest.raises(InputError, match=message):
        genir(verb, folder, *rest)
    assert keys_of(folder) == before


def pages(folder, **texts):
    folder.mkdir()
    for name, text in texts.items():
        (folder / f"{name}.md").write_text(text)
    return folder


def urls(folder):
    return {one.key: one.url for one in Retriever.load(folder, "cpu").documents}


def test_pages_are_added_under_the_base_url_of_the_training(folder, tmp_path):
    retriever = Retriever.load(folder, "cpu")
    retriever.index.manifest["base_url"] = "https://x.org/docs"  # as training does
    retriever.save(folder, overwrite=True)
    genir("add", folder, pages(tmp_path / "one", new="A page about parking."))
    two = pages(tmp_path / "two", more="A page about trains.")
    genir("add", folder, two, "--base-url", "https://y.org/")
    genir("compact", folder)
    three = pages(tmp_path / "three", last="A page about ships.")
    genir("add", folder, three)
    found = urls(folder)
    assert found["new.md"] == "https://x.org/docs/new"
    assert found["more.md"] == "https://y.org/more"
    assert found["last.md"] == "https://x.org/docs/last"


def test_a_base_url_for_records_is_refused_and_the_remembered_one_is_not(folder, tmp_path):
    retriever = Retriever.load(folder, "cpu")
    retriever.index.manifest["base_url"] = "https://x.org/docs"
    retriever.save(folder, overwrite=True)
    file = write(tmp_path / "new.jsonl", make_document("a"))
    with pytest.raises(InputError, match="a base URL is for a folder of pages"):
        genir("add", folder, file, "--base-url", "https://x.org")
    genir("add", folder, file)
    assert "a" in keys_of(folder)


def test_queries_that_are_not_read_are_said(folder, tmp_path, caplog):
    corpus = tmp_path / "corpus"
    (corpus / "qrels").mkdir(parents=True)
    write(corpus / "corpus.jsonl", make_document("a"))
    (corpus / "queries.jsonl").write_text('{"_id": "1", "text": "x"}\n')
    (corpus / "qrels/train.tsv").write_text("query-id\tcorpus-id\tscore\n1\tcopy-file\t1\n")
    genir("add", folder, corpus)
    assert caplog.messages == [
        f"{corpus}: its train queries are ignored; give them as --queries and --qrels"
    ]
    caplog.clear()
    files = ("--queries", corpus / "queries.jsonl", "--qrels", corpus / "qrels/train.tsv")
    genir("add", folder, corpus, "--replace", *files)
    assert "ignored queries of other documents: 1 ('copy-file')" in (caplog.text)


def test_keys_to_delete_may_be_utf_16_or_gzip(folder, tmp_path):
    (tmp_path / "keys").write_bytes("copy-disk\r\n".encode("utf-16"))
    genir("delete", folder, "--file", tmp_path / "keys")
    (tmp_path / "keys").write_bytes(gzip.compress(b"\xef\xbb\xbfcopy-file\n"))
    genir("delete", folder, "--file", tmp_path / "keys")
    assert not keys_of(folder) & {"copy-disk", "copy-file"}
    (tmp_path / "keys").write_bytes("Käse\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"keys:1: not UTF-8 .*WINDOWS-1252"):
        genir("delete", folder, "--file", tmp_path / "keys")
