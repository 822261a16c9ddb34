"""Losses of beam search: gold documents pruned at each level, and found by exact search only."""

from collections import Counter
from collections.abc import Sequence
from time import perf_counter_ns

import torch

from genir.decoding.row_mask import RowMask
from genir.evaluation.compare import Decoding, ExactComparison
from genir.progress import tracked
from genir.retriever import QUERIES_PER_BATCH, Retriever
from genir.types import Qrel, Query


def diagnose(
    retriever: Retriever, queries: Sequence[Query], qrels: Sequence[Qrel], k: int = 10
) -> Decoding:
    """Track gold documents through the recipe's beam, then compare beam and exact search.

    Gold documents are live and judged above 0. k: number of hits of both searches.
    """
    retriever.decoder.traceable_strategy("--diagnose")
    gold = _gold(retriever, qrels)
    asked = [query for query in queries if query.key in gold]
    width = retriever.decoder.beam_width(k)
    pruned, counts = Counter[int](), Counter[str]()
    for start in tracked(range(0, len(asked), QUERIES_PER_BATCH), "diagnosis"):
        texts = [query.text for query in asked[start : start + QUERIES_PER_BATCH]]
        wanted = [gold[query.key] for query in asked[start : start + QUERIES_PER_BATCH]]
        pruned.update(_pruned_at(retriever, texts, wanted, width))
        counts.update(_both(retriever, texts, wanted, k, width))
    pairs, queries_asked = sum(map(len, gold.values())), max(1, len(asked))
    return Decoding(
        gold=pairs,
        beams=width,
        pruned=[pruned[level] / max(1, pairs) for level in range(retriever.table.depth)],
        beam_against_exact=ExactComparison(
            k=k,
            beam=counts["beam"],
            exact=counts["exact"],
            missed=counts["missed"],
            proven=counts["proven"] / queries_asked,
            beam_ms=counts["beam_ns"] / queries_asked / 1e6,
            exact_ms=counts["exact_ns"] / queries_asked / 1e6,
        ),
    )


def _gold(retriever: Retriever, qrels: Sequence[Qrel]) -> dict[str, set[int]]:
    """Return query key -> numbers of its gold documents."""
    table, gold = retriever.table, dict[str, set[int]]()
    for qrel in qrels:
        if qrel.grade > 0 and qrel.document in table:
            number = table.number(qrel.document)
            if table.live[table.rows_of(number)].any():
                gold.setdefault(qrel.query, set()).add(number)
    return gold


@torch.inference_mode()
def _pruned_at(
    retriever: Retriever, texts: Sequence[str], wanted: Sequence[set[int]], width: int
) -> list[int]:
    """Return the level, from 0, at which each pruned gold document was pruned."""
    table = retriever.table
    followed = {
        (place, number): table.rows_of(number)[table.live[table.rows_of(number)]]
        for place, numbers in enumerate(wanted)
        for number in numbers
    }
    live = RowMask.build([table.live]).to(retriever.model.device)
    stage, levels = retriever.decoder.stage, []
    strategy = retriever.decoder.traceable_strategy("--diagnose")
    with stage.autocast():
        for level, step in enumerate(strategy.trace(stage, texts, live, width)):
            both = (step.beams, step.finished)
            low = torch.cat([one.low for one in both], dim=1).cpu().numpy()
            high = torch.cat([one.high for one in both], dim=1).cpu().numpy()
            for (place, number), rows in list(followed.items()):
                under = (low[place, :, None] <= rows) & (rows < high[place, :, None])
                if not under.any():
                    levels.append(level)
                    del followed[place, number]
    return levels


def _both(
    retriever: Retriever, texts: Sequence[str], wanted: Sequence[set[int]], k: int, width: int
) -> dict[str, int]:
    """Count the gold documents that beam and exact search find, and their nanoseconds."""
    live, times, hits = RowMask.build([retriever.table.live]), [], []
    for exact in (False, True):
        begin = perf_counter_ns()
        answers = retriever.decoder.rank(texts, k, live, width, exact)
        times.append(perf_counter_ns() - begin)
        hits.append(
            [
                {item.document for item in answer} & numbers
                for answer, numbers in zip(answers, wanted, strict=True)
            ]
        )
    beam, exact_hits = hits
    return {
        "beam": sum(map(len, beam)),
        "exact": sum(map(len, exact_hits)),
        "missed": sum(len(more - own) for own, more in zip(beam, exact_hits, strict=True)),
        "proven": sum(answer.proven is True for answer in answers),
        "beam_ns": times[0],
        "exact_ns": times[1],
    }
