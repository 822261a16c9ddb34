"""Routes that change documents: add, replace, delete, rollback, compact; and swap the model."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi import Path as InPath
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from genir.corpus.serialization import MAX_KEY, record_of
from genir.errors import FolderError
from genir.serving.authorization import Admin, Reader, Writer
from genir.serving.authorized_route import GuardedRoute
from genir.serving.document_requests import (
    DocumentsRequest,
    FolderRequest,
    SyncRequest,
    VersionRequest,
    read_documents,
)
from genir.serving.errors import RESPONSES
from genir.serving.model_checks import require_writable
from genir.serving.protocols import SearchModel, UpdatableModel
from genir.serving.request_limits import deadline_of, version_for
from genir.serving.schemas import State
from genir.serving.service import Service
from genir.serving.token_scopes import (
    require_changeable,
    require_in_scope,
    require_new,
    require_visible,
)
from genir.serving.tokens import Principal
from genir.updates.difference import Difference

router = APIRouter(responses=RESPONSES, tags=["documents"], route_class=GuardedRoute)
KeyInPath = Annotated[str, InPath(description="a document's key", max_length=MAX_KEY)]


class Changes(BaseModel):
    """Result of a change, which is visible to all later queries."""

    keys: list[str] = []
    version: int | None = Field(
        default=None, description="of the documents; null for a token bound to a part of them"
    )


class VersionLine(BaseModel):
    """An entry in the list of versions."""

    version: int
    kind: str
    made: str
    documents: int
    target: int | None
    kept: bool = Field(description="whether POST /v1/rollback can restore it")


class SyncResult(BaseModel):
    """Difference between the documents before and those of the folder, by key."""

    added: list[str]
    changed: list[str]
    renamed: dict[str, str] = Field(description="key in the folder, by key before")
    deleted: list[str]
    unchanged: int = Field(description="number of equal documents")
    version: int


class Versions(BaseModel):
    """All versions of the documents, oldest first."""

    version: int
    versions: list[VersionLine]


@router.post("/documents", status_code=201)
async def add(
    body: DocumentsRequest, request: Request, response: Response, caller: Writer
) -> Changes:
    """Add or replace documents. They are searchable when the response arrives."""
    service = _service(request)
    documents = await run_in_threadpool(read_documents, body, service.settings)

    def work(retriever: UpdatableModel) -> list[str]:
        require_in_scope(documents, caller.scope)
        if not body.replace:
            return retriever.add(documents, body.queries, partial(require_new, retriever))
        check = partial(require_changeable, retriever, scope=caller.scope)
        return retriever.replace(documents, body.queries, check)

    kind = "replace" if body.replace else "add"
    request.state.facts["documents"] = len(documents)
    keys, version = await service.change(kind, work, _deadline(service))
    response.status_code = 200 if body.replace else 201
    return Changes(keys=keys, version=version_for(caller, version))


@router.delete("/documents/{key:path}")
async def delete(key: KeyInPath, request: Request, caller: Writer) -> Changes:
    """Delete a document. Later queries do not return it."""
    service = _service(request)

    def work(retriever: UpdatableModel) -> list[str]:
        return retriever.delete([key], partial(require_changeable, retriever, scope=caller.scope))

    keys, version = await service.change("delete", work, _deadline(service))
    return Changes(keys=keys, version=version_for(caller, version))


@router.get("/documents/{key:path}", response_model=dict[str, Any])
async def show(key: KeyInPath, request: Request, caller: Reader) -> dict[str, Any]:
    """Return a document with the fields of corpus.jsonl."""
    record, url = await find_document(key, request, caller)
    return record | ({"url": url} if url else {})


async def find_document(
    key: str, request: Request, caller: Principal
) -> tuple[dict[str, Any], str]:
    """Return the record of a document that the caller may find, and its URL as shown to users.

    Raises:
        HTTPException: 404: no such document, or not visible to the caller.
    """
    service = _service(request)

    def ask(served: SearchModel) -> tuple[dict[str, Any], str]:
        require_visible(served, [key], caller.scope)
        found = served.documents.find(key)
        if found is None:
            raise FolderError(f"the document store has no document {key!r:.200}; restore it")
        return record_of(found), served.shown_url(found.url)

    return await service.ask(ask, _deadline(service))


@router.post("/sync")
async def sync(body: SyncRequest, request: Request, caller: Admin) -> SyncResult:
    """Make the documents equal to those of the folder given by `--sync-folder`, as one version."""
    service = _service(request)
    folder = service.settings.sync_folder
    if folder is None:
        raise HTTPException(422, "this server has no folder; start it with --sync-folder")

    def work(retriever: UpdatableModel) -> Difference:
        return retriever.mirror(folder, dry_run=body.dry_run)

    kind = "sync-dry-run" if body.dry_run else "sync"
    found, version = await service.change(kind, work, _deadline(service))
    values = {name: getattr(found, name) for name in SyncResult.model_fields if name != "version"}
    request.state.facts |= {name: len(keys) for name, keys in values.items() if name != "unchanged"}
    return SyncResult(**values, version=version)


@router.get("/versions")
async def versions(request: Request, caller: Admin) -> Versions:
    """Return all versions of the documents."""
    service = _service(request)

    def ask(served: UpdatableModel) -> Versions:
        lines = [VersionLine(**asdict(line)) for line in served.versions()]
        return Versions(version=served.version, versions=lines)

    return await service.ask(ask, _deadline(service))  # type: ignore[arg-type]


@router.post("/rollback")
async def rollback(body: VersionRequest, request: Request, caller: Admin) -> Changes:
    """Restore the documents of an earlier version. This creates a new version."""
    service = _service(request)
    _, version = await service.change(
        "rollback", lambda retriever: retriever.rollback(body.version), _deadline(service)
    )
    return Changes(version=version)


@router.post("/compact")
async def compact(request: Request, caller: Admin) -> Changes:
    """Rewrite the model folder without deleted documents. Searches continue meanwhile."""
    service = _service(request)
    require_writable(service.checker)
    _, version = await service.change(
        "compact", lambda retriever: retriever.compact(), _deadline(service)
    )
    return Changes(version=version)


@router.post("/model")
async def swap(body: FolderRequest, request: Request, caller: Admin) -> State:
    """Swap in another model folder. Searches continue meanwhile."""
    service = _service(request)
    folder = _below(body.folder, service)
    request.state.facts["folder"] = folder.name
    await service.swap(folder, _deadline(service))
    return State(status=f"serving {folder.name}")


def _service(request: Request) -> Service:
    return request.app.state.service


def _deadline(service: Service) -> float:
    return deadline_of(None, service.settings)


def _below(name: str, service: Service) -> Path:
    """Return a model folder by name. Raises HTTPException 422 for one outside `--models`."""
    served = service.served
    top = service.settings.models or (served.folder.parent if served.folder else None)
    if top is None:
        raise HTTPException(
            422, "folder: this model is in no folder; start the server with --models"
        )
    top = top.resolve()
    try:
        folder = (top / name).resolve()
        inside = folder.is_relative_to(top) and folder.is_dir()
    except (OSError, ValueError):  # a NUL, an unpaired surrogate, too long a name
        inside = False
    if not inside:
        raise HTTPException(422, f"folder: no model folder {name!r:.80} below {top.name!r}")
    return folder
