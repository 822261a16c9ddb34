"""Typing errors in the sources of any task, to make a model robust to them (Zhuang and Zuccon,
EMNLP 2021). Evaluation uses the same edits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random

from genir.corpus.typos import letters_of, misspelt
from genir.identifiers.table import IdentifierTable
from genir.tasks.base import Task, TrainQueries
from genir.tasks.chunking import clean
from genir.types import Document, Example


class TypoTask(Task):
    """A wrapped task; each source gets one typing error with probability `probability`.

    Name and options are those of the wrapped task. Errors are sampled after all of its examples, so
    the examples are the same with and without errors.
    """

    def __init__(self, task: Task, probability: float) -> None:
        super().__init__(task.options)
        self.name = task.name  # type: ignore[misc]
        self.task = task
        self.probability = probability

    def examples(
        self, corpus: Sequence[Document], table: IdentifierTable, queries: TrainQueries, rng: Random
    ) -> Iterator[Example]:
        """Yield the task's examples; inserted letters are drawn from the letters of its sources."""
        examples = list(self.task.examples(corpus, table, queries, rng))
        letters = letters_of(example.source for example in examples)
        for example in examples:
            if rng.random() < self.probability:
                # A deleted letter may leave two spaces.
                wrong = clean(misspelt(example.source, letters, rng))
                example = replace(example, source=wrong, clean_source=example.source)
            yield example
