"""Evaluation on the dev queries during training, sharded over the processes."""

from collections.abc import Mapping

from accelerate import Accelerator
from accelerate.utils import gather_object

from genir.decoding.row_mask import RowMask
from genir.retriever import QUERIES_PER_BATCH, Retriever

DEV_DEPTH = 10


def evaluate_dev(
    retriever: Retriever,
    questions: Mapping[str, frozenset[str]],
    accelerator: Accelerator | None = None,
) -> dict[str, float]:
    """Return RR@10 and Success@10 on dev queries.

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
    width = max(DEV_DEPTH, retriever.recipe.decoding.beams)
    for start in range(0, len(texts), QUERIES_PER_BATCH):
        batch = texts[start : start + QUERIES_PER_BATCH]
        found = retriever.rank(batch, DEV_DEPTH, live, width)
        for text, ranked in zip(batch, found, strict=True):
            keys = [retriever.table.keys[item.document] for item in ranked]
            ranks.append(next((i for i, k in enumerate(keys, 1) if k in questions[text]), 0))
    everyone = gather_object(ranks) if places > 1 else ranks
    count = max(1, len(everyone))
    return {
        "RR@10": round(sum(1 / rank for rank in everyone if rank) / count, 4),
        "Success@10": round(sum(rank > 0 for rank in everyone) / count, 4),
    }
