"""The tasks by name. To add one, import its class here and name it in the tuple."""

from collections.abc import Sequence

from genir.config import TaskSection, validate
from genir.errors import InputError, nearest
from genir.tasks.base import Task
from genir.tasks.indexing import Chunks, Lead, Spans, Title, TitleLead
from genir.tasks.mixture import Mixture
from genir.tasks.retrieval import Queries
from genir.tasks.writing import Passages, WriteQueries

TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (Lead, Title, TitleLead, Spans, Chunks, Queries, Passages, WriteQueries)
}


def build_task(section: TaskSection) -> Task:
    """Make a task of its section in a recipe.

    Raises InputError for an unknown task or option, with the nearest name.
    """
    if section.task not in TASKS:
        raise InputError(f"[[tasks]]: unknown task {section.task!r}{nearest(section.task, TASKS)}")
    task = TASKS[section.task]
    return task(validate(task.Options, section.options, f"[[tasks]] {section.task}"))


def build_mixture(sections: Sequence[TaskSection], seed: int) -> Mixture:
    """Make the mixture of a recipe's `[[tasks]]`."""
    return Mixture([(build_task(section), section.weight) for section in sections], seed)
