"""Compare two TREC runs by paired t-tests on RR@10 and Success@10.

Usage: python -m benchmarks.scripts_from_docs.compare_runs QRELS RUN OTHER_RUN
"""

import sys
from pathlib import Path
from statistics import fmean

from scipy.stats import ttest_rel

from benchmarks.scripts_from_docs.trec import read_gold, read_hits, reciprocal_rank
from genir.evaluation.significance import p_greater


def main(qrels: Path, run: Path, other: Path) -> None:
    """Print means and p-values: one-sided (run above other) and two-sided."""
    gold = read_gold(qrels)
    ranks = [
        [reciprocal_rank(hits.get(query, []), key) for query, key in gold.items()]
        for hits in (read_hits(run), read_hits(other))
    ]
    found = [[float(value > 0) for value in own] for own in ranks]
    for measure, (own, others) in (("RR@10", ranks), ("Success@10", found)):
        two_sided = ttest_rel(own, others).pvalue
        sys.stdout.write(
            f"{measure}: {fmean(own):.3f} against {fmean(others):.3f}, "
            f"p = {p_greater(own, others):.2g} one-sided, {two_sided:.2g} two-sided\n"
        )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
