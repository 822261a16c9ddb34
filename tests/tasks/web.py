"""Linked documents written as text with [[words|key]] where words link to the document of a key."""

import re
from random import Random

from genir.config import TaskSection
from genir.identifiers.table import IdentifierTable
from genir.tasks.registry import build_task
from genir.types import Document, Link

LINK = re.compile(r"\[\[(.+?)\|(.+?)\]\]")


def page(key, text, title=""):
    plain, links, end = "", [], 0
    for found in LINK.finditer(text):
        plain += text[end : found.start()]
        links.append(Link(len(plain), len(plain) + len(found[1]), found[2]))
        plain, end = plain + found[1], found.end()
    return Document(key, plain + text[end:], title, links=tuple(links))


def numbered(corpus):
    """Return a table in which the document at place n has the identifier (n,)."""
    return IdentifierTable.build([[(n,)] for n in range(len(corpus))], [d.key for d in corpus])


def pairs(corpus, seed=0, queries=None, **section):
    """Return a task's examples as (source, key of the target's document) or (source, text)."""
    table = numbered(corpus)
    examples = build_task(TaskSection(**section)).examples(
        corpus, table, queries or {}, Random(seed)
    )
    return [
        (e.source, e.target if isinstance(e.target, str) else corpus[e.target[0]].key)
        for e in examples
    ]


def joined(corpus, seed=0, queries=None, **section):
    """Return a task's examples as (source, keys of all documents that it leads to, in order)."""
    task = build_task(TaskSection(**section))
    examples = task.examples(corpus, numbered(corpus), queries or {}, Random(seed))
    return [
        (e.source, tuple(corpus[n].key for (n,) in (e.target, *e.extra_targets))) for e in examples
    ]


def outcomes(corpus, seeds=60, **section):
    """Return every pair that some generator leads to."""
    return {pair for seed in range(seeds) for pair in pairs(corpus, seed, **section)}
