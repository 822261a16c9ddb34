"""Weighted mixture of tasks, which makes the examples of one training epoch.

A task's weight is its number of passes per epoch: 2 is two passes, 0.5 a random half of one pass.
Each pass calls the task again, so random spans differ between passes. The same seed and epoch give
the same examples on any machine, whatever PYTHONHASHSEED is.
"""

from collections import Counter
from collections.abc import Sequence
from math import floor
from random import Random

from genir.errors import InputError
from genir.identifiers.table import IdentifierTable
from genir.tasks.base import Task, TrainQueries
from genir.types import Document, Example


class Mixture:
    """Tasks with weights.

    Attributes:
        tasks: Pairs of task and weight.
        seed: Seed of all sampling.
        idle: Names of the tasks that made no example in the last epoch.
    """

    def __init__(self, tasks: Sequence[tuple[Task, float]], seed: int) -> None:
        self.tasks = list(tasks)
        self.seed = seed
        self.idle: list[str] = []

    def epoch(
        self, number: int, corpus: Sequence[Document], table: IdentifierTable, queries: TrainQueries
    ) -> list[Example]:
        """Return the shuffled examples of epoch `number`.

        Raises:
            InputError: No task makes an example of this corpus.
        """
        mixed: list[Example] = []
        self.idle = []
        for (task, weight), rng in zip(self.tasks, self._generators(number), strict=True):
            made = 0
            for share in [1.0] * floor(weight) + [weight % 1] * (weight % 1 > 0):
                examples = list(task.examples(corpus, table, queries, rng))
                made += len(examples)
                mixed += examples if share == 1 else _sample(examples, share, rng)
            if not made:
                self.idle.append(task.name)
        if not mixed:
            names = ", ".join(task.name for task, _ in self.tasks)
            raise InputError(
                f"[[tasks]]: {names} make no example of this corpus; choose tasks for the fields "
                "that it has (text, title, train queries)"
            )
        Random(f"{self.seed} {number} order").shuffle(mixed)
        return mixed

    def _generators(self, number: int) -> list[Random]:
        """Seed each task by its name and options, so that adding a task does not affect the others.

        `Random` hashes a string seed with SHA-512, not with the randomized `hash`.
        """
        seen: Counter[str] = Counter()
        generators = []
        for task, _ in self.tasks:
            name = f"{task.name} {task.options.model_dump_json()}"
            generators.append(Random(f"{self.seed} {number} {name} {seen[name]}"))
            seen[name] += 1
        return generators


def _sample(examples: list[Example], part: float, rng: Random) -> list[Example]:
    """Sample a fraction of the examples; a fractional remainder is rounded up at random."""
    return rng.sample(examples, floor(part * len(examples) + rng.random()))
