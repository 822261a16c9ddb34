"""What a measurement asks: a model for keys alone, and baselines whose answers are kept.

All rows of a collection are held against the same answers of the same baselines, so these are found
once and kept in the work folder.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.locks import held
from genir.decoding.masks import LiveRows
from genir.evaluation.compare import DEPTH
from genir.records import Filter, Hit, Searcher
from genir.retriever import BATCH, Retriever


class Bare:
    """A model whose hits are keys: what a reader is shown of each is not looked up."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever
        self._live = LiveRows.build([retriever.table.live])
        self.bytes_per_document = retriever.bytes_per_document

    def search(self, queries: list[str], k: int, where: Filter | None = None) -> list[list[Hit]]:
        """Return what the model's own search finds, without filter."""
        assert where is None
        keys, width = self._retriever.table.keys, self._retriever.width(k)
        found: list[list[Hit]] = []
        for start in range(0, len(queries), BATCH):
            ranked = self._retriever.rank(queries[start : start + BATCH], k, self._live, width)
            found += [
                [Hit(keys[item.document], item.score, rank) for rank, item in enumerate(own, 1)]
                for own in ranked
            ]
        return found


class Remembered:
    """A searcher that was asked before: it knows these queries, and no others."""

    def __init__(self, found: Mapping[str, Sequence[str]], size: float) -> None:
        self._found = found
        self.bytes_per_document = size

    def search(self, queries: list[str], k: int, where: Filter | None = None) -> list[list[Hit]]:
        """Return the hits of known queries, `DEPTH` at most; their scores say the order alone."""
        assert where is None and k <= DEPTH
        return [
            [Hit(key, -float(rank), rank) for rank, key in enumerate(self._found[query][:k], 1)]
            for query in queries
        ]


def remembered(
    work: Path, name: str, texts: Sequence[str], fit: Callable[[], Mapping[str, Searcher]]
) -> dict[str, Remembered]:
    """Return searchers that answer these texts as those of `fit` do, which are asked once.

    name: of the file; it must tell apart whatever the answers depend on.
    """
    file = work / "baselines" / f"{name}.json"
    with held(work, f"baselines-{name}"):
        if not file.is_file():
            asked = {name: _ask(searcher, texts) for name, searcher in fit().items()}
            file.parent.mkdir(exist_ok=True)
            part = file.with_name(f"{file.name}.part")
            part.write_text(json.dumps(asked), encoding="utf-8")
            part.replace(file)
    known = json.loads(file.read_text(encoding="utf-8"))
    return {name: Remembered(own["found"], own["bytes"]) for name, own in known.items()}


def _ask(searcher: Searcher, texts: Sequence[str]) -> dict[str, object]:
    hits = searcher.search(list(texts), DEPTH)
    found = {text: [hit.key for hit in own] for text, own in zip(texts, hits, strict=True)}
    return {"bytes": getattr(searcher, "bytes_per_document", 0.0), "found": found}
