"""Evaluation on the dev queries during training, sharded over the processes."""

from collections.abc import Mapping

from accelerate import Accelerator
from accelerate.utils import gather_object

from genir.decoding.row_mask import RowMask
from genir.retriever import QUERIES_PER_BATCH, Retriever

DEV_DEPTH = 10
DevMetrics = dict[str, float | None]
"""RR@10 and Success@10; None without dev queries."""


def evaluate_dev(
    retriever: Retriever,
    questions: Mapping[str, frozenset[str]],
    accelerator: Accelerator | None = None,
) -> DevMetrics:
    """Return RR@10 and Success@10 on dev queries; None if there are none.

    Args:
        questions: Keys of the answering documents by query text.
        accelerator: Processes that share the work, all of which call this; None for one process.
    """
    place, places = 0, 1
    if accelerator is not None:
        place, places = accelerator.process_index, accelerator.num_processes
    texts = list(questions)[place::places]
    ranks: list[int] = []
    live = RowMask.build([retriever.table.live])
    width = retriever.decoder.beam_width(DEV_DEPTH)
    for start in range(0, len(texts), QUERIES_PER_BATCH):
        batch = texts[start : start + QUERIES_PER_BATCH]
        found = retriever.decoder.rank(batch, DEV_DEPTH, live, width)
        for text, ranked in zip(batch, found, strict=True):
            keys = [retriever.table.keys[item.document] for item in ranked]
            ranks.append(next((i for i, k in enumerate(keys, 1) if k in questions[text]), 0))
    everyone = gather_object(ranks) if places > 1 else ranks
    if not everyone:
        return {"RR@10": None, "Success@10": None}
    return {
        "RR@10": round(sum(1 / rank for rank in everyone if rank) / len(everyone), 4),
        "Success@10": round(sum(rank > 0 for rank in everyone) / len(everyone), 4),
    }


def shown(value: float | None) -> str:
    """Return a dev score for people."""
    return "not measured" if value is None else f"{value:.3f}"
