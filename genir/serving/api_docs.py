"""API documentation at `/docs`: a static page made from the OpenAPI schema.

It has no script and loads only the server's own style sheets, so that it works offline and under
the Content-Security-Policy of every response.
"""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

Schema = Mapping[str, Any]
"""An OpenAPI document, or a part of it."""

METHODS = ("get", "post", "put", "delete")
LIMITS = {
    "minimum": "at least {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
}
"""Keywords of a schema that are shown, with their text."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} API</title>
<link rel="icon" href="page/favicon.svg" type="image/svg+xml">
<link rel="stylesheet" href="page/api-docs.css">
</head>
<body>
<header><h1>{title} API {version}</h1>
<p>{summary} Requests and responses are JSON. With tokens, send
<code>Authorization: Bearer TOKEN</code>. An error has <code>detail</code>, which says why and how
to fix it (RFC 9457); after a 503, retry after <code>Retry-After</code> seconds. The schema is at
<a href="openapi.json">openapi.json</a>.</p>
<nav aria-label="Requests"><ul>{links}</ul></nav></header>
<main>{operations}
<h2 id="schemas">Schemas</h2>{schemas}</main>
</body>
</html>
"""


def render(schema: Schema) -> str:
    """Return the page of an OpenAPI document."""
    operations = list(_operations(schema))
    info = schema["info"]
    links = "".join(
        f'<li><a href="#{_id(method, path)}"><code>{method.upper()} {escape(path)}</code></a></li>'
        for method, path, _ in operations
    )
    return PAGE.format(
        title=escape(info["title"]),
        version=escape(info["version"]),
        summary=escape(info.get("summary", "")),
        links=links,
        operations="".join(_operation(schema, *one) for one in operations),
        schemas="".join(
            _schema(name, one) for name, one in schema["components"]["schemas"].items()
        ),
    )


def _operations(schema: Schema) -> Iterator[tuple[str, str, Schema]]:
    """Yield method, path and description of each operation that is not deprecated."""
    for path, methods in schema["paths"].items():
        for method in METHODS:
            if method in methods and not methods[method].get("deprecated"):
                yield method, path, methods[method]


def _operation(schema: Schema, method: str, path: str, operation: Schema) -> str:
    parts = [
        f'<section id="{_id(method, path)}"><h2><code>{method.upper()} {escape(path)}</code></h2>',
        _paragraphs(operation.get("description", "")),
    ]
    if parameters := operation.get("parameters"):
        rows = [
            (one["name"], one["schema"], one.get("required", False), one.get("description", ""))
            for one in parameters
        ]
        parts.append(_table("Parameters", rows))
    body = _content(operation.get("requestBody", {}))
    if body is not None:
        parts.append(f"<p>Body: {_type(body)}</p>")
        parts.append(_example(schema, path, body))
    for status, response in operation.get("responses", {}).items():
        own = _content(response)
        if status.startswith("2") and own:
            parts.append(f"<p>Response {escape(status)}: {_type(own)}</p>")
    return "".join([*parts, "</section>"])


def _content(holder: Schema) -> Schema | None:
    found = holder.get("content", {}).get("application/json", {}).get("schema")
    return found if found else None


def _example(schema: Schema, path: str, body: Schema) -> str:
    """Return a curl command with the first example of a body; "" without examples."""
    named = schema["components"]["schemas"].get(_name(body), {})
    values = next(iter(named.get("examples", ())), None)
    if values is None:
        values = {
            name: one["examples"][0]
            for name, one in named.get("properties", {}).items()
            if one.get("examples")
        }
    if not values:
        return ""
    data = json.dumps(values, ensure_ascii=False).replace("'", "'\\''")
    command = f"curl SERVER{path} -H 'Content-Type: application/json' -d '{data}'"
    return f"<pre><code>{escape(command)}</code></pre>"


def _schema(name: str, schema: Schema) -> str:
    required = schema.get("required", ())
    rows = [
        (field, own, field in required, own.get("description", ""))
        for field, own in schema.get("properties", {}).items()
    ]
    head = f'<section id="schema-{escape(name)}"><h3><code>{escape(name)}</code></h3>'
    return f"{head}{_paragraphs(schema.get('description', ''))}{_table('Fields', rows)}</section>"


def _table(caption: str, rows: list[tuple[str, Schema, bool, str]]) -> str:
    lines = "".join(
        f'<tr><th scope="row"><code>{escape(name)}</code></th><td>{_type(schema)}'
        f"{', required' if required else ''}</td><td>{_meaning(schema, text)}</td></tr>"
        for name, schema, required, text in rows
    )
    return (
        f'<div class="table" tabindex="0" role="region" aria-label="{caption}"><table>'
        f'<thead><tr><th scope="col">{caption}</th><th scope="col">type</th>'
        f'<th scope="col">meaning</th></tr></thead><tbody>{lines}</tbody></table></div>'
    )


def _meaning(schema: Schema, text: str) -> str:
    notes = [text] if text else []
    kinds = [schema, *schema.get("anyOf", ())]
    for key, shown in LIMITS.items():
        notes += [shown.format(f"{one[key]:,.0f}") for one in kinds if key in one]
    default = schema.get("default")
    if default is not None and default != []:
        notes.append(f"default: {json.dumps(default)}")
    return escape("; ".join(notes))


def _type(schema: Schema) -> str:
    """Return the type of a schema as HTML, with links to named ones."""
    if name := _name(schema):
        return f'<a href="#schema-{escape(name)}">{escape(name)}</a>'
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(_type, schema["anyOf"])))
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " or ".join(f"<code>{escape(json.dumps(one))}</code>" for one in values)
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return escape(str(kind))


def _name(schema: Schema) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _id(method: str, path: str) -> str:
    return escape(f"{method}-{path.strip('/').replace('/', '-')}")


def _paragraphs(text: str) -> str:
    parts = (" ".join(part.split()) for part in text.split("\n\n"))
    return "".join(f"<p>{escape(part)}</p>" for part in parts if part)
