"""Hits with snippets as JSON, encoded step by step outside of the event loop."""

from collections.abc import Iterable
from dataclasses import dataclass

from genir.records import Hit
from genir.serving.messages import HitMessage
from genir.serving.served import Matched
from genir.serving.threads import Steps


@dataclass(frozen=True)
class Shown:
    """The hits of one query: a JSON array of `HitMessage`, and the document keys, best first."""

    json: bytes
    keys: tuple[str, ...]
    proven: bool | None = None


def show(matched: Matched) -> Steps[Shown]:
    """Create snippets and JSON of an answer, one hit per step."""
    hits, encoded = list[Hit](), list[str]()
    for hit in matched:
        hits.append(hit)
        encoded.append(HitMessage.model_validate(hit).model_dump_json())
        yield
    content = f"[{','.join(encoded)}]".encode()
    return Shown(content, tuple(hit.key for hit in hits), matched.proven)


def show_all(every: Iterable[Matched]) -> Steps[list[Shown]]:
    """Create snippets and JSON of several answers."""
    shown = []
    for matched in every:
        shown.append((yield from show(matched)))
    return shown
