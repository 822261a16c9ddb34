"""The file of queries: worked by hand, and through interruptions. The writers here are fakes."""

import json
from random import Random

import pytest

from genir.config import PseudoQueriesSection
from genir.errors import InputError
from genir.generation.generator import first_line
from genir.generation.queries import begun_precision, generate_queries_file, part_of, prompt
from genir.types import Document

TAR = Document("tar", "Archive  files\nand extract them", title="tar")
SED = Document("sed", "Edit text", title="")
BARE = Document("bare", " ", title="")
CORPUS = [TAR, SED, BARE]


class Echo:
    """Writes the beginning of its prompt and a number, and nothing for some prompts."""

    def __init__(self, precision="fp32"):
        self.asked = []
        self.precision = precision

    def generate(self, prompts, options, seed):
        self.asked.append((list(prompts), seed))
        rng = Random(seed)
        return [f"{text[:3]}? {rng.randrange(10)}" if text[0] != "E" else "" for text in prompts]


def write(tmp_path, corpus=CORPUS, writer=None, stop=None, **options):
    out, section = tmp_path / "out.jsonl", PseudoQueriesSection(**options)
    for number, _ in enumerate(
        generate_queries_file(corpus, writer or Echo(), section, out), start=1
    ):
        if number == stop:
            return out
    return out


def test_queries_stand_one_a_line_document_by_document(tmp_path):
    class Fixed:
        precision = "fp32"

        def generate(self, prompts, options, seed):
            assert prompts == ["tar. Archive files and extract them"] * 3 + ["Edit text"] * 3
            return ["how to pack", "unpack", "how to pack", "", "swap words", "\u200b"]

    out = write(tmp_path, writer=Fixed(), count=3)
    assert [json.loads(line) for line in out.read_text().splitlines()] == [
        {"document": "tar", "text": "how to pack"},
        {"document": "tar", "text": "unpack"},
        {"document": "sed", "text": "swap words"},
    ]
    assert not part_of(out).exists()


@pytest.mark.parametrize(
    "tail", ["", '{"document": "d4", "te', '{"document": "d4", "texts": []}\n']
)
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_an_interrupted_run_resumes_to_the_same_bytes(tmp_path, stop, tail):
    corpus = [Document(f"d{n}", f"text number {n}") for n in range(6)]
    (tmp_path / "whole").mkdir()
    whole = write(tmp_path / "whole", corpus, count=2, batch_size=2)
    out = write(tmp_path, corpus, stop=stop, count=2, batch_size=2)
    assert not out.exists()
    if stop < 3:
        with part_of(out).open("a") as file:
            file.write(tail)
    again = Echo()
    write(tmp_path, corpus, again, count=2, batch_size=2)
    assert out.read_bytes() == whole.read_bytes()
    assert len(again.asked) == 3 - stop


def test_a_cut_within_a_letter_and_lines_within_keys_are_gone_on_from(tmp_path):
    corpus = [Document(f"d{n}\u2028\x85é", f"text number {n}") for n in range(6)]
    (tmp_path / "whole").mkdir()
    whole = write(tmp_path / "whole", corpus, count=2, batch_size=2)
    out = write(tmp_path, corpus, stop=2, count=2, batch_size=2)
    with part_of(out).open("ab") as file:
        file.write('{"document": "d4é'.encode()[:-1])
    again = Echo()
    write(tmp_path, corpus, again, count=2, batch_size=2)
    assert out.read_bytes() == whole.read_bytes() and len(again.asked) == 1


def test_a_kill_while_going_on_loses_nothing(tmp_path, monkeypatch):
    corpus = [Document(f"d{n}", f"text number {n}") for n in range(6)]
    out = write(tmp_path, corpus, stop=2, count=2, batch_size=2)
    before = part_of(out).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("os.truncate", None)  # dies before it has cut anything off
        with pytest.raises(TypeError):
            write(tmp_path, corpus, count=2, batch_size=2)
    assert part_of(out).read_bytes() == before


def test_another_seed_writes_other_queries(tmp_path):
    first = Echo(), Echo()
    for writer, seed in zip(first, (1, 2), strict=True):
        (tmp_path / str(seed)).mkdir()
        write(tmp_path / str(seed), writer=writer, seed=seed)
    assert first[0].asked[0][1] != first[1].asked[0][1]


