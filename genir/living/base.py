"""The model folder that a journal belongs to, and the names of the journal's files there."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genir.living.commit_record import CommitRecord
from genir.manifest import NAME as MANIFEST
from genir.manifest import sha256


@dataclass(frozen=True)
class Base:
    """The folder that a journal belongs to: its version, and the sha256 of its manifest."""

    folder: Path
    version: int
    digest: bytes

    @property
    def path(self) -> Path:
        """Return where the journal is, or will be."""
        return self.folder / f"journal-{self.version}.sqlite"

    @property
    def record(self) -> CommitRecord:
        """Return the record of the last commit, kept outside the database."""
        return CommitRecord(self.folder / f"journal-{self.version}.head")

    @property
    def files(self) -> list[Path]:
        """Return the files of the journal that exist."""
        names = [f"{self.path.name}{ending}" for ending in ("", "-wal", "-shm")]
        paths = [*(self.folder / name for name in names), self.record.path]
        return [path for path in paths if path.exists()]

    @classmethod
    def of(cls, folder: Path, manifest: Mapping[str, Any]) -> "Base":
        """Return the base of a folder with this manifest."""
        digest = bytes.fromhex(sha256(folder / MANIFEST))
        return cls(folder, int(manifest.get("version", 0)), digest)
