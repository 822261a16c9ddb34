"""Input that readers leave out or alter is refused, or counted and logged."""

import json
import os

import pytest

from genir.corpus.layout import train_files
from genir.corpus.readers import holds_pages, read_corpus, read_qrels, read_queries
from genir.corpus.skipped_items import SkippedItems
from genir.corpus.trec_runs import read_run
from genir.errors import InputError
from genir.training.recipe_checks import train_queries
from genir.types import Document, Link, Qrel

ONE = '{"_id": "a", "text": "one"}\n'
QUERY = '{"_id": "q", "text": "which?"}\n'
QRELS = "query-id\tcorpus-id\tscore\nq\ta\t1\n"


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


# --- tables ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    ["id\ttext", "_id\ttext", "pid\tpassage", "docid\tcontents", "pid\tpassage_text",
     "docno\tabstract", "index\tcontent", "idx\tanswer", '"id"\t"text"', "Doc_ID\tDocument Text"],
)  # fmt: skip
def test_a_header_is_no_document(tmp_path, header, caplog):
    (tmp_path / "c.tsv").write_text(f"{header}\n1\tone\n")
    assert list(read_corpus(tmp_path / "c.tsv")) == [Document("1", "one")]
    assert "the first line is a header and was skipped: 1" in caplog.text


@pytest.mark.parametrize(
    ("rows", "noted"),
    [
        ("chiave\ttesto\nd1\tuno due\n", True),
        ("chiave\ttesto\nda\tuno due\n", False),
        ("d0\tuno\nd1\tuno due\n", False),
    ],
)
def test_a_first_line_that_may_be_a_header_is_reported(tmp_path, rows, noted, caplog):
    (tmp_path / "c.tsv").write_text(rows)
    assert len(list(read_corpus(tmp_path / "c.tsv"))) == 2
    message = "the first line may be a header, but is read as a record: 1 ('chiave\\ttesto')"
    assert [message in line for line in caplog.messages] == ([True] if noted else [])


def test_a_header_of_four_columns_and_of_queries(tmp_path, caplog):
    (tmp_path / "c.tsv").write_text("docid\turl\ttitle\tbody\n1\tu\tt\tb\n")
    assert list(read_corpus(tmp_path / "c.tsv")) == [Document("1", "b", "t", "u")]
    (tmp_path / "q.tsv").write_text("qid\tquery\n1\tone\n")
    assert list(read_queries(tmp_path / "q.tsv")) == ["1"]
    assert len(caplog.messages) == 2


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("c.tsv", "text\tid\none\t1\n", "columns in another order"),
        ("c.tsv", "id\ttitle\turl\ttext\n1\ta\tb\tc\n", "columns in another order"),
        ("q.tsv", "1\tu\tt\tb\n", "4 columns, expected 2 .*_id, text"),
    ],
)
def test_columns_in_another_order_or_number(tmp_path, file, text, message):
    (tmp_path / file).write_text(text)
    read = read_queries if file == "q.tsv" else lambda path: list(read_corpus(path))
    with pytest.raises(InputError, match=message):
        read(tmp_path / file)


def test_quotes_are_kept_and_said(tmp_path, caplog):
    (tmp_path / "c.tsv").write_text('1\t"one"\n2\t"two"\n')
    assert [d.text for d in read_corpus(tmp_path / "c.tsv")] == ['"one"', '"two"']
    assert "every text is in double quotes" in caplog.text
    caplog.clear()
    (tmp_path / "c.tsv").write_text('1\t"one"\n2\ttwo\n')
    assert len(list(read_corpus(tmp_path / "c.tsv"))) == 2
    assert not caplog.messages


def test_fields_of_queries_are_counted(tmp_path, caplog):
    lines = [QUERY, '{"_id": "r", "text": "x", "title": "t", "metadata": {"n": 1}}\n',
             '{"_id": "s", "text": "x", "title": "", "metadata": {}, "url": null, "n": 0}\n',
             '{"_id": "t", "text": "x", "metadata": {"n": 1}}\n']  # fmt: skip
    (tmp_path / "q.jsonl").write_text("".join(lines))
    assert list(read_queries(tmp_path / "q.jsonl")) == ["q", "r", "s", "t"]
    path = tmp_path / "q.jsonl"
    assert caplog.messages == [
        f"{path}: the field 'title' of queries is not read: 1 ('line 2')",
        f"{path}: the field 'metadata' of queries is not read: 2 (such as 'line 2')",
        f"{path}: the field 'n' of queries is not read: 1 ('line 3')",
    ]


def test_keys_with_spaces_between_tabs(tmp_path):
    (tmp_path / "qrels").write_text("\n1\t0\ta b.md\t1\n2 0 c 1\n")
    assert read_qrels(tmp_path / "qrels") == [Qrel("1", "a b.md"), Qrel("2", "c")]


