"""No request with a scoped token finds, reads or changes documents outside its scope.

GENIR_LEAKS=100000 pytest tests/serving/test_leaks.py
"""

import json
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from living import record, serving

from genir.serving.settings import Settings
from genir.serving.tokens import TokenSpec, new_token

HITS = int(os.environ.get("GENIR_LEAKS", "2000"))
VERBS = ["copy", "delete", "list", "move", "search", "compress", "encrypt", "watch"]
THINGS = ["file", "folder", "disk", "network", "process"]
WORDS = ["duplicate", "erase", "show", "rename", "find", "pack", "hide", "monitor", "document",
         "directory", "drive", "host", "program", "text", "tree", "task"]  # fmt: skip


def passes(document, where):
    """Return whether a document passes a filter: a reference implementation in plain Python."""
    return all(_passes(document.get(field), condition) for field, condition in where.items())


def _passes(value, condition):
    values = [one for one in (value if isinstance(value, list) else [value]) if one is not None]
    if not isinstance(condition, dict):
        wanted = condition if isinstance(condition, list) else [condition]
        return any(one in wanted for one in values)
    tests = {
        "gt": lambda a, b: a > b,
        "gte": lambda a, b: a >= b,
        "lt": lambda a, b: a < b,
        "lte": lambda a, b: a <= b,
        "prefix": lambda a, b: isinstance(a, str) and a.startswith(b),
    }
    named = {name: bound for name, bound in condition.items() if name != "not"}
    fits = not named or any(
        all(isinstance(one, str) == isinstance(b, str) and tests[n](one, b)
            for n, b in named.items())
        for one in values
    )  # fmt: skip
    return fits and not ("not" in condition and _passes(value, condition["not"]))


def condition(rng):
    """Return a filter on one field."""
    verb, thing = rng.choice(VERBS), rng.choice(THINGS)
    number = rng.randrange(6)
    return rng.choice(
        [
            {"verb": verb},
            {"verb": rng.sample(VERBS, 3)},
            {"verb": {"not": verb}},
            {"verb": {"prefix": verb[:2]}},
            {"tags": thing},
            {"tags": {"not": [verb, thing]}},
            {"tags": {"prefix": "co", "not": thing}},
            {"section": number},
            {"section": {"gte": number}},
            {"section": {"gt": number - 2, "lt": number + 1}},
            {"section": {"not": {"lte": number}}},
            {"title": {"prefix": verb}},
            {"tenant": rng.choice("ab")},
        ]
    )


def filter_of(rng):
    return {
        name: test for _ in range(rng.choice([0, 1, 1, 2])) for name, test in condition(rng).items()
    }


