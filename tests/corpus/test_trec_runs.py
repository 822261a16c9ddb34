import pytest
from hypothesis import given
from hypothesis import strategies as st

from genir.corpus.trec_runs import escape_key, read_run, unescape_key, write_run
from genir.errors import InputError
from genir.types import Hit

KEYS = st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=6)


def test_lines_as_trec_wants_them(tmp_path):
    path = tmp_path / "out.trec"
    answers = {"q1": [Hit("a/b", -0.25, 1), Hit("c", -1, 2)], "q2": [], "q3": [Hit("a/b", 3.5, 1)]}
    write_run(path, answers, tag="mine")
    assert path.read_text() == "q1 Q0 a/b 1 -0.25 mine\nq1 Q0 c 2 -1.0 mine\nq3 Q0 a/b 1 3.5 mine\n"


@given(
    st.dictionaries(
        KEYS, st.lists(st.tuples(KEYS, st.floats(-1e9, 1e9)), min_size=1, unique_by=lambda r: r[0])
    )
)
def test_round_trip(tmp_path_factory, rows):
    answers = {
        query: [
            Hit(key, score, rank)
            for rank, (key, score) in enumerate(sorted(own, key=lambda row: -row[1]), 1)
        ]
        for query, own in rows.items()
    }
    path = tmp_path_factory.mktemp("runs") / "out.trec"
    write_run(path, answers)
    assert read_run(path) == answers


def test_foreign_runs_are_ranked_anew_from_one(tmp_path):
    path = tmp_path / "foreign.trec"
    path.write_text("q Q0 low 0 1.5 t\n\nq Q0 second 2 7 t\nq Q0 first 1 7 t\n")
    assert read_run(path)["q"] == [Hit("first", 7, 1), Hit("second", 7, 2), Hit("low", 1.5, 3)]


def test_white_space_in_keys_is_escaped_and_read_back(tmp_path):
    path = tmp_path / "out.trec"
    hits = [Hit("Getting Started.md", 2.0, 1), Hit("a\tb\u3000c", 1.0, 2), Hit("x␠y␛z", 0.0, 3)]
    write_run(path, {"q 1": hits})
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "q␠1 Q0 Getting␠Started.md 1 2.0 genir"
    assert [line.split(" ")[2] for line in lines[1:]] == ["a␛0009b␛3000c", "x␛2420y␛241bz"]
    assert read_run(path) == {"q 1": hits}


@given(st.text(min_size=1))
def test_any_key_survives_escaping(key):
    assert escape_key(key).split() == [escape_key(key)]
    assert unescape_key(escape_key(key)) == key


@pytest.mark.parametrize(
    ("key", "tag", "named"), [("", "t", "an empty key"), ("a", "my run", "tag 'my run'")]
)
def test_an_invalid_key_or_tag_is_refused_before_any_write(tmp_path, key, tag, named):
    path = tmp_path / "out.trec"
    path.write_text("before")
    with pytest.raises(InputError, match=named):
        write_run(path, {"fine": [Hit("a", 1, 1)], "q": [Hit(key, 1, 1)]}, tag)
    assert path.read_text() == "before"


def test_duplicates_are_refused(tmp_path):
    path = tmp_path / "out.trec"
    with pytest.raises(InputError, match="'a' is returned twice"):
        write_run(path, {"q": [Hit("a", 2, 1), Hit("a", 1, 2)]})
    path.write_text("q Q0 a 1 2 t\nq Q0 a 2 1 t\n")
    with pytest.raises(InputError, match=r"out\.trec: query 'q': document 'a' is returned twice"):
        read_run(path)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("q Q0 a 1 2 t\nq Q0 b 2\n", "trec:2: 4 fields instead of 6"),
        ("q Q0 a one 2 t\n", "trec:1: rank 'one'"),
        ("q Q0 a 1 high t\n", "score 'high' is not a number"),
        ("q Q0 a 1 nan t\n", "trec:1: score 'nan' is not a finite number"),
        ("q Q0 a 1 -inf t\n", "trec:1: score '-inf' is not a finite number"),
        ("q Q0 a 1 1e999 t\n", "trec:1: score '1e999' is not a finite number"),
        ("q Q0 a \u0661 2 t\n", "trec:1: rank '\u0661' or score '2' is not a number"),
        (
            "q Q0 a 1 1 t\n\ufeffq Q0 b 1 1 t\n",
            r"trec:2: the key '\\ufeffq' begins with a byte order",
        ),
        ("q Q0 \ufeffa 1 1 t\n", r"trec:1: the key '\\ufeffa' begins with a byte order mark"),
        (f"q Q0 a {'1' * 5_000} 2 t\n", f"trec:1: rank '{'1' * 78}… or score '2' is not a number"),
        ("q Q0 a 1 \u0662 t\n", "score '\u0662' is not a number"),
    ],
)
def test_bad_lines_are_named(tmp_path, text, named):
    path = tmp_path / "bad.trec"
    path.write_text(text)
    with pytest.raises(InputError, match=named):
        read_run(path)


def test_unreadable_files(tmp_path):
    with pytest.raises(InputError, match=r"absent\.trec"):
        read_run(tmp_path / "absent.trec")
    (tmp_path / "binary.trec").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"binary\.trec"):
        read_run(tmp_path / "binary.trec")
