"""Errors for bad input, and suggestions of the nearest valid name."""

from collections.abc import Iterable
from difflib import get_close_matches
from heapq import nlargest
from itertools import pairwise


class InputError(Exception):
    """Invalid user input. The message has place, problem and fix.

    The command line prints the message and exits with code 2; the HTTP server answers 4xx.
    """


class FolderError(InputError):
    """A model folder cannot be read or written, for reasons independent of the request.

    The HTTP server answers 503.
    """


class MissingPackage(InputError):
    """An optional package is missing; the message has the pip command."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed; "
            f"install it with: pip install 'genir[{extra}]'"
        )


MAX_LISTED_NAMES = 100
"""Maximum number of known names listed in full; of more, the ten nearest are listed."""
MAX_COMPARED_NAMES = 200
"""Maximum number of names compared by edit distance, which is quadratic in their length."""
MAX_NAME_CHARS = 200
"""Maximum characters of a compared name."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint for an unknown name, e.g. ``; did you mean 'url'? Known: atomic, url``."""
    names, name = sorted(known), name[:MAX_NAME_CHARS]
    if len(names) > MAX_LISTED_NAMES:
        alike = _most_alike(name, names)
        first = get_close_matches(name, alike, n=10, cutoff=0.0)
        rest = f" and {len(names) - len(first):,} more"
    else:
        alike = [known for known in names if len(known) <= MAX_NAME_CHARS]
        first, rest = names, ""
    close = get_close_matches(name, alike, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return f"{hint} Known: {', '.join(first)}{rest}"


def _most_alike(name: str, names: Iterable[str]) -> list[str]:
    """Return the names with the most common letter pairs, in linear time."""
    pairs = set(pairwise(name))
    short = [known for known in names if len(known) <= MAX_NAME_CHARS]
    return nlargest(
        MAX_COMPARED_NAMES, short, key=lambda known: len(pairs.intersection(pairwise(known)))
    )
