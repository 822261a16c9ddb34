"""Who ranks documents for a model to learn from: BM25, a dense retriever, their fusion, a file.

Knows no model that is trained, and no tensors.
"""

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Protocol

from accelerate import PartialState
from pydantic import Field

from genir.baselines.bm25 import ENGLISH, Bm25
from genir.baselines.dense import Dense
from genir.baselines.fusion import Fusion
from genir.config import Strict
from genir.corpus.folder import read_queries
from genir.corpus.runs import read_run
from genir.errors import InputError
from genir.identifiers.table import IdentifierTable
from genir.models.encoder import MINILM, TextEncoder
from genir.records import Hit, Searcher
from genir.tasks.passages import clean
from genir.training.display import say
from genir.training.losses.base import Setting

ENOUGH = 0.5
"""Share of a run's queries that training should ask."""
SEARCHERS = ("bm25", "dense", "rrf")
VECTORS = ".teacher.safetensors"
"""Where a dense teacher keeps the documents' vectors."""


class TeacherOptions(Strict):
    """Who ranks.

    teacher: "bm25", "dense", "rrf" (their fusion) or a TREC run file, whose `queries` are the file
    that says what was asked. encoder: of dense and rrf. language: of bm25 and rrf.
    """

    teacher: str = Field(default="rrf", min_length=1)
    queries: str = ""
    encoder: str = MINILM
    language: str = ENGLISH

    def files(self) -> list[Path]:
        """Return the run and its queries. Raises InputError where one is missing."""
        return run_files(self.teacher, self.queries) if is_run(self.teacher) else []

    def weights(self) -> list[str]:
        """Return the encoder of a dense teacher, or of the dense half of a fusion."""
        return [self.encoder] if self.teacher in ("dense", "rrf") else []


class Teacher(Protocol):
    """Anything that ranks documents for texts."""

    def rank(self, texts: Sequence[str], count: int) -> list[list[Hit]]:
        """Return the best documents of each text, at most `count`, best first."""
        ...


def is_run(teacher: str) -> bool:
    """Tell whether a teacher is a run file."""
    return teacher not in SEARCHERS


def run_files(teacher: str, queries: str) -> list[Path]:
    """Return the run and the file of its queries. Raises InputError where one is missing."""
    if not Path(teacher).is_file():
        raise InputError(
            f"[[losses]]: {teacher!r} is no run file; give a file's path, or one of "
            f"{', '.join(SEARCHERS)}"
        )
    if not queries:
        raise InputError(
            f"[[losses]]: {teacher}: a run file names queries by their keys; give the file that "
            "has their texts as queries"
        )
    if not Path(queries).is_file():
        raise InputError(f"[[losses]] queries = {queries!r}: no such file; check the path")
    return [Path(teacher), Path(queries)]


def open_teacher(options: TeacherOptions, setting: Setting) -> Teacher:
    """Fit or read a teacher of the corpus; a dense one keeps the vectors in the work folder.

    Raises InputError for a file that cannot be read, or that knows other documents or queries.
    """
    if is_run(options.teacher):
        run, queries = run_files(options.teacher, options.queries)
        teacher = RunFile.read(run, queries, setting.table)
        if setting.examples:
            teacher.check(run, {example.asked for example in setting.examples})
        return teacher
    return Asked(_searcher(options, setting))


def _searcher(options: TeacherOptions, setting: Setting) -> Searcher:
    documents = setting.retriever.documents
    made: list[Searcher] = []
    if options.teacher != "dense":
        made.append(Bm25.fit(documents, options.language))
    if options.teacher != "bm25":
        encoder = TextEncoder.pretrained(options.encoder).to(setting.retriever.model.device)
        made.append(Dense.fit(documents, encoder, setting.work / VECTORS))
    return made[0] if len(made) == 1 else Fusion(made)


class Asked:
    """A searcher that is asked anew each time: the same texts together get the same bits."""

    def __init__(self, searcher: Searcher) -> None:
        self.searcher = searcher

    def rank(self, texts: Sequence[str], count: int) -> list[list[Hit]]:
        """Search."""
        return [list(hits) for hits in self.searcher.search(list(texts), count)]


class RunFile:
    """A run, by the texts of its queries; it says nothing of other texts."""

    def __init__(self, hits: Mapping[str, Sequence[Hit]]) -> None:
        self.hits = hits

    @classmethod
    def read(cls, run: Path, queries: Path, table: IdentifierTable) -> "RunFile":
        """Read run and queries. Raises InputError for an unknown query or document."""
        texts = read_queries(queries)
        hits: dict[str, Sequence[Hit]] = {}
        for query, found in read_run(run).items():
            if query not in texts:
                raise InputError(
                    f"{run}: query {query!r} is not in {queries}; give the queries of this run"
                )
            unknown = next((hit.key for hit in found if hit.key not in table), None)
            if unknown is not None:
                raise InputError(
                    f"{run}: document {unknown!r} is not in the corpus; make a run of this corpus"
                )
            hits[clean(texts[query].text)] = found
        if not hits:
            raise InputError(f"{run}: no queries; the file is empty")
        return cls(hits)

    def check(self, run: Path, asked: Set[str]) -> None:
        """Hold the run's queries against the texts that training asks; few in common are told of.

        Raises InputError where there are none.
        """
        common = len(self.hits.keys() & asked)
        told = f"{run}: {common:,} of its {len(self.hits):,} queries are asked in this training"
        if not common:
            raise InputError(
                f"{told}, so it teaches nothing; give a run of the train queries, and a task that "
                "asks them"
            )
        if common < ENOUGH * len(self.hits):
            say(f"warning: {told}; it says nothing of other texts", PartialState().is_main_process)

    def rank(self, texts: Sequence[str], count: int) -> list[list[Hit]]:
        """Look the texts up."""
        return [list(self.hits.get(text, ()))[:count] for text in texts]
