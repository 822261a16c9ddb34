from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import (
    PriorDice,
    ask,
    document_oracle,
    exhaustive_oracle,
    random_live,
    random_table,
    seeds,
    tables,
)

from genir.decoding.aggregate import Ranked
from genir.decoding.exact import exact_search
from genir.decoding.exact_documents import exact_documents, is_final

approx = partial(pytest.approx, abs=1e-4)


@settings(max_examples=60)
@given(tables, seeds, st.booleans(), st.sampled_from(["max", "logsumexp"]), st.integers(1, 9))
def test_proven_documents_are_the_best(table, seed, free, aggregate, k):
    live = np.stack([random_live(table, share, seed) for share in (0.5, 1.0, 0.0)])
    queries, model = [3, 1, 4], PriorDice(table, free)

    def search(which, wanted):
        chosen = [queries[place] for place in which]
        return ask(exact_search, model, table, chosen, live[list(which)], wanted, max_nodes=10**6)

    answers = exact_documents(search, table, live, k, aggregate)
    for query, mask, answer in zip(queries, live, answers, strict=True):
        expected = dict(
            document_oracle(table, exhaustive_oracle(model, table, query, mask), mask, aggregate)
        )
        assert answer.proven is True
        keys = [table.keys[item.document] for item in answer]
        assert len(set(keys)) == len(keys) == min(k, len(expected))
        # Each has the place that its score gives it, ties aside, which rounding may break.
        best = sorted(expected.values(), reverse=True)[:k]
        assert [expected[key] for key in keys] == approx(best)
        if aggregate == "max":
            assert [item.score for item in answer] == approx(best)


def test_without_a_proof_nothing_is_answered():
    table = random_table(documents=50, symbols=3, depth=4, several=1, seed=5)
    model, live = PriorDice(table, free=False), np.ones((1, len(table)), bool)

    def search(which, wanted):
        return ask(exact_search, model, table, [7], live, wanted, max_nodes=2)

    (answer,) = exact_documents(search, table, live, 3, "max")
    assert (answer, answer.proven) == ([], False)


def test_possible_additions_leave_close_ranks_unproven():
    ranked = [Ranked(n, score, n) for n, score in enumerate([-1.0, -2.0, -5.0])]
    assert is_final(ranked, 2, -np.inf)
    assert is_final(ranked, 2, -4.0)  # log(e^-5 + e^-4) = -3.7, log(e^-2 + e^-4) = -1.9
    assert not is_final(ranked, 2, -1.5)
    assert not is_final(ranked, 4, -np.inf)
    assert is_final([Ranked(0, -1.0, 0), Ranked(1, -1.0, 1)], 2, -np.inf)
