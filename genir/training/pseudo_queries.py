"""Generated queries for the documents of a training run or of a corpus."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from accelerate import PartialState

from genir.config import PseudoQueriesSection
from genir.corpus.pseudo_queries import read_pseudo_queries
from genir.corpus.query_digests import normalise_query
from genir.errors import InputError
from genir.generation.generator import QueryGenerator
from genir.generation.queries import begun_precision, generate_queries_file
from genir.models.digests import weights_digest
from genir.tasks.base import TrainQueries
from genir.text_files import read_lines
from genir.training.dev_split import DevSplit
from genir.training.stop_request import stop_request
from genir.types import Document

FILES = (".jsonl", ".jsonl.gz")


def is_file(source: str) -> bool:
    """Return whether a source of queries is a file."""
    return source.endswith(FILES)


def make_queries(
    source: str, corpus: Sequence[Document], options: PseudoQueriesSection, out: Path
) -> None:
    """Generate the queries of a corpus with a model; an earlier run is continued.

    Raises:
        Stopped: on Ctrl-C or SIGTERM, after the current batch.
    """
    device: torch.device = PartialState().device
    writer = QueryGenerator.open(source, device, begun_precision(out))
    with stop_request() as request:
        weights = weights_digest(source)
        for _ in generate_queries_file(corpus, writer, options, out, weights):
            if request.is_set:
                raise request.error()


def copy_queries(
    source: Path, documents: Sequence[str], out: Path, check: Callable[[], None]
) -> None:
    """Copy a file of queries after validating every line: the original may change later.

    Args:
        check: Called between reading and copying; raises InputError if the file has changed since
            the training began.
    """
    if not read_pseudo_queries(source, set(documents)):
        raise InputError(f"{source}: no queries; the file is empty")
    part = out.with_name(f"{out.name}.part")
    lines = [f"{line}\n" for _, line in read_lines(source)]
    part.write_text("".join(lines), encoding="utf-8")
    check()
    part.replace(out)


def leave_out(questions: Iterable[str], generated: TrainQueries) -> TrainQueries:
    """Return generated queries without the dev queries, ignoring case."""
    asked = set(map(normalise_query, questions))
    kept = {
        key: [text for text in texts if normalise_query(text) not in asked]
        for key, texts in generated.items()
    }
    return {key: texts for key, texts in kept.items() if texts}


def join_queries(split: DevSplit, generated: TrainQueries) -> DevSplit:
    """Add generated queries, except dev queries, to the train queries of a split."""
    train = {key: list(texts) for key, texts in split.train.items()}
    for key, texts in leave_out(split.questions, generated).items():
        train.setdefault(key, []).extend(texts)
    return split._replace(train=train)
