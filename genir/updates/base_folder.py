"""Identity of the model folder that a journal extends, and the journal's file names."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genir.manifest import NAME as MANIFEST
from genir.manifest import sha256
from genir.updates.commit_record import CommitRecord


def folder_fingerprint(folder: Path) -> tuple[int, ...]:
    """Return device, inode and mtime of the manifest, to detect a replaced folder; () if absent."""
    try:
        facts = (folder / MANIFEST).stat()
    except OSError:
        return ()
    return facts.st_dev, facts.st_ino, facts.st_mtime_ns


@dataclass(frozen=True)
class JournalBase:
    """Model folder of a journal: its version and the sha256 of its manifest."""

    folder: Path
    version: int
    digest: bytes

    @property
    def path(self) -> Path:
        """Return the path of the journal; the file may not exist yet."""
        return self.folder / f"journal-{self.version}.sqlite"

    @property
    def record(self) -> CommitRecord:
        """Return the record of the last commit, stored outside the database."""
        return CommitRecord(self.folder / f"journal-{self.version}.head")

    @property
    def files(self) -> list[Path]:
        """Return the files of the journal that exist."""
        names = [f"{self.path.name}{ending}" for ending in ("", "-wal", "-shm")]
        paths = [*(self.folder / name for name in names), self.record.path]
        return [path for path in paths if path.exists()]

    @classmethod
    def open(cls, folder: Path, manifest: Mapping[str, Any]) -> "JournalBase":
        """Return the journal base of a folder with this manifest."""
        digest = bytes.fromhex(sha256(folder / MANIFEST))
        return cls(folder, int(manifest.get("version", 0)), digest)
