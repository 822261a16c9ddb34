"""Checks a model folder before the server loads it: signature, and a trial in a child process."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from genir.errors import InputError
from genir.manifest import SIGNATURE
from genir.serving.load_sandbox import LoadSandbox
from genir.serving.settings import Settings
from genir.signatures import check_signature, read_public_keys
from genir.updates.base_folder import folder_fingerprint
from genir.updates.signing import changes_since, refuse_changes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class ModelChecker(Protocol):
    """Rejects model folders that the server must not load."""

    @property
    def signed_only(self) -> bool:
        """Whether only signed folders are accepted; then the server must not rewrite them."""
        ...

    def __call__(self, folder: Path) -> None:
        """Raise InputError for a folder that must not be loaded."""
        ...

    def close(self) -> None:
        """Abort a running check, which then raises."""
        ...


class NoChecks:
    """Accepts every folder; for models passed as objects, and for tests."""

    signed_only = False

    def __call__(self, folder: Path) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class ModelChecks:
    """The checks enabled in the settings.

    Raises:
        InputError: The file of trusted keys is missing or malformed.
    """

    def __init__(self, settings: Settings) -> None:
        self._keys: Sequence[Ed25519PublicKey] | None = None
        if settings.trusted_keys is not None:
            self._keys = read_public_keys(settings.trusted_keys)
        self._trial = LoadSandbox(settings.trial_s) if settings.trial_s else None

    @property
    def signed_only(self) -> bool:
        """Whether folders must be signed by a trusted key."""
        return self._keys is not None

    def refuse_unsigned(self, folder: Path) -> int:
        """Return the number of changes since the folder was signed; 0 if no signature is required.

        Raises:
            InputError: The folder is not signed by a trusted key.
        """
        if self._keys is None:
            return 0
        check_signature(folder, self._keys)
        return changes_since(folder)

    def __call__(self, folder: Path) -> None:
        """Check a folder that this server has not loaded or written before.

        Raises:
            InputError: The folder is not signed by a trusted key, has changes since the signature,
            or cannot
                be loaded in a child process.
        """
        if self._keys is not None:
            check_signature(folder, self._keys)
        if self._trial is not None:
            self._trial(folder)
        if self._keys is not None:
            refuse_changes(folder)

    def close(self) -> None:
        """Abort a running trial; its folder is rejected."""
        if self._trial is not None:
            self._trial.close()


def identity(folder: Path) -> tuple[int, ...]:
    """Return a fingerprint of a folder that changes if it is replaced, rewritten or signed."""
    try:
        signed = (folder / SIGNATURE).stat().st_mtime_ns
    except OSError:
        signed = 0
    return *folder_fingerprint(folder), signed


def require_writable(checker: ModelChecker) -> None:
    """Raise InputError if folders must be signed, since a rewritten folder would not be."""
    if checker.signed_only:
        raise InputError(
            "compact: this server serves signed folders only, and a compacted one would not be "
            "signed; run genir compact and genir sign where the private key is"
        )
