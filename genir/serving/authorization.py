"""Authorization: the rights of bearer tokens and of requests without a token."""

import logging
from typing import Annotated

from fastapi import Depends, Request
from starlette.exceptions import HTTPException

from genir.errors import InputError
from genir.serving.jobs import current_caller
from genir.serving.origins import ANY, network_of_client
from genir.serving.schemas import Access
from genir.serving.settings import Settings
from genir.serving.tokens import Principal, Tokens
from genir.serving.trusted_proxies import is_foreign

log = logging.getLogger("genir.serving")
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="genir"'}
NO_WRITES = (
    "this server accepts no changes; start it with --tokens and a token of the role write, or on "
    "127.0.0.1 (without --no-writes and --cors '*')"
)

NO_FOREIGN_WRITES = (
    "without tokens, changes are accepted only from this machine: not from pages of other origins "
    "and not through a proxy; start the server with --tokens and a token of the role write"
)
FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
"""Headers that proxies add."""


class Authorizer:
    """Decides the rights of a request."""

    def __init__(self, settings: Settings, loopback: bool) -> None:
        """Read the tokens. `loopback` says that only this machine can reach the server.

        Raises InputError if writes are enabled without protection.
        """
        self.tokens = Tokens(settings.tokens) if settings.tokens else None
        guarded = self.tokens is not None and self.tokens.writable
        self._alone = loopback and ANY not in settings.cors
        unguarded = self.tokens is None and self._alone
        if settings.writes and not (guarded or unguarded):
            raise InputError(
                "--writes: the documents would be unprotected; give --tokens a file with a token "
                "of the role write (genir token new NAME --role write), or listen on 127.0.0.1 "
                "without --cors '*'"
            )
        self._writes = settings.writes
        self._public = settings.public or self.tokens is None

    @property
    def writes(self) -> bool:
        """Whether any caller may change documents."""
        if self._writes is not None:
            return self._writes
        return self._alone if self.tokens is None else self.tokens.writable

    def caller(self, authorization: str | None) -> Principal:
        """Return the caller of a request. Raises HTTPException 401 for an unknown token."""
        if self.tokens is None:
            return Principal("", "write" if self.writes else "read")
        self._refresh(self.tokens)
        if authorization is None:
            return Principal("", "read" if self._public else None)
        scheme, _, secret = authorization.partition(" ")
        found = self.tokens.caller(secret.strip()) if scheme.lower() == "bearer" else None
        if found is None:
            raise HTTPException(
                401,
                "unknown bearer token; send one that genir token new made for this server",
                CHALLENGE,
            )
        return found

    def _refresh(self, tokens: Tokens) -> None:
        try:
            if tokens.refresh():
                log.info("tokens reloaded")
        except InputError as error:
            log.error("%s", error)

    def access_facts(self, caller: Principal, request: Request) -> Access:
        """Return the rights of a request, as the model card shows them."""
        writes = self.writes and not self.refuses_place(request)
        return Access(
            tokens=self.tokens is not None,
            reads=caller.role is not None,
            writes=writes and caller.role == "write",
            writes_with_token=writes,
            scoped=caller.scope is not None,
            token=caller.name or None,
        )

    def refuses_place(self, request: Request) -> bool:
        """Return whether changes are refused: without tokens, only this machine may make them."""
        return self.tokens is None and _comes_from_elsewhere(request)


async def anyone(request: Request) -> Principal:
    """Return the caller, with or without rights. Raises HTTPException 401 or 403."""
    caller = request.app.state.gate.caller(request.headers.get("authorization"))
    _refuse_other_model(caller, request)
    current_caller.set(_turn_of(caller, request))
    request.state.scoped = caller.scope is not None
    if caller.name:
        request.state.facts["token"] = caller.name
    return caller


def _refuse_other_model(caller: Principal, request: Request) -> None:
    """Raise HTTPException 403 for a token of another model than the served one."""
    if caller.model is None:
        return
    folder = request.app.state.service.served.folder
    if folder is None or folder.name != caller.model:
        detail = f"the token {caller.name!r} is for the model {caller.model!r}; use another token"
        raise HTTPException(403, detail)


def _turn_of(caller: Principal, request: Request) -> str:
    """Return the name under which a request is queued fairly: its token or its address."""
    if caller.name:
        return f"token {caller.name}"
    try:
        return network_of_client(request.client.host if request.client else "")
    except ValueError:  # a Unix socket
        return "no address"


async def reader(request: Request) -> Principal:
    """Return a caller who may search. Raises HTTPException 401."""
    caller = await anyone(request)
    if caller.role is None:
        raise HTTPException(401, "send a token: Authorization: Bearer ...", CHALLENGE)
    return caller


async def writer(request: Request) -> Principal:
    """Return a caller who may change documents. Raises HTTPException 401 or 403."""
    caller, gate = await anyone(request), request.app.state.gate
    if not gate.writes:
        raise HTTPException(403, NO_WRITES)
    if gate.refuses_place(request):
        raise HTTPException(403, NO_FOREIGN_WRITES)
    if caller.role != "write":
        if caller.name:
            raise HTTPException(403, f"the token {caller.name!r} may read, not write")
        detail = "send a token of the role write: Authorization: Bearer ..."
        raise HTTPException(401, detail, CHALLENGE)
    return caller


def _comes_from_elsewhere(request: Request) -> bool:
    """Return whether a request came through a proxy or from a page of another origin."""
    return any(name in request.headers for name in FORWARDED) or is_foreign(request.scope)


def _unscoped(caller: Principal) -> Principal:
    if caller.scope is not None:
        detail = f"the token {caller.name!r} is limited to some documents; use one for all of them"
        raise HTTPException(403, detail)
    return caller


async def admin(request: Request) -> Principal:
    """Return a caller who may change all documents. Raises HTTPException 401 or 403."""
    return _unscoped(await writer(request))


async def unscoped_admin(request: Request) -> Principal:
    """Return a caller who may read all documents. Raises HTTPException 401 or 403."""
    return _unscoped(await reader(request))


AUTH_DEPENDENCIES = (anyone, reader, writer, admin, unscoped_admin)
"""FastAPI dependencies for authorization; `GuardedRoute` runs them before it reads a body."""
Anyone = Annotated[Principal, Depends(anyone)]
Reader = Annotated[Principal, Depends(reader)]
Writer = Annotated[Principal, Depends(writer)]
Admin = Annotated[Principal, Depends(admin)]
UnscopedAdmin = Annotated[Principal, Depends(unscoped_admin)]
