"""A data set of BEIR -> corpus folder: the same layout, but BEIR has documents without a text."""

from genir.signals import guard

guard(__name__)  # the imports below take time

import zipfile
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from common import Downloads, Out, Overwrite, RemoteFile, Sha256, Source, card, run, show

from genir.corpus.json_lines import json_records
from genir.corpus.serialization import document_of, query_of
from genir.corpus.tsv import judgements
from genir.corpus.writer import check_target, write_corpus
from genir.errors import InputError, did_you_mean
from genir.text_files import number_lines
from genir.types import Document, Qrel, Query

BASE = "https://public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets"
# From BEIR's own table of data sets; fever has had two checksums, so none is checked.
MD5 = {
    "arguana": "8ad3e3c2a5867cdced806d6503f29b99",
    "climate-fever": "8b66f0a9126c521bae2bde127b4dc99d",
    "cqadupstack": "4e41456d7df8ee7760a7f866133bda78",
    "dbpedia-entity": "c2a39eb420a3164af735795df012ac2c",
    "fever": "",
    "fiqa": "17918ed23cd04fb15047f73e6c3bd9d9",
    "hotpotqa": "f412724f78b0d91183a0e86805e16114",
    "msmarco": "444067daf65d982533ea17ebd59501e4",
    "nfcorpus": "a89dba18a62ef92f7d323ec890a0d38d",
    "nq": "d4d3d2e48787a744b6f6e691ff534307",
    "quora": "18fb154900ba42a600f84b839c173167",
    "scidocs": "38121350fc3a4d2f48850f6aff52e4a9",
    "scifact": "5f7d1de60b170fc8027bb7898e2efca1",
    "trec-covid": "ce62140cb23feb9becf6270d0d1fe6d1",
    "webis-touche2020": "46f650ba5a527fc69e0a6521c5a23563",
}
ABOUT = """
The data set `{name}` of BEIR (Thakur et al. 2021): {documents:,} documents, {queries:,} queries,
judgements {splits}. {titled:,} documents with an empty text have their title as text;
{dropped:,} with neither, and {lost:,} judgements of documents or queries that are not in the
files, are left out.
"""


def main(
    out: Out,
    name: Annotated[str, typer.Option(help="scifact, ..., or a part: cqadupstack/android")],
    source: Source = None,
    downloads: Downloads = Path("downloads"),
    sha256: Sha256 = "",
    overwrite: Overwrite = False,
) -> None:
    """Write the corpus folder of a data set of BEIR."""
    check_target(out, overwrite)
    whole = name.partition("/")[0]
    if whole not in MD5:
        raise InputError(f"unknown data set {name!r}{did_you_mean(whole, MD5)}")
    archive = RemoteFile(f"{BASE}/{whole}.zip", f"md5:{MD5[whole]}" if MD5[whole] else "")
    file = archive.obtain(source, downloads, sha256)
    try:
        with zipfile.ZipFile(file) as archive:
            _write(out, name, _Members(archive, name), file, overwrite)
    except zipfile.BadZipFile as error:
        raise InputError(f"{file}: damaged or no zip file ({error}); fetch it again") from None


def _write(out: Path, name: str, members: "_Members", file: Path, overwrite: bool) -> None:
    documents = list(show(members.documents(), "reading"))
    queries = list(members.queries())
    qrels = members.qrels({d.key for d in documents}, {q.key for q in queries})
    splits = ", ".join(f"{split} {len(judged):,}" for split, judged in qrels.items())
    about = ABOUT.format(
        name=name, documents=len(documents), queries=len(queries), splits=splits, **members.left
    )
    licence = "that of the data set itself; see the table in BEIR's README"
    text = card(f"BEIR {name}", about, [file], licence, f"{BASE}/{name.partition('/')[0]}.zip")
    write_corpus(out, show(documents, "writing"), queries, qrels, text, overwrite)


def _empty(text: Any) -> bool:
    """Whether a text is missing or blank; values of other types are refused later."""
    return text is None or (isinstance(text, str) and not text.strip())


class _Members:
    """The files of a data set in its archive, and counts of records that were left out."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        self._archive = archive
        self._folder = folder
        self.left = {"titled": 0, "dropped": 0, "lost": 0}

    def _lines(self, name: str) -> Iterator[tuple[int, str]]:
        try:
            with self._archive.open(name) as stream:
                yield from number_lines(stream, self._name(name))
        except KeyError:
            names = ", ".join(self._archive.namelist()[:10])
            raise InputError(
                f"{self._archive.filename}: no {name} inside (but {names}); check --name"
            ) from None

    def _name(self, name: str) -> str:
        return f"{self._archive.filename}!{name}"

    def _records(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        path = f"{self._folder}/{name}"
        for number, record in json_records(self._lines(path), self._name(path)):
            yield f"{self._name(path)}:{number}", record

    def documents(self) -> Iterator[Document]:
        for where, record in self._records("corpus.jsonl"):
            if _empty(record.get("text")):
                record["text"] = record.get("title")
                self.left["dropped" if _empty(record["text"]) else "titled"] += 1
            if not _empty(record["text"]):
                yield document_of(record, where)

    def queries(self) -> Iterator[Query]:
        for where, record in self._records("queries.jsonl"):
            yield query_of(record, where)

    def qrels(self, documents: Container[str], queries: Container[str]) -> dict[str, list[Qrel]]:
        prefix = f"{self._folder}/qrels/"
        names = [n for n in self._archive.namelist() if n.startswith(prefix) and n.endswith(".tsv")]
        qrels = {}
        for name in sorted(names):
            judged = [qrel for _, qrel in judgements(self._lines(name), self._name(name))]
            known = [q for q in judged if q.document in documents and q.query in queries]
            self.left["lost"] += len(judged) - len(known)
            qrels[name.removeprefix(prefix).removesuffix(".tsv")] = known
        return qrels


if __name__ == "__main__":
    run(main)
