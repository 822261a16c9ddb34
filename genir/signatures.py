"""Ed25519 signatures of model folders, by `cryptography`.

The manifest has the size and sha256 of every file, so a signature of it covers the whole folder.
Keys are PEM files and a signature is 64 raw bytes, compatible with OpenSSL:
`openssl pkeyutl -verify -pubin -inkey KEY.pub -rawin -in manifest.json -sigfile manifest.sig`.
"""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from genir.atomic_dirs import fsync_parent, is_enclosed
from genir.errors import InputError, MissingPackage
from genir.manifest import MAX_JSON_BYTES, SIGNATURE, check_manifest
from genir.manifest import NAME as MANIFEST
from genir.plurals import counted
from genir.text_files import read_text

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

SIGNATURE_BYTES = 64
MAX_KEY_CHARS = 2**20
PUBLIC_SUFFIX = ".pub"
PUBLIC_BLOCK = re.compile(r"-----BEGIN PUBLIC KEY-----[^-]*-----END PUBLIC KEY-----")


def make_keys(path: Path) -> str:
    """Write a new private key (mode 0600) and its public key; return the key's id.

    Raises:
        InputError: one of the files exists or cannot be written, or `cryptography` is missing.
    """
    ed25519, pem, _ = _cryptography()
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give a file in it")
    public_path = path.with_name(path.name + PUBLIC_SUFFIX)
    for place in (path, public_path):
        if os.path.lexists(place):
            raise InputError(f"{place}: exists already; give another path, keys are not replaced")
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())
    public = key.public_key().public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)
    for place, data, mode in ((path, private, 0o600), (public_path, public, 0o644)):
        _write_new(place, data, mode)
    return key_id(key.public_key())


def key_id(key: "Ed25519PublicKey") -> str:
    """Return the key's id: the first 16 hex digits of the sha256 of the public key."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def read_private_key(path: Path) -> "Ed25519PrivateKey":
    """Read a private key written by `make_keys`.

    Raises:
        InputError: other users may read the file, or it is not a valid key.
    """
    ed25519, pem, exceptions = _cryptography()
    text = read_text(path, MAX_KEY_CHARS)
    try:
        key = pem.load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError, exceptions.UnsupportedAlgorithm):  # TypeError: encrypted
        key = None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise InputError(
            f"{path}: not a private ed25519 key in PEM without a passphrase; use genir keygen"
        )
    if path.stat().st_mode & 0o077:
        raise InputError(
            f"{path}: a private key that others may read; chmod 600 it, and make a new one if "
            "the machine is shared"
        )
    return cast("Ed25519PrivateKey", key)


def read_public_keys(path: Path) -> list["Ed25519PublicKey"]:
    """Read one or more concatenated public keys in PEM; text in between is ignored.

    Raises:
        InputError: there is no key, a private key, or a key that is not ed25519.
    """
    ed25519, pem, exceptions = _cryptography()
    text = read_text(path, MAX_KEY_CHARS)
    if "PRIVATE KEY-----" in text:
        raise InputError(f"{path}: holds a private key; give the file with {PUBLIC_SUFFIX}")
    keys = []
    for number, block in enumerate(PUBLIC_BLOCK.findall(text), start=1):
        try:
            key = pem.load_pem_public_key(block.encode())
        except (ValueError, exceptions.UnsupportedAlgorithm):
            key = None
        if not isinstance(key, ed25519.Ed25519PublicKey):
            raise InputError(f"{path}: key {number} is not an ed25519 key in PEM; replace it")
        keys.append(key)
    if not keys or text.count("-----BEGIN") != len(keys):
        raise InputError(
            f"{path}: {counted(len(keys), 'public key')} in "
            f"{counted(text.count('-----BEGIN'), 'PEM block')}; give files "
            f"written by genir keygen with {PUBLIC_SUFFIX}, concatenated"
        )
    return keys


def sign_folder(folder: Path, key: "Ed25519PrivateKey") -> str:
    """Verify a model folder and write its manifest's signature into it; return the key's id.

    Changes in the journal are not covered: compact the folder first.

    Raises:
        InputError: the folder is damaged or cannot be written.
    """
    data = _read(folder, MANIFEST, MAX_JSON_BYTES)
    check_manifest(folder)
    part = folder / f".{SIGNATURE}.{os.getpid()}.part"
    try:
        _write_new(part, key.sign(data), 0o644)
        part.replace(folder / SIGNATURE)
        fsync_parent(folder)
    except OSError as error:
        raise InputError(
            f"{folder / SIGNATURE}: cannot be written ({error.strerror}); sign a copy"
        ) from None
    finally:
        part.unlink(missing_ok=True)
    return key_id(key.public_key())


def check_signature(folder: Path, keys: Sequence["Ed25519PublicKey"]) -> str:
    """Verify the manifest's signature and return the id of the key; `check_manifest` does files.

    Raises:
        InputError: the folder is not signed, not by one of `keys`, or has changed since.
    """
    *_, exceptions = _cryptography()
    if not (folder / MANIFEST).is_file():
        check_manifest(folder)  # reports missing files
    if not os.path.lexists(folder / SIGNATURE):
        raise InputError(f"{folder}: not signed; get it from its source again, or genir sign it")
    data = _read(folder, MANIFEST, MAX_JSON_BYTES)
    signature = _read(folder, SIGNATURE, SIGNATURE_BYTES)
    for key in keys:
        try:
            key.verify(signature, data)
        except exceptions.InvalidSignature:
            continue
        return key_id(key)
    known = ", ".join(map(key_id, keys))
    raise InputError(
        f"{folder / SIGNATURE}: not a signature of {MANIFEST} by a trusted key ({known:.200}); get "
        "the folder from its source again, or add the public key of its source"
    )


def _read(folder: Path, name: str, max_bytes: int) -> bytes:
    path = folder / name
    if not is_enclosed(path, folder):
        raise InputError(f"{path}: not a regular file inside the model folder; put a copy there")
    try:
        if path.stat().st_size > max_bytes:
            raise InputError(f"{path}: more than {max_bytes:,} bytes; get the folder again")
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); check its permissions"
        ) from None


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a new file whose permissions never exceed `mode`."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another") from None


def _cryptography() -> tuple[Any, Any, Any]:
    """Return the modules `ed25519`, `serialization` and `exceptions` of the optional package."""
    try:
        from cryptography import exceptions
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise MissingPackage("cryptography", "signing", "signing model folders") from None
    return ed25519, serialization, exceptions
