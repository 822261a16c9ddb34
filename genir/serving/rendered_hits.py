"""Hits with snippets as JSON, encoded step by step outside of the event loop."""

from collections.abc import Iterable
from dataclasses import dataclass

from genir.serving.fair_thread import Steps
from genir.serving.protocols import Matched
from genir.serving.schemas import HitMessage
from genir.types import Hit


@dataclass(frozen=True)
class RenderedHits:
    """The hits of one query: a JSON array of `HitMessage`, and the document keys, best first."""

    json: bytes
    keys: tuple[str, ...]
    proven: bool | None = None


def render(matched: Matched) -> Steps[RenderedHits]:
    """Create snippets and JSON of an answer, one hit per step."""
    hits, encoded = list[Hit](), list[str]()
    for hit in matched:
        hits.append(hit)
        encoded.append(HitMessage.model_validate(hit).model_dump_json(exclude_none=True))
        yield
    content = f"[{','.join(encoded)}]".encode()
    return RenderedHits(content, tuple(hit.key for hit in hits), matched.proven)


def render_all(every: Iterable[Matched]) -> Steps[list[RenderedHits]]:
    """Create snippets and JSON of several answers."""
    shown = []
    for matched in every:
        shown.append((yield from render(matched)))
    return shown
