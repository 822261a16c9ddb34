"""Raw requests to the ASGI application, also ones that an HTTP client would not send."""

import asyncio
import json


def ask(app, method="GET", path=b"/", headers=(), body=b"", query=b""):
    """Return (status, headers, body) of one request; a JSON body is parsed."""
    from urllib.parse import unquote

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path.decode("latin-1")),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in headers],
        "client": ("127.0.0.1", 40_000),
        "server": ("127.0.0.1", 8000),
    }
    messages, sent = [{"type": "http.request", "body": body}], []

    async def receive():
        if not messages:
            await asyncio.Event().wait()  # the client stays connected until the response
        return messages.pop()

    async def send(message):
        sent.append(message)

    asyncio.run(asyncio.wait_for(app(scope, receive, send), 20))
    start = next(one for one in sent if one["type"] == "http.response.start")
    reply = b"".join(one.get("body", b"") for one in sent)
    found = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    if "json" in found.get("content-type", ""):
        reply = json.loads(reply) if reply else None
    return start["status"], found, reply
