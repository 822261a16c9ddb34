"""The errors genir raises on purpose, and the nearest-name hint both carry."""

from collections.abc import Iterable
from difflib import get_close_matches


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
MAX_NAME = 200
"""Characters of a name up to which similar names are looked for: the search is quadratic."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint such as ``; did you mean 'url'? Known: atomic, url`` for an unknown name."""
    names = sorted(known)
    name = name[:MAX_NAME]
    if len(names) > LISTED:
        first = get_close_matches(name, names, n=10, cutoff=0.0)
        rest = f" and {len(names) - len(first):,} more"
    else:
        first, rest = names, ""
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return f"{hint} Known: {', '.join(first)}{rest}"
