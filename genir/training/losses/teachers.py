"""Teachers that rank documents for distillation: BM25, dense retrieval, RRF, a run file."""

from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from accelerate import PartialState
from pydantic import Field

from genir.arguments import as_path
from genir.baselines.bm25 import Bm25
from genir.baselines.dense import Dense
from genir.baselines.fusion import Fusion
from genir.config import StrictModel
from genir.corpus.readers import read_queries
from genir.corpus.trec_runs import read_run
from genir.errors import InputError
from genir.identifiers.table import IdentifierTable
from genir.models.encoder import TextEncoder
from genir.models.network_loading import MINILM
from genir.plurals import counted
from genir.tasks.chunking import clean
from genir.training.losses.base import LossContext
from genir.training.progress_display import log
from genir.types import Filter, Hit, Searcher

MIN_COVERED_SHARE = 0.5
"""Minimum share of a run's queries that training uses; below it a warning is shown."""
SEARCHERS = ("bm25", "dense", "rrf")
VECTORS_SUFFIX = ".teacher.safetensors"
"""File with the document vectors of a dense teacher."""


class TeacherOptions(StrictModel):
    """Options of a teacher.

    teacher: "bm25", "dense", "rrf" (their fusion) or the path of a TREC run file, with the path of
    its `queries`. encoder: used by dense and rrf. language: code of the language
    (ISO 639-1) for bm25 and rrf; detected by default.
    """

    teacher: str = Field(default="rrf", min_length=1)
    queries: str = ""
    encoder: str = MINILM
    language: str | None = None

    def files(self) -> list[Path]:
        """Return the run file and its queries. Raises InputError if one is missing."""
        return run_files(self.teacher, self.queries) if is_run(self.teacher) else []

    def weights(self) -> list[str]:
        """Return the encoder of a dense or fused teacher."""
        return [self.encoder] if self.teacher in ("dense", "rrf") else []


def is_run(teacher: str) -> bool:
    """Return whether a teacher is a run file."""
    return teacher not in SEARCHERS


def run_files(teacher: str, queries: str) -> list[Path]:
    """Return the run file and the file of its queries. Raises InputError if one is missing."""
    if not as_path(teacher, "teacher").is_file():
        raise InputError(
            f"[[losses]]: {teacher!r} is not a run file; give a file's path, or one of "
            f"{', '.join(SEARCHERS)}"
        )
    if not queries:
        raise InputError(
            f"[[losses]]: {teacher}: a run file has only the keys of queries; give the file with "
            "their texts as queries"
        )
    if not as_path(queries, "queries").is_file():
        raise InputError(f"[[losses]] queries = {queries!r}: no such file; check the path")
    return [Path(teacher), Path(queries)]


def open_teacher(options: TeacherOptions, context: LossContext) -> Searcher:
    """Fit or read the teacher, a searcher; a dense one caches its vectors in the work folder.

    The same batch of texts gives bit-equal scores.

    Raises:
        InputError: a file cannot be read, or has unknown documents or queries.
    """
    if is_run(options.teacher):
        run, queries = run_files(options.teacher, options.queries)
        teacher = RunFile.read(run, queries, context.table)
        if context.examples:
            teacher.check(run, {example.typed_source for example in context.examples})
        return teacher
    documents = context.retriever.documents
    made: list[Searcher] = []
    if options.teacher != "dense":
        made.append(Bm25.fit(documents, options.language))
    if options.teacher != "bm25":
        encoder = TextEncoder.pretrained(options.encoder).to(context.retriever.model.device)
        made.append(Dense.fit(documents, encoder, context.work / VECTORS_SUFFIX))
    return made[0] if len(made) == 1 else Fusion(made)


class RunFile:
    """Teacher from a run file; texts that are not queries of the run have no candidates."""

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
                    f"{run}: document {unknown!r} is not in the corpus; give a run on this corpus"
                )
            hits[clean(texts[query].text)] = found
        if not hits:
            raise InputError(f"{run}: no queries; the file is empty")
        return cls(hits)

    def check(self, run: Path, asked: Set[str]) -> None:
        """Warn if few of the run's queries are used in training.

        Raises:
            InputError: no query of the run is used.
        """
        common = len(self.hits.keys() & asked)
        usage = (
            f"{run}: {common:,} of its {counted(len(self.hits), 'query', 'queries')} "
            f"{'is' if common == 1 else 'are'} used in this training"
        )
        if not common:
            raise InputError(
                f"{usage}, so it has no effect; give a run on the train queries, and a task that "
                "uses them"
            )
        if common < MIN_COVERED_SHARE * len(self.hits):
            log(f"warning: {usage}; other texts have no candidates", PartialState().is_main_process)

    def search(self, queries: list[str], k: int, where: Filter | None = None) -> list[list[Hit]]:
        """Look up the texts."""
        return [list(self.hits.get(text, ()))[:k] for text in queries]
