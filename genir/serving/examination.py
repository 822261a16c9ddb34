"""Which model folders a server may load: signed by a trusted key, and tried in a child process."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from genir.errors import InputError
from genir.living.collection import stamp
from genir.living.signed import changes_since, refuse_changes
from genir.manifest import SIGNATURE
from genir.serving.settings import Settings
from genir.serving.trial import Trial
from genir.signatures import check_signature, read_public_keys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Examiner(Protocol):
    """Refuses model folders that this process should not load."""

    @property
    def signed_only(self) -> bool:
        """Whether folders have to be signed; then a server may not write them anew itself."""
        ...

    def __call__(self, folder: Path) -> None:
        """Raise InputError for a folder that is not to be loaded."""
        ...

    def close(self) -> None:
        """End what is under way; it raises."""
        ...


class Unexamined:
    """Lets every folder pass: for models that are given as objects, and for tests."""

    signed_only = False

    def __call__(self, folder: Path) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Examination:
    """The checks that settings ask for.

    Raises:
        InputError: the file of trusted keys is missing or malformed.
    """

    def __init__(self, settings: Settings) -> None:
        self._keys: Sequence[Ed25519PublicKey] | None = None
        if settings.trusted_keys is not None:
            self._keys = read_public_keys(settings.trusted_keys)
        self._trial = Trial(settings.trial_s) if settings.trial_s else None

    @property
    def signed_only(self) -> bool:
        """Whether folders have to be signed by a trusted key."""
        return self._keys is not None

    def refuse_unsigned(self, folder: Path) -> int:
        """Return the changes since the folder was signed, 0 where it need not be.

        Raises:
            InputError: the folder is not signed by a trusted key.
        """
        if self._keys is None:
            return 0
        check_signature(folder, self._keys)
        return changes_since(folder)

    def __call__(self, folder: Path) -> None:
        """Examine a folder that this server has not served or written before.

        Raises:
            InputError: it is not signed by a trusted key, has changes that no signature covers, or
                cannot be loaded in a child process.
        """
        if self._keys is not None:
            check_signature(folder, self._keys)
        if self._trial is not None:
            self._trial(folder)
        if self._keys is not None:
            refuse_changes(folder)

    def close(self) -> None:
        """End a trial that runs; its folder is refused."""
        if self._trial is not None:
            self._trial.close()


def identity(folder: Path) -> tuple[int, ...]:
    """Return what changes where a folder is replaced, written anew or signed."""
    try:
        signed = (folder / SIGNATURE).stat().st_mtime_ns
    except OSError:
        signed = 0
    return *stamp(folder), signed


def refuse_rewriting(examiner: Examiner) -> None:
    """Raise InputError where a folder that the server writes anew would not be signed."""
    if examiner.signed_only:
        raise InputError(
            "this server answers from signed folders only, and a compacted folder would not be "
            "signed; run genir compact and genir sign where the private key is"
        )
