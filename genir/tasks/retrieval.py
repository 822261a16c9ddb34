"""Retrieval tasks: a train query, or a query from a file -> a relevant document."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from pydantic import Field

from genir.arguments import is_blank
from genir.config import StrictModel
from genir.corpus.json_lines import json_records, shorten
from genir.corpus.query_digests import normalise_query
from genir.errors import InputError
from genir.identifiers.table import IdentifierTable
from genir.tasks.base import Task, TrainQueries, draw_identifier
from genir.tasks.chunking import clean
from genir.text_files import read_lines
from genir.types import Document, Example


class QueriesOptions(StrictModel):
    """join: the target is all relevant documents of the query, in corpus order (CorpusBrain)."""

    join: bool = False


class Queries(Task):
    """One example for each pair of train query and relevant document; joined, for each query."""

    name = "queries"
    Options = QueriesOptions

    def examples(
        self, corpus: Sequence[Document], table: IdentifierTable, queries: TrainQueries, rng: Random
    ) -> Iterator[Example]:
        """Yield the train queries of each document, in corpus order."""
        answers: dict[str, dict[str, None]] = {}
        for document in corpus:
            for source in filter(None, map(clean, queries.get(document.key, ()))):
                if self.concatenates_targets:
                    answers.setdefault(source, {})[document.key] = None
                else:
                    yield Example(source, draw_identifier(table, document.key, rng))
        for source, keys in answers.items():
            first, *others = (draw_identifier(table, key, rng) for key in keys)
            yield Example(source, first, extra_targets=tuple(others))


class PseudoQueriesOptions(StrictModel):
    """file: JSON lines {"text": ..., "document": key}, optionally gzipped; other fields are
    ignored.

    A relative path is resolved against the working directory of training.
    """

    file: str = Field(min_length=1)

    def files(self) -> list[Path]:
        """Return the file of queries."""
        return [Path(self.file)]


class PseudoQueries(Task):
    """Queries of each document from a file, for example generated ones (DSI-QG, docT5query)."""

    name = "pseudo-queries"
    Options = PseudoQueriesOptions

    def __init__(self, options: PseudoQueriesOptions) -> None:
        """Read the file. Raises `InputError` with file, line and value of an error."""
        super().__init__(options)
        self.file = Path(options.file)
        self.asked: dict[str, list[str]] = {}
        self.lines: dict[str, int] = {}
        for number, record in json_records(read_lines(self.file), str(self.file)):
            where = f"{self.file}:{number}"
            key = _text(record, "document", where)
            self.asked.setdefault(key, []).append(clean(_text(record, "text", where)))
            self.lines.setdefault(key, number)
        if not self.asked:
            raise InputError(f'{self.file}: no queries; write lines {{"text", "document"}}')

    def own_queries(self) -> Iterator[str]:
        """Yield the queries of the file."""
        for texts in self.asked.values():
            yield from texts

    def leave_out(self, questions: Collection[str]) -> None:
        """Exclude these queries, ignoring case, from all later examples."""
        held_out = set(map(normalise_query, questions))
        for key, texts in self.asked.items():
            self.asked[key] = [text for text in texts if normalise_query(text) not in held_out]

    def examples(
        self, corpus: Sequence[Document], table: IdentifierTable, queries: TrainQueries, rng: Random
    ) -> Iterator[Example]:
        """Yield the queries of each document. Raises `InputError` for an unknown document."""
        for key, number in self.lines.items():
            if key not in table:
                raise InputError(
                    f"{self.file}:{number}: document {key!r} is not in the corpus; remove the "
                    "line, or check that file and corpus belong together"
                )
        for document in corpus:
            for source in self.asked.get(document.key, ()):
                yield Example(source, draw_identifier(table, document.key, rng))


def _text(record: Mapping[str, Any], name: str, where: str) -> str:
    if name not in record:
        raise InputError(
            f'{where}: no {name}; write {{"text", "document"}} '
            f"(the fields given: {', '.join(record) or 'none'})"
        )
    value = record[name]
    if not isinstance(value, str) or is_blank(value):
        raise InputError(f"{where}: {name} {shorten(value)} is not a text; write one in quotes")
    return value
