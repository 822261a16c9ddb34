"""A weighted mixture of tasks: what one epoch of training reads. Knows no tokens.

The weight is the number of passes over a task's examples: 2 is two passes, 0.5 a random half of
one. Every pass asks the task anew, so random spans differ from pass to pass. The same seed and
epoch give the same examples on any machine, whatever PYTHONHASHSEED is.
"""

from collections import Counter
from collections.abc import Sequence
from math import floor
from random import Random

from genir.errors import InputError
from genir.identifiers.table import IdentifierTable
from genir.records import Document, Example
from genir.tasks.base import Task, TrainQueries


class Mixture:
    """Tasks with their weights, and the seed of every draw.

    idle: the names of the tasks that made no example in the last epoch asked for.
    """

    def __init__(self, tasks: Sequence[tuple[Task, float]], seed: int) -> None:
        self.tasks = list(tasks)
        self.seed = seed
        self.idle: list[str] = []

    def epoch(
        self,
        number: int,
        corpus: Sequence[Document],
        table: IdentifierTable,
        queries: TrainQueries,
    ) -> list[Example]:
        """Return the shuffled examples of epoch `number`.

        Raises InputError when no task finds anything to say.
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
                f"the tasks {names} make no example of this corpus; name tasks for what it has "
                "(text, title, train queries)"
            )
        Random(f"{self.seed} {number} order").shuffle(mixed)
        return mixed

    def _generators(self, number: int) -> list[Random]:
        """Seed each task by its name and options, so that adding a task leaves the others alone.

        A text seeds `Random` through SHA-512, never through `hash`.
        """
        seen: Counter[str] = Counter()
        generators = []
        for task, _ in self.tasks:
            name = f"{task.name} {task.options.model_dump_json()}"
            generators.append(Random(f"{self.seed} {number} {name} {seen[name]}"))
            seen[name] += 1
        return generators


def _sample(examples: list[Example], part: float, rng: Random) -> list[Example]:
    """Draw `part` of the examples; a remainder below one example comes that often."""
    return rng.sample(examples, floor(part * len(examples) + rng.random()))