class World:
    """Expected state: all documents, and the documents visible to each token."""

    def __init__(self, client, tokens, documents):
        self.client, self.tokens, self.documents = client, tokens, documents
        self.hits = self.asked = 0

    def seen(self, name):
        _, where, allow = self.tokens[name]
        return {
            key for key, one in self.documents.items()
            if passes(one, where or {}) and (allow is None or key in allow)
        }  # fmt: skip

    def headers(self, name):
        return {"Authorization": f"Bearer {self.tokens[name][0]}"}

    def ask(self, seed):
        rng = Random(seed)
        name, where = rng.choice([*self.tokens]), filter_of(rng)
        body = {
            "queries": [" ".join(rng.sample(WORDS, rng.randint(1, 4))) for _ in range(12)],
            "k": rng.choice([1, 3, 10, 50]),
            "where": where or None,
            "system": rng.choice(["genir", "genir", "genir", "bm25"]),
        }
        expected = {key for key in self.seen(name) if passes(self.documents[key], where)}
        if rng.random() < 0.2:
            body["deny"] = rng.sample([*self.documents], 3)
            expected -= {*body["deny"]}
        if rng.random() < 0.2:
            body["allow"] = rng.sample([*self.documents], 20)
            expected &= {*body["allow"]}
        return name, body, expected

    def search(self, name, body, expected):
        response = self.client.post("/v1/search", json=body, headers=self.headers(name))
        held = {field for key in self.seen(name) for field in self.documents[key]}
        unknown = {*(body["where"] or {})} - held - {"title"}
        assert (response.status_code == 422) is bool(unknown), response.text
        if unknown:
            assert f"unknown metadata field {min(unknown)!r}" in response.json()["detail"]
            return
        assert response.status_code == 200, response.text
        for result in response.json()["results"]:
            found = [hit["key"] for hit in result["hits"]]
            assert {*found} <= expected and len(found) == len({*found})
            if body["system"] == "genir":
                assert len(found) == min(body["k"], len(expected))
            self.hits += len(found)

    def look(self, rng):
        """Send requests to all other read-only routes."""
        name = rng.choice([*self.tokens])
        seen, headers = self.seen(name), self.headers(name)
        for key in rng.sample([*self.documents], 3):
            status = self.client.get(f"/v1/documents/{key}", headers=headers).status_code
            assert status == (200 if key in seen else 404)
        card = self.client.get("/v1/model", headers=headers).json()
        assert card["documents"] == len(seen)
        shown = {str(one["value"]) for field in card["fields"] for one in field["values"]}
        real = [value for key in seen for value in self.documents[key].values()]
        flat = {
            str(one) for value in real for one in (value if isinstance(value, list) else [value])
        }
        assert shown <= flat
        texts = " ".join(
            f"{self.documents[key]['title']} {self.documents[key]['text']}" for key in seen
        )
        assert all(example in texts for example in card["examples"])
        asked = {"query": rng.choice(WORDS), "k": 20}
        tree = self.client.get("/v1/explain", params=asked, headers=headers).json()
        assert {node["key"] for node in tree["nodes"]} - {None} <= seen
        assert {hit["key"] for hit in tree["hits"]} <= seen

    def change(self, rng, number):
        """Add, replace and delete with a scoped writer, inside and outside its scope."""
        name = rng.choice([n for n in self.tokens if n.startswith("writer")])
        seen, headers = self.seen(name), self.headers(name)
        key = rng.choice([*self.documents])
        status = self.client.delete(f"/v1/documents/{key}", headers=headers).status_code
        assert status == (200 if key in seen else 404)
        if key in seen:
            del self.documents[key]
        made = record(f"new-{number}", " ".join(rng.sample(WORDS, 5)), tenant=rng.choice("ab"),
                      section=rng.randrange(6), tags=rng.sample(THINGS, 2))  # fmt: skip
        _, where, allow = self.tokens[name]
        mine = passes(made, where or {}) and allow is None
        answer = self.client.post("/v1/documents", json={"document": made}, headers=headers)
        assert answer.status_code == (201 if mine else 403), answer.text
        if mine:
            self.documents[made["_id"]] = made


def scopes(rng, keys):
    yield "reader-all", None, None
    yield "reader-keys", None, rng.sample(keys, 9)
    yield "reader-none", {"verb": "absent"}, None
    yield "writer-tenant", {"tenant": "a"}, None
    for number in range(8):
        allow = rng.sample(keys, 20) if number % 4 == 3 else None
        role = "writer" if number % 2 else "reader"
        yield f"{role}-{number}", {**condition(rng), **condition(rng)}, allow


@pytest.fixture
def world(model_folder, tiny_corpus, tmp_path):
    lines = (tiny_corpus / "corpus.jsonl").read_text().splitlines()
    documents = {one["_id"]: one for one in map(json.loads, lines)}
    rng, file, tokens = Random(0), tmp_path / "tokens.json", {}
    for name, where, allow in scopes(rng, [*documents]):
        role = "write" if name.startswith("writer") else "read"
        tokens[name] = new_token(file, TokenSpec(name, role, where, allow)), where, allow
    folder = shutil.copytree(model_folder, tmp_path / "model")
    with serving(folder, Settings(tokens=file)) as client:
        yield World(client, tokens, documents)


@pytest.mark.timeout(3600 if HITS > 10_000 else 300)
def test_no_token_finds_more_than_its_scope(world):
    rng, number = Random(HITS), 0
    with ThreadPoolExecutor(8) as pool:  # so that tokens share batches
        while world.hits < HITS or number < 5:
            questions = [world.ask(rng.random()) for _ in range(24)]
            for done in [pool.submit(world.search, *question) for question in questions]:
                done.result()
            number += 1
            world.look(rng)
            if number % 4 == 1:
                world.change(rng, number)
    sys.stdout.write(f"{world.hits} hits, none outside of its scope\n")
