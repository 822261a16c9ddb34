"""The tasks by name. To add one, import its class here and name it in the tuple."""

from collections.abc import Sequence

from genir.config import Strict, TaskSection, validate
from genir.errors import InputError, nearest
from genir.tasks.anchors import Acm, Qdm, Rdp, Rqp
from genir.tasks.base import Task
from genir.tasks.cloze import Bfs, Ict, Wlp
from genir.tasks.contents import Ngrams, Passages, Terms
from genir.tasks.indexing import Chunks, Lead, Spans, Title, TitleLead
from genir.tasks.mixture import Mixture
from genir.tasks.noise import Misspelt
from genir.tasks.overlaps import Overlaps
from genir.tasks.recurring import RecurringSpans
from genir.tasks.retrieval import PseudoQueries, Queries
from genir.tasks.units import Hip, Iss, Lps
from genir.tasks.word_sets import BProp, Prop
from genir.tasks.writing import WriteQueries, WrittenPassages

# fmt: off
TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (
        Lead, Title, TitleLead, Spans, Chunks,
        Queries, PseudoQueries,
        Ict, Bfs, Wlp,
        Prop, BProp,
        Rqp, Qdm, Rdp, Acm,
        RecurringSpans,
        Passages, Terms, Ngrams,
        Iss, Lps, Hip,
        WrittenPassages, WriteQueries, Overlaps,
    )
}
# fmt: on
TaskSection.variants = TASKS


def task_options(section: TaskSection) -> Strict:
    """Return the options of a task.

    Raises InputError for an unknown task or option, with the nearest name.
    """
    if section.task not in TASKS:
        raise InputError(f"[[tasks]]: unknown task {section.task!r}{nearest(section.task, TASKS)}")
    return validate(TASKS[section.task].Options, section.options, f"[[tasks]] {section.task}")


def build_task(section: TaskSection) -> Task:
    """Make a task of its section in a recipe. Raises InputError as `task_options` does."""
    options = task_options(section)
    task = TASKS[section.task](options)
    return Misspelt(task, section.typos) if section.typos else task


def build_mixture(sections: Sequence[TaskSection], seed: int) -> Mixture:
    """Make the mixture of a recipe's `[[tasks]]`."""
    return Mixture([(build_task(section), section.weight) for section in sections], seed)
