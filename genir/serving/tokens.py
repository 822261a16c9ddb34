"""Bearer tokens: a file that knows only their digests, and whom a secret belongs to."""

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
from genir.console import command
from genir.errors import InputError
from genir.folders import flush_entry
from genir.json_text import JsonError, parse_json
from genir.records import Selection
from genir.text_files import read_text

Role = Literal["read", "write"]
PREFIX = "genir_"
"""Opens every secret, so that scanners find one that was left lying about."""
MODE = 0o600


class Token(BaseModel):
    """A line of the file. The secret itself stands nowhere: it is 256 random bits, so that one
    round of sha256 hides it.

    where, allow: a filter and keys that bound what this token may find, read and change.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=64, pattern=r"^[\w.@-]+$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    role: Role = "read"
    where: dict[str, Any] = {}
    allow: list[str] | None = None


class TokenFile(BaseModel):
    """The file: `{"tokens": [...]}`."""

    model_config = ConfigDict(extra="forbid")

    tokens: list[Token] = []


@dataclass(frozen=True)
class Caller:
    """Who asks, and what is open to them. scope: None where everything is."""

    name: str
    role: Role | None
    scope: Selection | None = None


class Tokens:
    """The tokens of a file, read again whenever it changes.

    A file that is gone or cannot be opened refuses every token; one whose content is damaged, such
    as half of a file that is being written, leaves the tokens as they were.
    """

    def __init__(self, path: Path) -> None:
        """Read the file. Raises InputError for one that cannot be read."""
        self.path = path
        self._stamp: tuple[int, ...] = ()
        self._callers: list[tuple[bytes, Caller]] = []
        self._load(self._facts())

    @property
    def writable(self) -> bool:
        """Tell whether any token may write."""
        return any(caller.role == "write" for _, caller in self._callers)

    def refresh(self) -> bool:
        """Read the file again if it has changed; tell whether it had.

        Raises InputError, once, for a file that cannot be opened or is damaged.
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

    def caller(self, secret: str) -> Caller | None:
        """Return whose secret it is. Takes as long for a wrong one as for a right one."""
        digest, found = hash_of(secret), None
        for known, caller in self._callers:
            if hmac.compare_digest(known, digest):
                found = caller
        return found

    def _facts(self) -> tuple[int, ...]:
        """Return what changes with the file. Raises InputError unless it can be opened."""
        try:
            facts = self.path.stat()
            if not stat.S_ISREG(facts.st_mode):  # a pipe would wait for its writer
                raise OSError(errno.EINVAL, "no regular file")
            if self._stamp and facts_of(facts) == self._stamp:
                return self._stamp
            with self.path.open("rb"):
                pass
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be read ({error.strerror}); "
                f"make one with: genir token new NAME {command('--file', self.path)}"
            ) from None
        return facts_of(facts)

    def _load(self, facts: tuple[int, ...]) -> None:
        self._stamp = facts  # also of a bad file: it is complained of once
        tokens = read_tokens(self.path)
        self._callers = [(bytes.fromhex(one.sha256), _caller(one)) for one in tokens]


def facts_of(facts: os.stat_result) -> tuple[int, ...]:
    """Return what changes when a file is replaced, written to, or given other permissions."""
    return facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size


def _caller(token: Token) -> Caller:
    allow = () if token.allow is None else (frozenset(token.allow),)
    where = (token.where,) if token.where else ()
    scope = Selection(where, allow, closed=True) if where or allow else None
    return Caller(token.name, token.role, scope)


def hash_of(secret: str) -> bytes:
    """Return the digest that the file holds of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def read_tokens(path: Path) -> Sequence[Token]:
    """Return the tokens of a file. Raises InputError naming what is wrong with it."""
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
    """Raise InputError, opened by `place`, for a condition that could never be tested."""
    import numpy as np

    from genir.corpus.conditions import passing

    try:
        passing(field, condition, lambda *test: np.zeros(1, dtype=bool))
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


@dataclass(frozen=True)
class Wish:
    """A token to be made."""

    name: str
    role: Role = "read"
    where: dict[str, Any] | None = None
    allow: Sequence[str] | None = None


def new_token(path: Path, wish: Wish) -> str:
    """Add a token to a file, made if there is none; return the secret, which is not kept.

    Raises InputError for a name that is taken and for a file that cannot be written.
    """
    tokens = list(read_tokens(path)) if path.exists() else []
    if any(token.name == wish.name for token in tokens):
        raise InputError(
            f"{path}: there is a token {wish.name!r} already; take its line out to revoke it, "
            "or choose another name"
        )
    secret = PREFIX + secrets.token_urlsafe(32)
    try:
        made = Token(
            name=wish.name,
            sha256=hash_of(secret).hex(),
            role=wish.role,
            where=wish.where or {},
            allow=None if wish.allow is None else as_keys(wish.allow, "allow"),
        )
    except ValidationError as error:
        raise InputError(
            f"token {wish.name!r}: {error.errors()[0]['msg']}; use letters, digits, . _ @ and -"
        ) from None
    for field, condition in made.where.items():
        check_condition(field, condition, f"token {wish.name!r}")
    _write(path, [*tokens, made])
    return secret


def _write(path: Path, tokens: Sequence[Token]) -> None:
    """Write the file in one step, for its owner alone."""
    told = {"tokens": [token.model_dump(exclude_defaults=True) for token in tokens]}
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(told, file, indent=2, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        flush_entry(path.parent)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
