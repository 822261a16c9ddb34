"""Tasks by name. Other packages add tasks with entry points `genir.tasks`."""

from collections.abc import Sequence

from genir.config import StrictModel, TaskSection, validate
from genir.plugins import Registry
from genir.tasks.base import Task
from genir.tasks.cloze import Bfs, Ict, Wlp
from genir.tasks.corpusbrain import Hip, Iss, Lps
from genir.tasks.dynamic_retriever import Ngrams, Passages, Terms
from genir.tasks.harp import Acm, Qdm, Rdp, Rqp
from genir.tasks.indexing import Chunks, Lead, Spans, Title, TitleLead
from genir.tasks.mixture import Mixture
from genir.tasks.prop import BProp, Prop
from genir.tasks.retrieval import PseudoQueries, Queries
from genir.tasks.seal import Overlaps
from genir.tasks.spider import RecurringSpans
from genir.tasks.tome_and_querygen import PassageGeneration, QueryGeneration
from genir.tasks.typos import TypoTask

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
        PassageGeneration, QueryGeneration, Overlaps,
    ),
)
# fmt: on


def task_options(section: TaskSection) -> StrictModel:
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
    return TypoTask(task, section.typo_prob) if section.typo_prob else task


def build_mixture(sections: Sequence[TaskSection], seed: int) -> Mixture:
    """Build the mixture of a recipe's `[[tasks]]`."""
    return Mixture([(build_task(section), section.weight) for section in sections], seed)
