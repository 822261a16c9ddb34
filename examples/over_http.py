"""Talk to a server of genir over HTTP, with httpx: search, add a document, find it, delete it.

genir serve MODEL --tokens tokens.json
GENIR_TOKEN=... python examples/over_http.py http://127.0.0.1:8000 "your question"
"""

import os
import sys
import time
from typing import Any

import httpx2 as httpx  # the kept-up httpx; genir brings it

NEW = {"_id": "parking", "title": "Parking", "text": "Leave your car on deck two."}


def main(address: str, question: str) -> None:
    """Search, add a document, find it, delete it."""
    token = os.environ.get("GENIR_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(base_url=address, headers=headers, timeout=10) as server:
        show(ask(server, {"query": question, "k": 5}))
        call(server, "POST", "/v1/documents", json={"document": NEW})
        show(ask(server, {"query": "where can I leave my car?", "k": 1}))
        call(server, "DELETE", f"/v1/documents/{NEW['_id']}")


def ask(server: httpx.Client, search: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the hits of a search, best first."""
    hits: list[dict[str, Any]] = call(server, "POST", "/v1/search", json=search)["hits"]
    return hits


def call(server: httpx.Client, method: str, path: str, **options: Any) -> Any:
    """Return an answer. A busy server says when to come back; a refusal says what to mend."""
    for _ in range(5):
        answer = server.request(method, path, **options)
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            break
        time.sleep(float(answer.headers.get("Retry-After", 1)))
    if answer.is_error:
        sys.exit(f"{path}: {answer.json()['detail']}")
    return answer.json()


def show(hits: list[dict[str, Any]]) -> None:
    """Write a line a hit."""
    for hit in hits:
        sys.stdout.write(f"{hit['rank']:>3}  {hit['title'] or hit['key']}  {hit['snippet']}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
