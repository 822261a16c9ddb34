"""Every reader of a text file supports the same encodings, and names unreadable bytes."""

import bz2
import gzip
import io
import lzma
import os
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genir.config import load_recipe
from genir.corpus.pseudo_queries import read_pseudo_queries
from genir.corpus.readers import read_corpus, read_qrels, read_queries
from genir.corpus.trec_runs import read_run
from genir.errors import InputError
from genir.serving.tokens import TokenSpec, new_token, read_tokens
from genir.text_files import number_lines, read_lines, read_text
from genir.types import Document, Hit, Qrel, Query

ENCODED = {
    "UTF-8": lambda text: text.encode(),
    "UTF-8 with a mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16, little end first": lambda text: b"\xff\xfe" + text.encode("utf-16-le"),
    "UTF-16, big end first": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "gzip": lambda text: gzip.compress(text.encode()),
    "gzip of UTF-16 with a mark": lambda text: gzip.compress(text.encode("utf-16")),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "no last line feed": lambda text: text.removesuffix("\n").encode(),
}
READERS = {
    "corpus.jsonl": (
        '{"_id": "ä", "text": "grün Ċ ਊ 😀"}\n',
        lambda path: list(read_corpus(path)),
        [Document("ä", "grün Ċ ਊ 😀")],
    ),
    "collection.tsv": (
        "1\tgrün\n2\tਊ\n",
        lambda path: list(read_corpus(path)),
        [Document("1", "grün"), Document("2", "ਊ")],
    ),
    "queries.tsv": ("q\tgrün ਊ\n", read_queries, {"q": Query("q", "grün ਊ")}),
    "queries.jsonl.gz": ('{"_id": "q", "text": "ਊ"}\n', read_queries, {"q": Query("q", "ਊ")}),
    "train.tsv": ("query-id\tcorpus-id\tscore\nq\tä\t1\n", read_qrels, [Qrel("q", "ä")]),
    "qrels.txt": ("q 0 ä 1\n", read_qrels, [Qrel("q", "ä")]),
    "run.trec": ("q Q0 ä 1 0.5 ਊ\n", read_run, {"q": [Hit("ä", 0.5, 1)]}),
    "recipe.toml": (
        'name = "grün ਊ"\n[[tasks]]\ntask = "queries"\n',
        lambda path: load_recipe(path).name,
        "grün ਊ",
    ),
    "pseudo.jsonl": (
        '{"document": "ä", "text": "ਊ"}\n',
        lambda path: read_pseudo_queries(path, {"ä"}),
        {"ä": ["ਊ"]},
    ),
    "tokens.json": (
        '{"tokens": [{"name": "me", "sha256": "%s", "where": {"grün": "ਊ"}}]}\n' % ("0" * 64),
        lambda path: [(one.name, one.where) for one in read_tokens(path)],
        [("me", {"grün": "ਊ"})],
    ),
    "page.md": (
        "---\ntitle: grün\n---\nText ਊ\n",
        lambda path: [(d.title, d.text) for d in read_corpus(path.parent)],
        [("grün", "Text ਊ")],
    ),
    "page.txt": (
        "Text ਊ\n",
        lambda path: [(d.title, d.text) for d in read_corpus(path.parent)],
        [("Page", "Text ਊ")],
    ),
}


@pytest.mark.parametrize("encoding", ENCODED)
@pytest.mark.parametrize("name", READERS)
def test_every_reader_takes_every_encoding(tmp_path, name, encoding):
    text, read, expected = READERS[name]
    (tmp_path / name).write_bytes(ENCODED[encoding](text))
    assert read(tmp_path / name) == expected


def _zip(content):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a", content)
    return stream.getvalue()


REFUSED = {
    "Latin-1": ("Über\nKäse\n".encode("latin-1"), ":1: not UTF-8 .*0xdc at 0.*-f ENCODING"),
    "Shift JIS": ("日本語の文書\n".encode("shift-jis"), "not UTF-8 .*iconv -f ENCODING"),
    "mixed": ("grün ".encode() + "grün\n".encode("latin-1"), "not UTF-8 .*-f ENCODING"),
    "UTF-16 without a mark": ("text\n".encode("utf-16-le"), ":1: .*without a byte order mark"),
    "cut UTF-16": (b"\xff\xfea\0b", ":1: not UTF-16-LE"),
    "half a surrogate pair": (b"\xff\xfe\x00\xd8a\0", ":1: not UTF-16-LE"),
    "surrogate in UTF-8": (b"\xed\xa0\x80\n", ":1: not UTF-8"),
    "zip": (_zip("text"), "is a zip archive"),
    "bzip2": (bz2.compress(b"text"), "is bzip2"),
    "xz": (lzma.compress(b"text"), "is xz"),
    "gzip twice": (gzip.compress(gzip.compress(b"text")), "is gzip"),
    "cut gzip": (gzip.compress(b"text" * 99)[:-9], "damaged gzip"),
    "gzip's first bytes alone": (b"\x1f\x8b", "damaged gzip"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("file", READERS)
def test_every_reader_refuses_other_bytes_by_name(tmp_path, file, name):
    content, message = REFUSED[name]
    (tmp_path / file).write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        READERS[file][1](tmp_path / file)
    assert str(error.value).startswith(str(tmp_path / file))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("fine\n“x”\n".encode("cp1252"), r"x:2: not UTF-8 \(byte 0x93 at 0\)"),
        (b"\xff\xfea\0\n\0\x00\xd8a\0", "x:2: not UTF-16-LE"),
        (b"fine\na\0b\n", "x:2: holds a NUL byte"),
    ],
)
def test_the_line_is_named(tmp_path, content, message):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(read_lines(tmp_path / "x"))


