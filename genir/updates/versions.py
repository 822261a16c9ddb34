"""Version history of an index, and the resolution of rollbacks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genir.updates.changes import Change  # imports torch, which HTTP clients do without


@dataclass(frozen=True)
class Version:
    """One line of the version history. kept: whether `rollback` can restore it (not compacted)."""

    version: int
    kind: str
    made: str
    documents: int
    target: int | None
    kept: bool = True


def resolve_rollbacks(changes: "Sequence[Change]", base: int) -> "list[Change]":
    """Return the changes in effect at the end: a rollback removes those after its target."""
    known = {change.version: change for change in changes}
    found: list[Change] = []
    version = changes[-1].version if changes else base
    while version > base:
        change = known[version]
        if change.target is None:
            found.append(change)
        version = version - 1 if change.target is None else change.target
    return found[::-1]


def versions_of(manifest: Mapping[str, Any], changes: "Sequence[Change]") -> list[Version]:
    """Return the version history: that of the manifest, then the changes since."""
    former = [Version(**one, kept=False) for one in manifest.get("versions", [])]
    base = Version(manifest.get("version", 0), "trained", "", manifest.get("documents", 0), None)
    made = [Version(c.version, c.kind, c.made, len(c.entries), c.target) for c in changes]
    return [*former[:-1], replace(former[-1], kept=True) if former else base, *made]
