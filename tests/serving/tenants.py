"""Two servers whose documents differ only outside of one token's scope, and requests to both."""

import json
import os
import shutil
from contextlib import ExitStack, contextmanager

from fastapi.testclient import TestClient
from living import record
from test_leaks import THINGS, VERBS, WORDS, condition, filter_of, passes

from genir.retriever import Retriever
from genir.serving.app import create_app
from genir.serving.settings import Settings
from genir.serving.tokens import TokenSpec, new_token

ANSWERS = int(os.environ.get("GENIR_TENANTS", "250"))
BATCH = 8 if ANSWERS < 2_000 else 40
"""Maximum number of queries in one request."""
MARK = "zqforeign"
"""Marker in every key, text, field and value of documents added outside the scope."""
TIMES = ("took_ms", "index_ms")
HEADERS = ("x-request-id", "content-length", "date", "last-modified", "etag")


class Worlds:
    """The two servers; `documents` are in the scope and equal on both."""

    def __init__(self, clients, documents, where, allow, secrets):
        self.clients, self.documents = clients, documents
        self.where, self.allow, self.secrets = where, allow, secrets

    def ask(self, method, path, token="scoped", **given):
        """Return the response, which must be equal on both servers and contain no marker."""
        headers = {"Authorization": f"Bearer {self.secrets[token]}"} | given.pop("headers", {})
        both = [one.request(method, path, headers=headers, **given) for one in self.clients]
        first, second = map(plain, both)
        assert same(first, second), f"{method} {path} {given}\n{first}\n{second}"
        if MARK not in f"{path} {given}":
            assert MARK not in f"{first} {second}", f"{method} {path} {given}\n{first}"
        return both[0]


def plain(response):
    """Return a response without times and request ids."""
    headers = {name: value for name, value in response.headers.items() if name not in HEADERS}
    kind = headers.get("content-type", "")
    body = response.json() if "json" in kind and response.content else response.text
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name not in TIMES}
    return response.status_code, headers, body