def test_going_on_with_other_settings_is_refused(tmp_path):
    write(tmp_path, stop=1, count=2, batch_size=1)
    with pytest.raises(InputError, match=r"out.jsonl.part: .*setting count: 2 then, 3 now"):
        write(tmp_path, count=3, batch_size=1)
    with pytest.raises(InputError, match=r"documents: 3 documents, .* then, 2 documents, .* now"):
        write(tmp_path, CORPUS[:2], count=2, batch_size=1)
    with pytest.raises(InputError, match=r"documents: 3 documents, .* then, 3 documents, .* now"):
        write(tmp_path, [TAR, SED, Document("bare", "not so bare")], count=2, batch_size=1)
    with pytest.raises(InputError, match="precision"):
        write(tmp_path, writer=Echo("bf16"), count=2, batch_size=1)


def test_the_precision_of_a_begun_file_is_known(tmp_path):
    out = write(tmp_path, writer=Echo("bf16"), stop=1, count=2, batch_size=1)
    assert begun_precision(out) == "bf16"
    assert begun_precision(tmp_path / "none.jsonl") == "auto"
    for damaged in (b"", b"\xff\n", b"[1]\n", b'{"options": {}}\n', b'{"precision": "fp8"}\n'):
        part_of(out).write_bytes(damaged)
        assert begun_precision(out) == "auto"


def test_going_on_with_another_model_is_refused(tmp_path):
    section = PseudoQueriesSection(count=2, batch_size=1)
    next(generate_queries_file(CORPUS, Echo(), section, tmp_path / "out.jsonl", "sha256 one"))
    with pytest.raises(InputError, match=r"\(weights: sha256 one then, sha256 two now\); restore"):
        next(generate_queries_file(CORPUS, Echo(), section, tmp_path / "out.jsonl", "sha256 two"))
    with pytest.raises(InputError, match=r"one then, sha256 0123456789ab now\)"):
        digest = "sha256 " + "0123456789abcdef" * 4
        next(generate_queries_file(CORPUS, Echo(), section, tmp_path / "out.jsonl", digest))


def test_a_prompt_of_one_s_own_is_filled_in():
    options = PseudoQueriesSection(prompt="About {title}: {text}\nQuestion:", words=3)
    assert prompt(TAR, options, Random(0)) == "About tar: Archive files and\nQuestion:"


def test_words_are_left_out_but_never_all():
    document = Document("d", " ".join(f"w{n}" for n in range(1000)))
    kept = prompt(document, PseudoQueriesSection(drop=0.3, words=1000), Random(0)).split()
    assert 650 < len(kept) < 750 and kept == sorted(kept, key=lambda word: int(word[1:]))
    assert prompt(SED, PseudoQueriesSection(drop=0.999), Random(0)) == "Edit text"


@pytest.mark.parametrize(
    ("text", "line"), [("\n  a \tb\nc", "a b"), ("", ""), (" \n\n", ""), ("one", "one")]
)
def test_only_the_first_line_counts(text, line):
    assert first_line(text) == line


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("garbage", 1), ("[]", 1), ("5", 1),
        ("garbage", 2), ("[]", 2), ("{}", 2), ('{"document": "zzz", "texts": ["x"]}', 2),
        ('{"document": "tar", "texts": "abc"}', 2), ('{"document": "tar", "texts": [3]}', 2),
    ],
)  # fmt: skip
def test_a_damaged_part_file_is_named(tmp_path, line, number):
    out = write(tmp_path, stop=1, count=2, batch_size=1)
    lines = part_of(out).read_text().splitlines()
    lines[number - 1] = line
    part_of(out).write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=rf"out\.jsonl\.part:{number}: damaged; start again"):
        write(tmp_path, count=2, batch_size=1)


def test_two_runs_on_one_file_are_refused(tmp_path):
    section = PseudoQueriesSection(count=2, batch_size=1)
    first = generate_queries_file(CORPUS, Echo(), section, tmp_path / "out.jsonl")
    next(first)
    with pytest.raises(InputError, match=r"out\.jsonl\.part: another process uses it"):
        next(generate_queries_file(CORPUS, Echo(), section, tmp_path / "out.jsonl"))
    assert list(first) == [2, 3]
