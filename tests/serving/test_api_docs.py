"""The API documentation at /docs."""

import re

import pytest

from genir.serving.api_docs import render


def test_it_lists_every_request_and_every_schema(client):
    page = client.get("/docs")
    schema = client.get("/openapi.json").json()
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            shown = f"<h2><code>{method.upper()} {path}</code></h2>" in page.text
            assert shown != operation.get("deprecated", False), path
    for name, one in schema["components"]["schemas"].items():
        assert f'id="schema-{name}"' in page.text
        assert all(f"<code>{field}</code>" in page.text for field in one.get("properties", {}))
    assert "copy a directory tree" in page.text  # the example


def test_its_links_lead_somewhere_and_it_needs_nothing_from_elsewhere(client):
    page = client.get("/docs").text
    ids = set(re.findall(r' id="([^"]+)"', page))
    links = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert links and len(re.findall(r' id="', page)) == len(ids)
    for link in links:
        if link.startswith("#"):
            assert link[1:] in ids, link
        else:
            assert client.get(f"/{link}").status_code == 200, link
    assert "<script" not in page and "style=" not in page and "<style" not in page
    assert "http://" not in page and "https://" not in page


def test_it_is_written_once(client, monkeypatch):
    first = client.get("/docs").content
    monkeypatch.setattr(client.app, "openapi", lambda: pytest.fail("written anew"))
    assert client.get("/docs").content == first


def test_texts_are_escaped():
    operation = {"description": "a <b> & 'c'", "responses": {}}
    schema = {
        "info": {"title": "<i>", "version": "1"},
        "paths": {"/x": {"get": operation}},
        "components": {"schemas": {}},
    }
    page = render(schema)
    assert "a &lt;b&gt; &amp; &#x27;c&#x27;" in page and "<i>" not in page
