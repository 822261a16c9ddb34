"""Tasks by name. Other packages add tasks with entry points `genir.tasks`."""

from collections.abc import Sequence

from genir.config import Strict, TaskSection, validate
from genir.plugins import Registry
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
TASKS: Registry[Task] = Registry(
    "genir.tasks", "[[tasks]] task", Task,
    (
        Lead, Title, TitleLead, Spans, Chunks,
        Queries, PseudoQueries,
        Ict, Bfs, Wlp,
        Prop, BProp,
        Rqp, Qdm, Rdp, Acm,
        RecurringSpans,
        Passages, Terms, Ngrams,
        Iss, Lps, Hip,
        WrittenPassages, WriteQueries, Overlaps,
    ),
)
# fmt: on
TaskSection.variants = TASKS


def task_options(section: TaskSection) -> Strict:
    """Return the options of a task.

    Raises:
        InputError: Unknown task or option; the message suggests the nearest name.
    """
    kind = TASKS.find(section.task)
    return validate(kind.Options, section.options, f"[[tasks]] {section.task}")


def build_task(section: TaskSection) -> Task:
    """Build the task of a recipe section. Raises `InputError` like `task_options`."""
    options = task_options(section)
    task = TASKS[section.task](options)
    return Misspelt(task, section.typos) if section.typos else task


def build_mixture(sections: Sequence[TaskSection], seed: int) -> Mixture:
    """Build the mixture of a recipe's `[[tasks]]`."""
    return Mixture([(build_task(section), section.weight) for section in sections], seed)
