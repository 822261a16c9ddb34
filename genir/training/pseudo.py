"""Generated queries for the documents of a training run or of a corpus."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from accelerate import PartialState

from genir.config import PseudoSection, recipe_names
from genir.corpus.pseudo import read_pseudo_queries
from genir.corpus.seen import plain
from genir.errors import InputError
from genir.generation.queries import begun_precision, write_queries
from genir.generation.writer import Writer
from genir.models.digests import weights_digest
from genir.records import Document
from genir.tasks.base import TrainQueries
from genir.text_files import read_lines
from genir.training.signals import stop_wish
from genir.training.split import DevSplit

FILES = (".jsonl", ".jsonl.gz")


def is_file(source: str) -> bool:
    """Return whether a source of queries is a file."""
    return source.endswith(FILES)


def is_recipe(source: str) -> bool:
    """Return whether a source of queries is a recipe, whose model must be trained first."""
    return source in recipe_names() or source.endswith(".toml")


def make_queries(
    source: str, corpus: Sequence[Document], options: PseudoSection, out: Path
) -> None:
    """Generate the queries of a corpus with a model; an earlier run is continued.

    Raises:
        Stopped: on Ctrl-C or SIGTERM, after the current batch.
    """
    device: torch.device = PartialState().device
    writer = Writer.open(source, device, begun_precision(out))
    with stop_wish() as wish:
        weights = weights_digest(source)
        for _ in write_queries(corpus, writer, options, out, weights):
            if wish.made:
                raise wish.stopped()


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
    part.write_text(_whole(source), encoding="utf-8")
    check()
    part.replace(out)


def _whole(source: Path) -> str:
    return "".join(f"{line}\n" for _, line in read_lines(source))


def leave_out(questions: Iterable[str], made: TrainQueries) -> TrainQueries:
    """Return generated queries without the dev queries, ignoring case."""
    asked = set(map(plain, questions))
    kept = {
        key: [text for text in texts if plain(text) not in asked] for key, texts in made.items()
    }
    return {key: texts for key, texts in kept.items() if texts}


def join_queries(split: DevSplit, made: TrainQueries) -> DevSplit:
    """Add generated queries, except dev queries, to the train queries of a split."""
    train = {key: list(texts) for key, texts in split.train.items()}
    for key, texts in leave_out(split.questions, made).items():
        train.setdefault(key, []).extend(texts)
    return split._replace(train=train)
