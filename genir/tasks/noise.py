"""Any task with typing errors: training on them makes a model robust to them
(Zhuang and Zuccon, EMNLP 2021). The edits are those that evaluation makes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random

from genir.corpus.typos import letters_of, misspelt
from genir.identifiers.table import IdentifierTable
from genir.records import Document, Example
from genir.tasks.base import Task, TrainQueries
from genir.tasks.passages import clean


class Misspelt(Task):
    """Another task whose sources get one typing error each, with a probability.

    Its name and options are that task's, and the errors are drawn after its examples: these are the
    same with errors as without.
    """

    def __init__(self, task: Task, probability: float) -> None:
        super().__init__(task.options)
        self.name = task.name  # type: ignore[misc]
        self.task = task
        self.probability = probability

    def examples(
        self,
        corpus: Sequence[Document],
        table: IdentifierTable,
        queries: TrainQueries,
        rng: Random,
    ) -> Iterator[Example]:
        """Yield the task's examples; new letters are among those that its sources use."""
        examples = list(self.task.examples(corpus, table, queries, rng))
        letters = letters_of(example.source for example in examples)
        for example in examples:
            if rng.random() < self.probability:
                wrong = clean(misspelt(example.source, letters, rng))  # a lost letter: two blanks
                example = replace(example, source=wrong, meant=example.source)
            yield example
