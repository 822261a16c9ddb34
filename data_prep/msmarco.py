"""MS MARCO passage ranking -> corpus folder: 8.8 million passages of the web, queries of Bing."""

from genir.signals import guard

guard(__name__)  # the imports below take time

import tarfile
from collections.abc import Iterator
from pathlib import Path

from common import Downloads, Out, Overwrite, RemoteFile, Sha256, Source, card, run, show

from genir.corpus.serialization import document_of, query_of
from genir.corpus.tsv import judgements, tsv_records
from genir.corpus.writer import check_target, write_corpus
from genir.errors import InputError
from genir.text_files import number_lines, read_lines
from genir.types import Document, Qrel, Query

URL = "https://msmarco.z22.web.core.windows.net/msmarcoranking/collectionandqueries.tar.gz"
# Not published by Microsoft, but by the tools that have reproduced on it (Anserini, ir_datasets).
ARCHIVE = RemoteFile(URL, "md5:31644046b18952c1386cd4564ba2ae69")
SPLITS = {
    "train": ("queries.train.tsv", "qrels.train.tsv"),
    "dev": ("queries.dev.small.tsv", "qrels.dev.small.tsv"),
}
ABOUT = """
Passages, and the judged queries of the splits `train` ({train:,} judgements) and `dev`
({dev:,}, the official small one). One passage a query is judged, rarely more; passages that are
not judged may answer it too.
"""
LICENCE = "non-commercial research only: the terms at https://microsoft.github.io/msmarco/"


def main(
    out: Out,
    source: Source = None,
    downloads: Downloads = Path("downloads"),
    sha256: Sha256 = "",
    overwrite: Overwrite = False,
) -> None:
    """Write the corpus folder of MS MARCO passages; a local copy is the archive or its folder."""
    check_target(out, overwrite)
    file = ARCHIVE.obtain(source, downloads, sha256)
    try:
        qrels = {split: _qrels(file, names[1]) for split, names in SPLITS.items()}
        queries = [
            q for split, (name, _) in SPLITS.items() for q in _queries(file, name, qrels[split])
        ]
        about = ABOUT.format(**{split: len(judged) for split, judged in qrels.items()})
        text = card("MS MARCO passages", about, [file], LICENCE, URL)
        write_corpus(out, show(_documents(file), "passages"), queries, qrels, text, overwrite)
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"{file}: damaged archive ({error}); fetch it again") from None


def _lines(file: Path, name: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a member: the archive is read through, since it is too large to unpack."""
    if file.is_dir():
        yield from read_lines(file / name)
        return
    with tarfile.open(file) as archive:
        for member in archive:
            stream = archive.extractfile(member) if Path(member.name).name == name else None
            if stream is not None:
                yield from number_lines(stream, f"{file}!{name}")
                return
    raise InputError(f"{file}: no {name} inside; give collectionandqueries.tar.gz or its folder")


def _documents(file: Path) -> Iterator[Document]:
    name = f"{file}!collection.tsv"
    for number, record in tsv_records(_lines(file, "collection.tsv"), name):
        yield document_of(record, f"{name}:{number}")


def _qrels(file: Path, name: str) -> list[Qrel]:
    return [qrel for _, qrel in judgements(_lines(file, name), f"{file}!{name}")]


def _queries(file: Path, name: str, judged: list[Qrel]) -> Iterator[Query]:
    wanted = {qrel.query for qrel in judged}
    for number, record in tsv_records(_lines(file, name), f"{file}!{name}"):
        if record["_id"] in wanted:
            yield query_of(record, f"{file}!{name}:{number}")


if __name__ == "__main__":
    run(main)