@pytest.mark.parametrize("grade", ["1_0", "\u0661", "0x1", "1.0", "9" * 19, "1001", "-1001"])
def test_grades_are_digits(tmp_path, grade):
    (tmp_path / "qrels").write_text(f"q 0 a {grade}\n")
    with pytest.raises(InputError, match=r"qrels:1: grade .* is not a whole number from -1,000"):
        read_qrels(tmp_path / "qrels")


@pytest.mark.parametrize("fields", ["1_0 0.5", "1 1_000.5"])
def test_numbers_of_runs_have_no_underscores(tmp_path, fields):
    (tmp_path / "run").write_text(f"q Q0 a {fields} t\n")
    with pytest.raises(InputError, match="is not a number"):
        read_run(tmp_path / "run")


# --- folders -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "files",
    [
        {"corpus.jsonl": ONE, "collection.tsv": "1\tx\n"},
        {"corpus.jsonl": ONE, "corpus.jsonl.gz": ONE},
    ],
)
def test_two_collections_are_refused(tmp_path, files):
    write(tmp_path, files)
    with pytest.raises(InputError, match=r"holds corpus\.jsonl and .*; keep one, or give the file"):
        read_corpus(tmp_path)
    assert len(list(read_corpus(tmp_path / "corpus.jsonl"))) == 1


def test_ignored_files_beside_a_collection_are_counted(tmp_path, caplog):
    write(
        tmp_path,
        {
            "corpus.jsonl": ONE, "README.md": "x", "LICENSE": "x", "queries.jsonl": QUERY,
            "qrels/train.tsv": QRELS, ".DS_Store": "", "docs/a.md": "x", "Queries.jsonl": "x",
        },
    )  # fmt: skip
    assert len(list(read_corpus(tmp_path))) == 1
    reason = "beside the collection, other files and folders are not read"
    assert caplog.messages == [f"{tmp_path}: {reason}: 2 (such as 'Queries.jsonl')"]


@pytest.mark.parametrize("queries", ["queries.jsonl", "queries.tsv"])
def test_queries_of_a_folder_are_train_queries(tmp_path, queries):
    text = "q\twhich?\n" if queries.endswith(".tsv") else QUERY
    write(tmp_path, {"corpus.jsonl": ONE, queries: text, "qrels/train.tsv": QRELS})
    assert train_queries(tmp_path, None, None, {"a"}) == {"a": ["which?"]}


def test_judgements_without_queries_are_refused(tmp_path):
    write(tmp_path, {"corpus.jsonl": ONE, "qrels/train.tsv": QRELS})
    with pytest.raises(InputError, match=r"train\.tsv: judgements without queries; put"):
        train_files(tmp_path)
    write(tmp_path, {"queries.jsonl": QUERY, "queries.tsv": "q\tx\n"})
    with pytest.raises(InputError, match=r"holds queries\.jsonl and queries\.tsv; keep one"):
        train_files(tmp_path)


@pytest.mark.parametrize("name", ["qrels/train.txt", "qrels/train.qrels", "qrels.tsv"])
def test_judgements_under_another_name_are_said(tmp_path, name, caplog):
    write(tmp_path, {"corpus.jsonl": ONE, "queries.jsonl": QUERY, name: QRELS})
    write(tmp_path, {"qrels/test.tsv": QRELS})
    assert train_files(tmp_path) is None
    assert f"than qrels/train.tsv are not read: 1 ('{name}')" in caplog.text


def test_queries_beside_a_file_are_said(tmp_path, caplog):
    write(tmp_path, {"corpus.jsonl": ONE, "queries.jsonl": QUERY, "qrels/train.tsv": QRELS})
    assert train_files(tmp_path / "corpus.jsonl") is None
    assert "give its folder as the corpus" in caplog.text


def test_judgements_of_grade_zero_are_said(tmp_path, caplog):
    qrels = "query-id\tcorpus-id\tscore\nq\ta\t0\n"
    write(tmp_path, {"queries.jsonl": QUERY, "qrels/train.tsv": qrels})
    assert train_queries(tmp_path, None, None, {"a"}) == {}
    assert "judgements of grade 0 or less give no train query: 1 ('q')" in caplog.text


# --- links -------------------------------------------------------------------------------------


def test_addresses_and_targets_that_are_nowhere_are_said(tmp_path, caplog):
    records = [
        {"_id": "a", "text": "xyz", "links": ["https://x.org"]},
        {"_id": "b", "text": "xyz", "links": [{"start": 0, "end": 1, "target": "none"}]},
        {"_id": "c", "text": "xyz", "links": [{"start": 0, "end": 1, "target": "a"}]},
    ]
    path = tmp_path / "c.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    a, b, _ = read_corpus(path)
    assert dict(a.metadata) == {"links": ["https://x.org"]} and b.links == (Link(0, 1, "none"),)
    assert caplog.messages == [
        f"{path}: addresses under `links` are metadata and no hyperlinks: 1 ('a')",
        f"{path}: targets of links are no documents of this source: 1 ('b -> none')",
    ]


# --- pages -------------------------------------------------------------------------------------


