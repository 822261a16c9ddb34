"""Corpus folders from strangers: only regular files inside the folder are read, within bounds."""

import gzip
import os
import socket

import pytest

from genir import text_files
from genir.corpus import page_folder
from genir.corpus.layout import train_files
from genir.corpus.readers import read_corpus, read_queries
from genir.errors import InputError
from genir.models.digests import file_digest
from genir.text_files import read_lines, read_text

ONE = '{"_id": "a", "text": "one"}\n'
QUERY = '{"_id": "q", "text": "which?"}\n'
QRELS = "query-id\tcorpus-id\tscore\nq\ta\t1\n"
OUTSIDE = "symbolic links to files outside the folder are not read"
NOTHING = "symbolic links to nothing are not read"
SPECIAL = "pipes, sockets and devices are not read"


@pytest.fixture
def outside(tmp_path):
    """Return a folder with files that no corpus beside it may reach."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("root:x:0:0")
    (folder / "corpus.jsonl").write_text(ONE)
    (folder / "queries.jsonl").write_text(QUERY)
    (folder / "train.tsv").write_text(QRELS)
    return folder


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    return folder


# --- pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("{outside}/secret", OUTSIDE),
        ("../outside/secret", OUTSIDE),
        ("chain", OUTSIDE),
        ("/etc/passwd", OUTSIDE),
        ("absent", NOTHING),
        ("page.md", NOTHING),
        ("/dev/zero", SPECIAL),
        ("pipe", SPECIAL),
    ],
)
def test_a_page_that_is_no_file_of_the_folder_is_counted(
    corpus, outside, target, reason, caplog
):  # fmt: skip
    (corpus / "a.md").write_text("a")
    (corpus / "chain").symlink_to("chain-2")
    (corpus / "chain-2").symlink_to(outside / "secret")
    os.mkfifo(corpus / "pipe")
    (corpus / "page.md").symlink_to(target.format(outside=outside))
    assert [document.key for document in read_corpus(corpus)] == ["a.md"]
    assert f"{corpus}: {reason}: 1 ('page.md')" in caplog.messages


def test_a_link_to_a_folder_outside_is_counted(corpus, outside, caplog):
    (outside / "b.md").write_text("secret")
    (corpus / "a.md").write_text("a")
    (corpus / "more").symlink_to(outside)
    assert [document.key for document in read_corpus(corpus)] == ["a.md"]
    assert caplog.messages == [
        f"{corpus}: symbolic links to folders are not followed: 1 ('more')"
    ]  # fmt: skip


def test_links_inside_the_folder_are_read(corpus):
    (corpus / "inner").mkdir()
    (corpus / "inner" / "a.md").write_text("a")
    (corpus / "b.md").symlink_to("inner/a.md")
    (corpus / "c.md").symlink_to(corpus / "b.md")
    assert [one.text for one in read_corpus(corpus)] == ["a", "a", "a"]


def test_a_folder_of_nothing_but_links_says_why_it_has_no_documents(corpus, outside, caplog):
    (corpus / "a.md").symlink_to(outside / "secret")
    with pytest.raises(InputError, match=f"^{corpus}: no documents"):
        read_corpus(corpus)
    assert caplog.messages == [f"{corpus}: {OUTSIDE}: 1 ('a.md')"]


def test_folders_nested_too_deeply_are_refused(corpus):
    place = corpus
    for _ in range(120):
        place /= "a"
        place.mkdir()
    (place / "a.md").write_text("a")
    with pytest.raises(InputError, match=r"^.{100,250}: more than 100 folders deep; move its"):
        read_corpus(corpus)


# --- named files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["corpus.jsonl", "collection.tsv", "corpus.jsonl.gz"])
@pytest.mark.parametrize("target", ["{outside}/corpus.jsonl", "../outside/secret", "absent",
                                    "/dev/zero", "{outside}"])  # fmt: skip
def test_a_collection_outside_the_folder_is_refused(corpus, outside, name, target):
    (corpus / name).symlink_to(target.format(outside=outside))
    with pytest.raises(InputError, match=rf"^{corpus / name}: not a regular file inside the fol"):
        read_corpus(corpus)


@pytest.mark.parametrize("name", ["queries.jsonl", "qrels/train.tsv"])
def test_queries_and_judgements_outside_the_folder_are_refused(corpus, outside, name):
    (corpus / "qrels").mkdir()
    for own, text in (("corpus.jsonl", ONE), ("queries.jsonl", QUERY), ("qrels/train.tsv", QRELS)):
        (corpus / own).write_text(text)
    assert train_files(corpus) is not None
    (corpus / name).unlink()
    (corpus / name).symlink_to(outside / (corpus / name).name)
    with pytest.raises(InputError, match=rf"^{corpus / name}: not a regular file inside the fol"):
        train_files(corpus)


def test_a_folder_of_judgements_outside_the_folder_is_refused(corpus, outside):
    for own, text in (("corpus.jsonl", ONE), ("queries.jsonl", QUERY)):
        (corpus / own).write_text(text)
    (corpus / "qrels").symlink_to(outside)
    with pytest.raises(InputError, match=r"qrels/train\.tsv: not a regular file inside"):
        train_files(corpus)


def test_a_snapshot_of_the_hub_may_link_to_its_blobs(tmp_path):
    snapshot = tmp_path / "datasets--x" / "snapshots" / "revision"
    snapshot.mkdir(parents=True)
    (tmp_path / "datasets--x" / "blobs").mkdir()
    (tmp_path / "datasets--x" / "blobs" / "hash").write_text(ONE)
    (snapshot / "corpus.jsonl").symlink_to("../../blobs/hash")
    assert [one.key for one in read_corpus(snapshot)] == ["a"]


def test_a_folder_of_blobs_beside_another_folder_is_outside(tmp_path, corpus):
    (tmp_path.parent / "blobs").mkdir(exist_ok=True)
    (tmp_path.parent / "blobs" / "hash").write_text(ONE)
    (corpus / "corpus.jsonl").symlink_to("../../blobs/hash")
    with pytest.raises(InputError, match="not a regular file inside the folder"):
        read_corpus(corpus)


def test_a_file_that_is_given_itself_may_be_a_link(corpus, outside):
    (corpus / "mine.jsonl").symlink_to(outside / "corpus.jsonl")
    assert [one.key for one in read_corpus(corpus / "mine.jsonl")] == ["a"]


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_a_pipe_a_socket_or_a_device_is_no_corpus(corpus, kind, monkeypatch):
    path = corpus / "x.jsonl"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        monkeypatch.chdir(corpus)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("x.jsonl")
    for read in (lambda: list(read_corpus(path)), lambda: read_queries(path)):
        with pytest.raises(InputError, match=f"^{path}: not a regular file; write"):
            read()
    with pytest.raises(InputError, match=f"^{path}: not a regular file"):
        file_digest(path)


# --- sizes ---------------------------------------------------------------------------------------


def write(path, data):
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_a_line_too_long_is_refused_before_it_is_read(tmp_path, name, encoding, monkeypatch):
    monkeypatch.setattr(text_files, "MAX_LINE_BYTES", 10_000)
    text = ONE + '{"_id": "b", "text": "' + "\u0a0ax" * 10_000 + '"}\n'
    path = write(tmp_path / name, text.encode(encoding))
    with pytest.raises(InputError, match=rf"^{path}:2: a line of more than 10,000 bytes; write"):
        list(read_corpus(path))


def test_a_gzip_bomb_of_one_line_is_refused(tmp_path):
    with gzip.open(tmp_path / "x.jsonl.gz", "wb", compresslevel=1) as file:
        for _ in range(65):
            file.write(b" " * 2**20)
    with pytest.raises(InputError, match=r"x\.jsonl\.gz: more than 67,108,864 bytes unpacked"):
        list(read_corpus(tmp_path / "x.jsonl.gz"))


def test_a_gzip_bomb_of_many_lines_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "FREE_BYTES", 10_000)
    lines = "".join(f'{{"_id": "{n}", "text": "{"a" * 1000}"}}\n' for n in range(300))
    path = write(tmp_path / "x.jsonl.gz", lines.encode())
    with pytest.raises(InputError, match=rf"^{path}: more than [\d,]+ bytes unpacked; give"):
        list(read_corpus(path))
    monkeypatch.setattr(text_files, "FREE_BYTES", 10**6)
    assert len(list(read_corpus(path))) == 300


def test_a_file_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "MAX_FILE_BYTES", len(ONE) * 3)
    path = write(tmp_path / "x", ONE.encode() * 4)
    with pytest.raises(InputError, match=rf"^{path}: more than {len(ONE) * 3} bytes; give a small"):
        list(read_lines(path))


@pytest.mark.parametrize("name", ["x.md", "x.html", "x.txt"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_page_too_large_is_refused(corpus, name, packed, monkeypatch):
    monkeypatch.setattr(page_folder, "MAX_PAGE_CHARS", 1000)
    data = b"a line\n" * 150
    (corpus / name).write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(InputError, match=rf"{name}: more than 1,000 characters, unpacked; split"):
        list(read_corpus(corpus))


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_text_of_just_the_size_is_read(tmp_path, end):
    (tmp_path / "x").write_text("abc\ndef" + end)
    assert read_text(tmp_path / "x", 7) == "abc\ndef\n"
    with pytest.raises(InputError, match="more than 5 characters"):
        read_text(tmp_path / "x", 5)
