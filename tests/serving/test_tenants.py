"""Responses to a scoped token do not depend on documents outside its scope.

GENIR_TENANTS=100000 pytest tests/serving/test_tenants.py
"""

import json
import sys
from collections import Counter
from random import Random

import pytest
from tenants import ANSWERS, read, worlds, write
from tiny import GATHERED, tiny_retriever

SCHEMES = ("atomic", "residual", "url", "ngram", "views")
ROUND = 25 if ANSWERS < 2_000 else 250
"""Number of requests to each pair of servers."""


@pytest.fixture(scope="session")
def models(tiny_encoder, tiny_corpus, tiny_folder, tmp_path_factory):
    """Return the cached model folder of a scheme."""
    place, made = tmp_path_factory.mktemp("tenants"), {}

    def folder(scheme):
        if scheme not in GATHERED:
            return tiny_folder(scheme)
        if scheme not in made:
            made[scheme] = place / scheme
            options = {"strategy": GATHERED[scheme], "softmax": "trie"}
            store = place / f"{scheme}.sqlite"
            tiny_retriever(tiny_encoder, tiny_corpus, store, scheme, **options).save(made[scheme])
        return made[scheme]

    return folder


@pytest.mark.timeout(7200 if ANSWERS > 2_000 else 300)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_foreign_documents_change_no_answer(scheme, models, tiny_corpus, tmp_path):
    lines = (tiny_corpus / "corpus.jsonl").read_text().splitlines()
    base = {one["_id"]: one for one in map(json.loads, lines)}
    share, seen, statuses, number = ANSWERS // len(SCHEMES), 0, Counter(), 0
    while seen < share:
        rng, number = Random(f"{scheme} {number} {ANSWERS}"), number + 1
        folder = tmp_path / str(number)
        folder.mkdir()
        with worlds(rng, models(scheme), base, folder) as both:
            for _ in range(ROUND):
                status, answers = read(rng, both)
                statuses[status] += answers
                seen += answers
            for _ in range(max(5, ROUND // 20)):
                statuses[write(rng, both).status_code] += 1
            both.ask("GET", "/v1/model")
    assert statuses[200] > share // 2 and len(statuses) > 2
    sys.stdout.write(f"{scheme}: {seen} answers in {number} scopes, {dict(statuses)}\n")
