"""Each script on small files in the origin's own format."""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import beir
import msmarco
import pytest
import squad
import tldr

from genir.corpus.readers import read_corpus, read_qrels, read_queries
from genir.errors import InputError
from genir.types import Document, Qrel, Query

HEADER = "query-id\tcorpus-id\tscore\n"


def read(folder):
    documents = list(read_corpus(folder))
    queries = read_queries(folder)
    keys = {document.key for document in documents}
    qrels = {f.stem: read_qrels(f, queries, keys) for f in sorted((folder / "qrels").iterdir())}
    return documents, queries, qrels


def zipped(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def tarred(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


def lines(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


BEIR = {
    "tiny/corpus.jsonl": lines(
        {"_id": "1", "title": "T", "text": "one", "metadata": {"url": "u", "year": 1}},
        {"_id": "2", "title": "only a title", "text": None, "metadata": {}},
        {"_id": "3", "title": "", "text": "", "metadata": {}},
    ),
    "tiny/queries.jsonl": lines({"_id": "q", "text": "which?", "metadata": {}}),
    "tiny/qrels/test.tsv": HEADER + "q\t1\t1\nq\t2\t2\nq\t3\t1\n",
}


def test_beir(tmp_path, monkeypatch):
    monkeypatch.setitem(beir.MD5, "tiny", "")
    file = zipped(tmp_path / "tiny.zip", BEIR)
    beir.main(tmp_path / "out", "tiny", file)
    documents, queries, qrels = read(tmp_path / "out")
    assert documents == [
        Document("1", "one", "T", "u", metadata={"year": 1}),
        Document("2", "only a title", "only a title"),
    ]
    assert queries == {"q": Query("q", "which?")}
    assert qrels == {"test": [Qrel("q", "1"), Qrel("q", "2", 2)]}
    card = (tmp_path / "out" / "README.md").read_text()
    assert hashlib.sha256(file.read_bytes()).hexdigest() in card
    assert "1 with neither, and 1 judgements" in " ".join(card.split())


def test_beir_mistakes(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="unknown data set 'scifcat'; did you mean 'scifact'"):
        beir.main(tmp_path / "out", "scifcat")
    file = zipped(tmp_path / "x.zip", BEIR)
    with pytest.raises(InputError, match=r"no scifact/corpus\.jsonl inside"):
        beir.main(tmp_path / "out", "scifact", file)
    file.write_text("no zip")
    with pytest.raises(InputError, match=r"x\.zip: damaged or no zip"):
        beir.main(tmp_path / "out", "scifact", file)
    assert not (tmp_path / "out").exists()


def _squad(title, count):
    questions = [
        {"id": f"{title}{n}", "question": f" What {n}? ", "answers": []} for n in range(count)
    ]
    paragraphs = [{"context": f"{title} one.", "qas": questions}, {"context": "Two.", "qas": []}]
    return json.dumps({"data": [{"title": title, "paragraphs": paragraphs}], "version": "1.1"})


def test_squad(tmp_path):
    (tmp_path / "train-v1.1.json").write_text(_squad("Big_Ben", 60))
    (tmp_path / "dev-v1.1.json").write_text(_squad("Zürich", 60))
    squad.main(tmp_path / "out", tmp_path)
    documents, queries, qrels = read(tmp_path / "out")
    assert [d.key for d in documents] == ["Big_Ben#p0", "Big_Ben#p1", "Zürich#p0", "Zürich#p1"]
    assert documents[0].title == "Big Ben"
    assert documents[2].url == "https://en.wikipedia.org/wiki/Z%C3%BCrich#p0"
    assert queries["Big_Ben7"].text == "What 7?"
    assert len(qrels["train"]) + len(qrels["test"]) == 120
    assert 1 <= len(qrels["test"]) <= 30
    assert {q.document for q in qrels["train"]} == {"Big_Ben#p0", "Zürich#p0"}


def test_squad_mistakes(tmp_path):
    (tmp_path / "train-v1.1.json").write_text('{"version": "1.1"}')
    (tmp_path / "dev-v1.1.json").write_text(_squad("A", 1))
    with pytest.raises(InputError, match=r"train-v1\.1\.json: not a file of SQuAD"):
        squad.main(tmp_path / "out", tmp_path)
    with pytest.raises(InputError, match="give two, train and dev"):
        squad.main(tmp_path / "out", tmp_path, sha256="00")


MS_MARCO = {
    "collection.tsv": '0\tThe "presence" of\n1\tSecond passage\n',
    "queries.train.tsv": "7\tfirst question\n8\tnot judged\n",
    "queries.dev.small.tsv": "9\tsecond question\n",
    "qrels.train.tsv": "7\t0\t0\t1\n",
    "qrels.dev.small.tsv": "9\t0\t1\t1\n",
}


@pytest.mark.parametrize("form", ["archive", "folder"])
def test_msmarco(tmp_path, form):
    source = tmp_path / form
    if form == "archive":
        tarred(source, MS_MARCO)
    else:
        source.mkdir()
        for name, text in MS_MARCO.items():
            (source / name).write_text(text)
    msmarco.main(tmp_path / "out", source)
    documents, queries, qrels = read(tmp_path / "out")
    assert documents == [Document("0", 'The "presence" of'), Document("1", "Second passage")]
    assert set(queries) == {"7", "9"}
    assert qrels == {"train": [Qrel("7", "0")], "dev": [Qrel("9", "1")]}


def test_msmarco_mistakes(tmp_path):
    source = tarred(tmp_path / "x.tar.gz", {"collection.tsv": "0\tx\n"})
    with pytest.raises(InputError, match=r"no qrels\.train\.tsv inside"):
        msmarco.main(tmp_path / "out", source)
    source.write_text("no tar")
    with pytest.raises(InputError, match=r"x\.tar\.gz: damaged archive"):
        msmarco.main(tmp_path / "out", source)


PAGE = """# git add

> Add files to the `index`.
> See also: `git`.
> More information: <https://git-scm.com/docs/git-add>.

- Add {{one}} file:

`git add {{[-v|--verbose]}} {{path/to/file}}`

"""
PAGES = {
    "common/git-add.md": PAGE.replace("{{one}}", "one")
    + "".join(f"- Do thing {n}:\n\n`git add -{n}`\n\n" for n in range(60)),
    "linux/again.md": "# again\n\n> Another.\n\n- Do thing 3:\n\n`again`\n",
    "common/ga.md": "# ga\n\n> This command is an alias of `git add`.\n",
}


def make_tldr(path, form):
    if form == "zip":
        return zipped(path, PAGES | {"LICENSE.md": "x"})
    if form == "tarball":
        files = {f"tldr-main/pages/{name}": text for name, text in PAGES.items()}
        return tarred(
            path, files | {"tldr-main/pages.de/common/ls.md": "x", "tldr-main/a/b.md": "x"}
        )
    for name, text in PAGES.items():
        (path / "pages" / name).parent.mkdir(parents=True, exist_ok=True)
        (path / "pages" / name).write_text(text)
    return path


@pytest.mark.parametrize("form", ["zip", "tarball", "checkout"])
def test_tldr(tmp_path, form):
    tldr.main(tmp_path / "out", make_tldr(tmp_path / "source", form))
    documents, queries, qrels = read(tmp_path / "out")
    page = documents[0]
    assert [d.key for d in documents] == ["common/git-add", "linux/again"]
    assert (page.title, page.url) == ("git add", "https://tldr.inbrowser.app/pages/common/git-add")
    assert page.text.startswith(
        "Add files to the index.\nAdd one file: git add [-v|--verbose] path/to/file\n"
    )
    train, test = ({queries[q.query].text for q in qrels[name]} for name in ("train", "test"))
    assert len(train | test) == 61 and 1 <= len(test) <= 20 and not train & test
    kept = {line.partition(":")[0] for d in documents for line in d.text.split("\n")}
    assert train <= kept and not test & kept
    both = [q.document for judged in qrels.values() for q in judged
            if queries[q.query].text == "Do thing 3"]  # fmt: skip
    assert both == ["common/git-add", "linux/again"]


def test_tldr_checksums():
    sums = f"{'a' * 64}  out/index.json\n{'b' * 64}  out/tldr-pages.en.zip\n"
    assert tldr.published_sum(sums) == "b" * 64
    assert tldr.published_sum("") == ""


def test_tldr_mistakes(tmp_path):
    with pytest.raises(InputError, match="no English pages inside"):
        tldr.main(tmp_path / "out", zipped(tmp_path / "x.zip", {"a.md": "x"}))
    with pytest.raises(InputError, match=r"common/a\.md: no tldr page"):
        tldr.main(tmp_path / "out", zipped(tmp_path / "x.zip", {"common/a.md": "x"}))
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(InputError, match="neither a zip, a tarball nor a checkout"):
        tldr.main(tmp_path / "out", tmp_path / "x.txt")


def test_a_script_runs_and_a_mistake_is_one_message(tmp_path):
    script = Path(squad.__file__)
    (tmp_path / "train-v1.1.json").write_text(_squad("A", 2))
    (tmp_path / "dev-v1.1.json").write_text(_squad("B", 2))
    command = [sys.executable, script, tmp_path / "out", "--source", tmp_path]
    first = subprocess.run(command, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    assert len(list(read_corpus(tmp_path / "out"))) == 4
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 2
    assert "exists already" in again.stderr and "Traceback" not in again.stderr
