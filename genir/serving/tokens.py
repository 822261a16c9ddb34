"""Bearer tokens: the token file, which stores digests only, and the lookup of a secret."""

import errno
import hashlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genir.arguments import as_keys
from genir.atomic_dirs import fsync_parent
from genir.console import command
from genir.errors import InputError
from genir.json_parser import JsonError, parse_json
from genir.text_files import read_text
from genir.types import Selection

Role = Literal["read", "write"]
PREFIX = "genir_"
"""Prefix of every secret, so that secret scanners recognise leaked ones."""
FILE_MODE = 0o600


class Token(BaseModel):
    """An entry of the token file.

    Only the digest of the secret is stored: it has 256 random bits, so one round of SHA-256
    suffices. `where` and `allow` are a filter and keys that limit the documents the token may
    access, and `model` is the name of the only model folder that it may query.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=64, pattern=r"^[\w.@-]+$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    role: Role = "read"
    where: dict[str, Any] = {}
    allow: list[str] | None = None
    model: str | None = Field(default=None, min_length=1)


class TokenFile(BaseModel):
    """Content of a token file: `{"tokens": [...]}`."""

    model_config = ConfigDict(extra="forbid")

    tokens: list[Token] = []


@dataclass(frozen=True)
class Principal:
    """The authenticated caller: token name, role, and accessible documents and model.

    scope, model: None for all documents and any model.
    """

    name: str
    role: Role | None
    scope: Selection | None = None
    model: str | None = None


class Tokens:
    """The tokens of a file, which is read again when it changes.

    If the file is missing or cannot be opened, every token is refused. If its content is invalid,
    for example while it is being written, the previous tokens stay in force.
    """

    def __init__(self, path: Path) -> None:
        """Read the file. Raises InputError if it cannot be read or is invalid."""
        self.path = path
        self._stamp: tuple[int, ...] = ()
        self._callers: list[tuple[bytes, Principal]] = []
        self._load(self._facts())

    @property
    def writable(self) -> bool:
        """Whether any token has the role `write`."""
        return any(caller.role == "write" for _, caller in self._callers)

    def refresh(self) -> bool:
        """Read the file again if it has changed; return whether it had.

        Raises InputError, once per change, if the file cannot be opened or is invalid.
        """
        try:
            facts = self._facts()
        except InputError as error:
            if not self._stamp:
                return False
            self._stamp, self._callers = (), []
            raise InputError(f"{error}; until then every token is refused") from None
        if facts == self._stamp:
            return False
        try:
            self._load(facts)
        except InputError as error:
            raise InputError(f"{error}; the tokens stay as they were") from None
        return True

    def caller(self, secret: str) -> Principal | None:
        """Return the caller with this secret, or None. Takes constant time."""
        digest, found = hash_of(secret), None
        for known, caller in self._callers:
            if hmac.compare_digest(known, digest):
                found = caller
        return found

    def _facts(self) -> tuple[int, ...]:
        """Return the fingerprint of the file. Raises InputError if it cannot be opened."""
        try:
            facts = self.path.stat()
            if not stat.S_ISREG(facts.st_mode):  # opening a pipe would block
                raise OSError(errno.EINVAL, "no regular file")
            if self._stamp and file_stamp(facts) == self._stamp:
                return self._stamp
            with self.path.open("rb"):
                pass
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be read ({error.strerror}); "
                f"create one with: genir token new NAME {command('--file', self.path)}"
            ) from None
        return file_stamp(facts)

    def _load(self, facts: tuple[int, ...]) -> None:
        self._stamp = facts  # also for an invalid file: report it once
        tokens = read_tokens(self.path)
        self._callers = [(bytes.fromhex(one.sha256), _caller(one)) for one in tokens]


def file_stamp(facts: os.stat_result) -> tuple[int, ...]:
    """Return the fingerprint of a file: it changes with its content, inode and permissions."""
    return facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size


def _caller(token: Token) -> Principal:
    allow = () if token.allow is None else (frozenset(token.allow),)
    where = (token.where,) if token.where else ()
    scope = Selection(where, allow, excluded=True) if where or allow else None
    return Principal(token.name, token.role, scope, token.model)


def hash_of(secret: str) -> bytes:
    """Return the SHA-256 digest of a secret, as stored in the token file."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def read_tokens(path: Path) -> Sequence[Token]:
    """Return the tokens of a file. Raises InputError if it is invalid."""
    try:
        read = TokenFile.model_validate(parse_json(read_text(path)))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"{path}: {place}: {first['msg']}; genir token new writes it") from None
    except JsonError as error:
        raise InputError(f"{path}: {error}; genir token new writes it") from None
    names = [token.name for token in read.tokens]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path}: two tokens have the name {twice!r}; give each its own")
    for token in read.tokens:
        for field, condition in token.where.items():
            check_condition(field, condition, f"{path}: {token.name}")
    return read.tokens


def check_condition(field: str, condition: Any, place: str) -> None:
    """Raise InputError, prefixed with `place`, for an invalid filter condition."""
    import numpy as np

    from genir.corpus.metadata_filters import matching_rows

    try:
        matching_rows(field, condition, lambda *test: np.zeros(1, dtype=bool))
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


@dataclass(frozen=True)
class TokenSpec:
    """Name, role, scope and model of a token to create."""

    name: str
    role: Role = "read"
    where: dict[str, Any] | None = None
    allow: Sequence[str] | None = None
    model: str | None = None


def new_token(path: Path, spec: TokenSpec) -> str:
    """Add a token to a file, which is created if missing; return the secret, which is not stored.

    Raises:
        InputError: The name is already used, or the file cannot be written.
    """
    tokens = list(read_tokens(path)) if path.exists() else []
    if any(token.name == spec.name for token in tokens):
        raise InputError(
            f"{path}: there is a token {spec.name!r} already; take its line out to revoke it, "
            "or choose another name"
        )
    secret = PREFIX + secrets.token_urlsafe(32)
    try:
        made = Token(
            name=spec.name,
            sha256=hash_of(secret).hex(),
            role=spec.role,
            where=spec.where or {},
            allow=None if spec.allow is None else as_keys(spec.allow, "allow"),
            model=spec.model,
        )
    except ValidationError as error:
        raise InputError(
            f"token {spec.name!r}: {error.errors()[0]['msg']}; use letters, digits, . _ @ and -"
        ) from None
    for field, condition in made.where.items():
        check_condition(field, condition, f"token {spec.name!r}")
    _write(path, [*tokens, made])
    return secret


def _write(path: Path, tokens: Sequence[Token]) -> None:
    """Write the file atomically, readable by its owner only."""
    content = {"tokens": [token.model_dump(exclude_defaults=True) for token in tokens]}
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        fsync_parent(path.parent)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