def test_pages_that_are_not_read_are_counted(tmp_path, caplog):
    write(
        tmp_path,
        {
            "A.MD": "# A\n\n[b](B) [c](c.html) [gone](gone.md) [x](https://y.org) [top](#top)",
            "B.HTM": "<p>b</p>", "c.markdown": "c", "d.tex": "d", "e.tex": "e", "f.adoc": "f",
            "logo.png": "", ".draft.md": "x", ".hidden/g.md": "g", ".git/h.md": "h",
            "queries.jsonl": QUERY, "qrels/train.tsv": QRELS, "Makefile": "x",
        },
    )  # fmt: skip
    os.symlink(tmp_path, tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe.md")
    documents = {document.key: document for document in read_corpus(tmp_path)}
    assert list(documents) == ["A.MD", "B.HTM", "c.markdown"]
    assert [link.target for link in documents["A.MD"].links] == ["B.HTM", "c.markdown"]
    assert sorted(caplog.messages) == sorted(
        f"{tmp_path}: {note}"
        for note in (
            "symbolic links to folders are not followed: 1 ('loop')",
            "hidden pages are not read: 2 (such as '.draft.md')",
            "files with the suffix .tex are not read: 2 (such as 'd.tex')",
            "files with the suffix .adoc are not read: 1 ('f.adoc')",
            "pipes, sockets and devices are not read: 1 ('pipe.md')",
            "files with no suffix are not read: 1 ('Makefile')",
            "links lead to no page of the folder: 1 ('A.MD -> gone.md')",
        )
    )


def test_an_unclosed_hidden_element_is_reported(tmp_path, caplog):
    write(tmp_path, {"a.html": "<p>Shown.<nav><svg></svg>menu<p>Lost.", "b.html": "<nav>x</nav>b"})
    assert [document.text for document in read_corpus(tmp_path)] == ["Shown.", "b"]
    assert caplog.messages == [
        f"{tmp_path}: the text behind a <nav> that never ends is not read: 1 ('a.html')"
    ]


def test_notes_have_no_control_characters(tmp_path, caplog):
    write(tmp_path, {"a.md": "a", "b\x1b[2J.x\x9b\u202e": ""})
    assert len(list(read_corpus(tmp_path))) == 1
    assert caplog.messages[0].isprintable() and r"\x1b[2J" in caplog.messages[0]


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    write(tmp_path, {"a.md": "a", "closed/b.md": "b"})
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(InputError, match=r"closed: the folder cannot be read .Permission denied"):
        read_corpus(tmp_path)


@pytest.mark.parametrize("base_url", ["x.org/docs", "/docs", "https://", "https://x.org/?a=b"])
def test_a_base_url_is_an_address(tmp_path, base_url):
    write(tmp_path, {"a.md": "a"})
    with pytest.raises(InputError, match=r"base URL .*: write a URL"):
        list(read_corpus(tmp_path, base_url))


def test_a_base_url_without_pages_is_refused(tmp_path):
    write(tmp_path, {"corpus.jsonl": ONE})
    assert not holds_pages(tmp_path)
    with pytest.raises(InputError, match="a base URL is for a folder of pages"):
        read_corpus(tmp_path, "https://x.org")


@pytest.mark.parametrize(
    ("read", "name", "text"),
    [
        (read_queries, "q.tsv", "q1\tx\n\ufeffq2\ty\n"),
        (lambda path: list(read_corpus(path)), "c.tsv", "d1\tx\n\ufeffd2\ty\n"),
        (read_qrels, "qrels", "q1 0 d 1\n\ufeffq2 0 d 1\n"),
        (read_qrels, "qrels", "q1 0 d 1\nq2 0 \ufeffd 1\n"),
    ],
)
def test_a_byte_order_mark_inside_a_file_is_no_part_of_a_key(tmp_path, read, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=rf"{name}:2: the key .* begins with a byte order mark"):
        read(tmp_path / name)


def test_the_largest_and_smallest_grades_are_read(tmp_path):
    (tmp_path / "qrels").write_text("q 0 a 1000\nq 0 b -01000\nq 0 c +3\n")
    assert [one.grade for one in read_qrels(tmp_path / "qrels")] == [1000, -1000, 3]


def test_judgements_behind_a_link_to_nothing_are_refused(tmp_path):
    write(tmp_path, {"corpus.jsonl": ONE, "queries.jsonl": QUERY})
    assert train_files(tmp_path) is None
    (tmp_path / "qrels").symlink_to(tmp_path / "unmounted")
    with pytest.raises(
        InputError, match=r"/qrels: a symbolic link to nothing; restore its target or remove it"
    ):
        train_files(tmp_path)
    write(tmp_path / "unmounted", {"train.tsv": QRELS})
    assert train_files(tmp_path) == (tmp_path / "queries.jsonl", tmp_path / "qrels/train.tsv")


def test_names_in_notes_hide_nothing(caplog):
    notes = SkippedItems("here")
    notes.add("left out", "a\ufe0f\U000e0100\x1b[2J\n.md")
    notes.report()
    assert caplog.messages == [r"here: left out: 1 ('a\ufe0f\U000e0100\x1b[2J\n.md')"]
