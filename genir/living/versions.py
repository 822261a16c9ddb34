"""The table of versions, and which changes count after a rollback."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from genir.living.changes import Change


@dataclass(frozen=True)
class Version:
    """A line of the table of versions.

    kept: whether `rollback` can go back to it, which ends with the next compaction.
    """

    version: int
    kind: str
    made: str
    documents: int
    target: int | None
    kept: bool = True


def effective(changes: Sequence[Change], base: int) -> list[Change]:
    """Return the changes that count at the end: a rollback undoes those after its target."""
    known = {change.version: change for change in changes}
    found, version = list[Change](), changes[-1].version if changes else base
    while version > base:
        change = known[version]
        if change.target is None:
            found.append(change)
        version = version - 1 if change.target is None else change.target
    return found[::-1]


def versions_of(manifest: Mapping[str, Any], changes: Sequence[Change]) -> list[Version]:
    """Return the table of versions of a folder with this manifest, and changes since."""
    told = [Version(**one, kept=False) for one in manifest.get("versions", [])]
    base = Version(manifest.get("version", 0), "trained", "", manifest.get("documents", 0), None)
    made = [Version(c.version, c.kind, c.made, len(c.entries), c.target) for c in changes]
    return [*told[:-1], replace(told[-1], kept=True) if told else base, *made]
