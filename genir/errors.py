"""The errors genir raises on purpose, and the nearest-name hint both carry."""

from collections.abc import Iterable
from difflib import get_close_matches
from heapq import nlargest
from itertools import pairwise


class InputError(Exception):
    """Say what is wrong with something the user gave, where, and how to mend it.

    The command line prints the message alone and exits with code 2; the HTTP server answers 4xx.
    """


class FolderError(InputError):
    """Say that a model folder cannot be read or written: not what was asked is wrong, but the disk.

    The HTTP server answers 503.
    """


class MissingPackage(InputError):
    """Say which optional package is absent and the pip command that brings it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed; "
            f"install it with: pip install 'genir[{extra}]'"
        )


LISTED = 100
"""Known names that an error lists in full; of more it lists the ten nearest."""
COMPARED = 200
"""Names that are compared letter by letter, in time quadratic in their lengths."""
MAX_NAME = 200
"""Characters of a name that is compared."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint such as ``; did you mean 'url'? Known: atomic, url`` for an unknown name."""
    names, name = sorted(known), name[:MAX_NAME]
    if len(names) > LISTED:
        alike = _most_alike(name, names)
        first = get_close_matches(name, alike, n=10, cutoff=0.0)
        rest = f" and {len(names) - len(first):,} more"
    else:
        alike = [known for known in names if len(known) <= MAX_NAME]
        first, rest = names, ""
    close = get_close_matches(name, alike, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return f"{hint} Known: {', '.join(first)}{rest}"


def _most_alike(name: str, names: Iterable[str]) -> list[str]:
    """Return the names that share the most pairs of letters with a name, in linear time."""
    pairs = set(pairwise(name))
    short = [known for known in names if len(known) <= MAX_NAME]
    return nlargest(COMPARED, short, key=lambda known: len(pairs.intersection(pairwise(known))))