@pytest.mark.parametrize("encoding", ["UTF-16LE", "UTF-16BE", "UTF-32LE", "UTF-32BE"])
def test_the_encoding_of_latin_text_with_nul_bytes_is_named(tmp_path, encoding):
    path = tmp_path / "x"
    path.write_bytes("hello “world”\nnext\n".encode(encoding))
    with pytest.raises(InputError, match=f"x:1: .*iconv -f {encoding} -t UTF-8 {path} > NEW"):
        read_text(path)


@pytest.mark.parametrize(
    "content",
    [
        b"abc\0def",
        b"\0\0\0",
        b"a\0",
        b"\0",
        "привет, мир".encode("utf-16-le"),
        b"a\0\0\0bc\0\0",
        "ййй\nhello\n".encode("utf-16-le"),
    ],
)
def test_no_encoding_is_guessed_from_a_stray_nul_byte(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InputError, match=r"x:[12]: .*stray NUL bytes; .*iconv -f ENCODING"):
        read_text(tmp_path / "x")


@pytest.mark.parametrize(
    ("text", "encoding"), [("Größe", "cp1252"), ("hűvös", "cp1250"), ("привет", "koi8-r")]
)
def test_no_encoding_is_guessed_from_letters(tmp_path, text, encoding):
    (tmp_path / "x").write_bytes(text.encode(encoding))
    with pytest.raises(InputError, match=r"x:1: not UTF-8 .* from its encoding: iconv -f ENCODING"):
        read_text(tmp_path / "x")


def test_places_that_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path / "none", "no such file"),
        (tmp_path, "not a regular file; write its content to a file first"),
        (tmp_path / "pipe", "not a regular file"),  # opening it would block
    ):
        with pytest.raises(InputError, match=message):
            read_text(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_text(tmp_path / "a\0b")


def test_a_token_file_keeps_its_tokens_under_a_byte_order_mark(tmp_path):
    path = tmp_path / "tokens.json"
    new_token(path, TokenSpec("one"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    new_token(path, TokenSpec("two"))
    assert [token.name for token in read_tokens(path)] == ["one", "two"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"tokens": [{"name": "x", "sha256": "S", "where": {"tenant": "a"}, "where": {}}]}',
            "the field 'where' is given twice",
        ),
        ('{"tokens": [{"where": {"tenant": "a", "tenant": "b"}}]}', "'tenant' is given twice"),
        ('{"tokens": [{"name": "x"}], "tokens": []}', "the field 'tokens' is given twice"),
        ('{"tokens": [}', r"malformed JSON \(Expecting value\) at column 13"),
        ("[" * 100_000, "nested deeper than 100 levels at column 101"),
        (
            '{"tokens":\n[{"n": ' + "9" * 5_000,
            "an integer of more than 4,300 digits at line 2, column 8",
        ),
        ('{"tokens": [{"sha256": 1}]}', r"tokens\.0\.name: Field required"),
    ],
)
def test_a_token_file_with_a_field_given_twice_or_no_json_is_refused(tmp_path, text, message):
    path = tmp_path / "tokens.json"
    path.write_text(text.replace('"S"', f'"{"0" * 64}"'))
    with pytest.raises(InputError, match=rf"tokens\.json: .*{message}.*; genir token new"):
        read_tokens(path)


@given(
    st.lists(st.text(st.characters(exclude_characters="\0\n\r", exclude_categories=["Cs"]))),
    st.sampled_from(["utf-8-sig", "utf-16", "utf-32"]),
)
def test_lines_are_the_same_in_every_encoding(lines, encoding):
    stream = io.BytesIO("".join(f"{line}\n" for line in lines).encode(encoding))
    assert [line for _, line in number_lines(stream, "x")] == lines


def test_only_a_line_feed_ends_a_line(tmp_path):
    (tmp_path / "x").write_bytes("a\x0b\x0c\x1c\x85\u2028b\nc".encode())
    assert list(read_lines(tmp_path / "x")) == [(1, "a\x0b\x0c\x1c\x85\u2028b"), (2, "c")]