def same(one, other):
    """Return whether two responses are equal, with scores up to float32 rounding."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= 1e-4 * max(1.0, abs(one))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


def scope_of(rng, documents):
    """Return the scope of a token: a filter, keys or both, which some documents pass."""
    while True:
        where = {**condition(rng), **(condition(rng) if rng.random() < 0.3 else {})}
        allow = rng.sample([*documents], 15) if rng.random() < 0.2 else None
        where = None if allow and rng.random() < 0.5 else where
        inside = [one for one in documents.values() if in_scope(one, where, allow)]
        if 1 < len(inside) < len(documents) - 4:
            return where, allow


def in_scope(document, where, allow):
    return passes(document, where or {}) and (allow is None or document["_id"] in allow)


@contextmanager
def worlds(rng, model, base, folder):
    """Serve two copies of a model; change documents outside a random scope in the second."""
    base = {**base, **{one["_id"]: one for one in (several(rng, n) for n in range(6))}}
    where, allow = scope_of(rng, base)
    file, secrets = folder / "tokens.json", {}
    secrets["scoped"] = new_token(file, TokenSpec("scoped", "write", where, allow))
    secrets["owner"] = new_token(file, TokenSpec("owner", "write"))
    with ExitStack() as stack:
        clients = []
        for name in ("first", "second"):
            retriever = Retriever.load(shutil.copytree(model, folder / name / "model"), "cpu")
            settings = Settings(tokens=file, poll_ms=600_000, deadline_ms=600_000)
            app = create_app(retriever, settings=settings, loopback=False)
            clients.append(stack.enter_context(TestClient(app)))
        added = [one for one in base.values() if one["_id"].startswith("several")]
        for client in clients:
            change(client, secrets["owner"], "POST", "/v1/documents", json={"documents": added})
        differ(rng, clients[1], secrets["owner"], base, (where, allow))
        inside = {key: one for key, one in base.items() if in_scope(one, where, allow)}
        yield Worlds(clients, inside, where, allow, secrets)


def several(rng, number):
    """Return a document with lists as values and words of other documents."""
    fields = {"verb": rng.sample(VERBS, 2), "tags": rng.sample(THINGS, 3), "section": [1, 4]}
    fields |= {"tenant": rng.choice(["a", "b", ["a", "b"], ["b"]]), "flag": rng.random() < 0.5}
    return record(f"several-{number}", " ".join(rng.sample(WORDS, 6)), **fields)


def differ(rng, client, secret, base, scope):
    """Add, replace and delete documents outside of the scope."""
    outside = [one for one in base.values() if not in_scope(one, *scope)]
    rng.shuffle(outside)
    for one in outside[: rng.randint(1, 4)]:
        change(client, secret, "DELETE", f"/v1/documents/{one['_id']}")
    again = [foreign(rng, one["_id"]) for one in outside[5 : 5 + rng.randint(0, 2)]]
    again = [one for one in again if not in_scope(one, *scope)]
    if again:
        body = {"documents": again, "replace": True}
        change(client, secret, "POST", "/v1/documents", json=body)
    fresh = [foreign(rng, f"{MARK}-{n}") for n in range(rng.randint(1, 12))]
    fresh = [one for one in fresh if not in_scope(one, *scope)]
    if fresh:
        change(client, secret, "POST", "/v1/documents", json={"documents": fresh})


def foreign(rng, key):
    fields = {f"{MARK}_{rng.randrange(3)}": f"{MARK}-value", f"{MARK}_n": rng.randrange(9)}
    fields |= {"verb": MARK, "section": -7, "tags": [MARK, 3.5], "lang": f"{MARK}-lang"}
    return record(key, " ".join([MARK, *rng.sample(WORDS, 6)]), **fields)


def change(client, secret, method, path, **given):
    answer = client.request(method, path, headers={"Authorization": f"Bearer {secret}"}, **given)
    assert answer.status_code < 300, answer.text


# --- requests ----------------------------------------------------------------------------------


def read(rng, both):
    """Send a read-only request to both servers; return status and number of answers."""
    asks = [search] * 10 + [explain] * 2 + [facets] * 2 + [document, card, others, wrong, refused]
    answer = rng.choice(asks)(rng, both)
    several = answer.request.url.path.endswith("/search") and "results" in answer.text
    return answer.status_code, len(answer.json()["results"]) if several else 1


def search(rng, both):
    texts = [" ".join(rng.sample(WORDS, rng.randint(1, 4))) for _ in range(rng.randint(1, BATCH))]
    body = {"queries": texts} if rng.random() < 0.7 else {"query": texts[0]}
    body["k"] = rng.choice([1, 3, 10, 100])
    if rng.random() < 0.4:
        body["where"] = filter_of(rng) | rng.choice(
            [{}, {}, {f"{MARK}_0": f"{MARK}-value"}, {f"{MARK}_n": {"gte": 0}}, {"lang": "x"},
             {"flag": True}, {"tenant": "b"}, {"nobody": 1}, {"verb": {"not": MARK}}]
        )  # fmt: skip
    for name in ("allow", "deny"):
        if rng.random() < 0.15:
            body[name] = rng.sample([*both.documents, f"{MARK}-0", "copy-file", "absent"], 3)
    if rng.random() < 0.3:
        body["system"] = "bm25"
    else:
        body |= rng.choice([{}, {}, {"beams": rng.choice([1, 5, 200])}, {"exact": True}])
        body |= rng.choice([{}, {"shares": True}])
    body |= rng.choice([{}, {"fresh": True}])
    return both.ask("POST", rng.choice(["/v1/search", "/search"]), json=body)


def explain(rng, both):
    params = {"query": " ".join(rng.sample(WORDS, 2)), "k": rng.choice([1, 5, 50])}
    params |= rng.choice([{}, {"beams": 3}, {"beams": 1_000}, {"k": 500}])
    if rng.random() < 0.3:
        params["where"] = json.dumps(rng.choice([filter_of(rng), {f"{MARK}_0": 1}]))
    return both.ask("GET", "/v1/explain", params=params)


def facets(rng, both):
    body = {"query": " ".join(rng.sample(WORDS, 2)), "hits": rng.choice([1, 10, 100])}
    if rng.random() < 0.6:
        body["where"] = filter_of(rng) | rng.choice([{}, {f"{MARK}_0": 1}, {"tenant": "b"}])
    return both.ask("POST", "/v1/facets", json=body)


def document(rng, both):
    names = [*both.documents, f"{MARK}-0", f"{MARK}-1", "delete-disk", "absent", "%00", "a/b"]
    path = rng.choice(["/v1/documents", "/documents"])
    accept = rng.choice(["text/html", "application/json"])
    return both.ask("GET", f"{path}/{rng.choice(names)}", headers={"Accept": accept})


def card(rng, both):
    return both.ask("GET", rng.choice(["/v1/model", "/model"]))


def others(rng, both):
    paths = ["/v1/metrics", "/metrics", "/v1/versions", "/v1/readyz", "/v1/healthz", "/", "/nope",
             "/openapi.json", "/page/app.js", "/widget.js"]  # fmt: skip
    return both.ask(rng.choice(["GET", "GET", "HEAD", "POST"]), rng.choice(paths))


def wrong(rng, both):
    """Send an invalid request."""
    bodies = [b"{", b"[]", b'{"query": ""}', b'{"query": "a", "k": 0}', b'{"query": "a", "kk": 1}',
              b'{"query": "a", "where": {"verb": {"gtt": 1}}}', b'{"query": "a", "where": {}}',
              b'{"query": "a", "allow": [1]}', b'{"query": "a", "k": 99999}', b"\xff",
              b'{"query": "a", "query": "b"}', b'{"query": "a", "where": {"url": {"prefix": ""}}}',
              b'{"query": "a", "deadline_ms": -1}']  # fmt: skip
    path = rng.choice(["/v1/search", "/v1/documents", "/v1/rollback", "/v1/model"])
    headers = {"Content-Type": rng.choice(["application/json", "text/plain"])}
    return both.ask("POST", path, content=rng.choice(bodies), headers=headers)


def refused(rng, both):
    path, body = rng.choice(
        [("compact", None), ("rollback", {"version": 0}), ("rollback", {"version": 3}),
         ("sync", {}), ("model", {"folder": "model"}), ("model", {"folder": MARK})]
    )  # fmt: skip
    return both.ask("POST", f"/v1/{path}", json=body)


def write(rng, both):
    """Add, replace and delete documents inside and outside the scope with the scoped token."""
    kind = rng.choice(["add", "replace", "delete"])
    # Keys are one namespace: adding may reveal that a key is used elsewhere, and nothing else.
    foreign = [] if kind == "add" else [f"{MARK}-0", "delete-disk"]
    key = rng.choice([*both.documents, *foreign, "absent", "new"])
    fields = {field: wanted for field, wanted in (both.where or {}).items() if field != "title"}
    fields |= rng.choice(
        [{}, {"tenant": ["a", "b"]}, {"tags": [*THINGS, "another"]}, condition(rng)]
    )
    made = record(key, " ".join(rng.sample(WORDS, 5)), **fields)
    if kind == "delete":
        return both.ask("DELETE", f"/v1/documents/{key}")
    body = {"document": made, "replace": kind == "replace"}
    return both.ask("POST", "/v1/documents", json=body)
