"""The MCP tools, called with the client of the official SDK."""

import asyncio
import builtins
import importlib
import json
import shutil
import subprocess
import sys

import pytest

from genir.errors import MissingPackage
from genir.retriever import Retriever
from genir.types import Document

QUESTION = "how do i clone a text?"
NEW = {"_id": "rotate-image", "title": "rotate image", "text": "Turn a picture by some degrees."}


@pytest.fixture(scope="session")
def saved(tiny_folder):
    return tiny_folder("residual")


@pytest.fixture
def model(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "model")


def talk(source, conversation):
    """Connect a client to the MCP server of a retriever, or to one started by a command."""
    client = pytest.importorskip("mcp.client.client", reason="no mcp; pip install 'genir[mcp]'")
    from genir.integrations.mcp import create_server

    async def run():
        to = create_server(source) if isinstance(source, Retriever) else source
        async with client.Client(to) as session:
            return await conversation(session)

    return asyncio.run(run())


def ask(source, tool, **arguments):
    return talk(source, lambda session: session.call_tool(tool, arguments))


def test_the_tools_are_search_and_fetch_and_only_read(model):
    tools = talk(Retriever.load(model), lambda session: session.list_tools()).tools
    assert [tool.name for tool in tools] == ["search", "fetch"]
    assert all(tool.annotations.read_only_hint for tool in tools)
    assert tools[0].input_schema["required"] == ["query"]
    assert all("description" in one for one in tools[0].input_schema["properties"].values())


def test_fetch_reads_search_results(model):
    retriever = Retriever.load(model)
    found = ask(retriever, "search", query=QUESTION, k=3).structured_content["results"]
    hits = retriever.search([QUESTION], 3)[0]
    assert [one["id"] for one in found] == [hit.key for hit in hits]
    assert [one["score"] for one in found] == pytest.approx([hit.score for hit in hits])
    page = ask(retriever, "fetch", id=found[0]["id"]).structured_content
    whole = retriever.documents.find(found[0]["id"])
    assert page["text"] == whole.text and page["url"] == whole.url
    assert page["metadata"] == dict(whole.metadata)


def test_a_filter_restricts_the_results(model):
    answer = ask(Retriever.load(model), "search", query=QUESTION, where={"verb": "watch"})
    found = answer.structured_content["results"]
    assert {one["id"].partition("-")[0] for one in found} == {"watch"} and len(found) == 5


def test_texts_of_a_filter_have_the_field_s_type(model):
    retriever = Retriever.load(model)
    found = [
        ask(retriever, "search", query=QUESTION, k=40, where={"section": value})
        for value in (0, "0", ["0"], {"lt": "1"})
    ]
    keys = [[one["id"] for one in answer.structured_content["results"]] for answer in found]
    assert len(keys[0]) == 8 and keys == [keys[0]] * 4
    refused = ask(retriever, "search", query=QUESTION, where={"section": "first"})
    assert refused.is_error and "'first' is not a number" in str(refused.content)


def test_the_instructions_count_live_documents(model):
    pytest.importorskip("mcp", reason="no mcp; pip install 'genir[mcp]'")
    from genir.integrations.mcp import create_server

    retriever = Retriever.load(model)
    retriever.delete(["copy-file", "move-disk"])
    assert create_server(retriever).instructions.startswith("Search 38 documents (model), then")


def test_changes_of_others_are_seen_at_once(model):
    retriever, other = Retriever.load(model), Retriever.load(model)
    other.delete(["copy-file"])
    assert ask(retriever, "fetch", id="copy-file").is_error
    other.add([Document(NEW["_id"], NEW["text"], NEW["title"])])
    page = ask(retriever, "fetch", id=NEW["_id"]).structured_content
    assert page["text"] == NEW["text"]


@pytest.mark.parametrize(
    ("tool", "arguments", "expected"),
    [
        ("search", {"query": " "}, "the query is empty"),
        ("search", {"query": "x", "where": {"vreb": "copy"}}, "did you mean 'verb'"),
        ("search", {"query": "x", "k": 0}, "greater than or equal to 1"),
        ("search", {"query": "x", "k": True}, "valid integer"),
        ("search", {"query": "x", "k": "3"}, "valid integer"),
        ("search", {"query": "x", "filter": {"verb": "copy"}}, "unknown field 'filter'; Known: k,"),
        ("search", {"query": "x\0"}, "a NUL character"),
        ("search", {"query": "x", "where": {"section": 10**400}}, "'section' must be compared"),
        ("search", {}, "search: query: is missing"),
        ("fetch", {"id": "copy-file", "zz": 1}, "unknown field 'zz'; Known: id"),
        ("fetch", {"id": "absent"}, "no document has the id 'absent'"),
    ],
)
def test_a_mistake_is_reported_to_the_caller(model, tool, arguments, expected):
    answer = ask(Retriever.load(model), tool, **arguments)
    text = answer.content[0].text
    assert answer.is_error and expected in text
    assert "pydantic" not in text and "\n" not in text


def test_the_verb_answers_every_line_on_standard_output(model):
    client = {"name": "x", "version": "1"}
    start = {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": client}
    call = '"method": "tools/call", "params": {"name": "search", "arguments": {"query": "%s"}}}'
    lines = [
        json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": start}),
        '{"jsonrpc": "2.0", "method": "notifications/initialized"}',
        '{"jsonrpc": "2.0", "id": 1, ' + call % r"\ud800",
        '{"jsonrpc": "2.0", "id": 2, ' + call % "a\udce9",
        '{"jsonrpc": "2.0", "id": 3, ' + call % "clone a text",
    ]
    code = "from genir.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, "mcp", str(model)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        process.stdin.write("\n".join([*lines, ""]).encode(errors="surrogateescape"))
        process.stdin.flush()
        answers = [json.loads(process.stdout.readline()) for _ in range(4)]
        process.stdin.close()
    by_id = {one["id"]: one for one in answers}
    assert "unpaired surrogate" in by_id[1]["error"]["message"]
    assert "not UTF-8" in by_id[2]["error"]["message"]
    assert by_id[3]["result"]["structuredContent"]["results"]


def test_a_missing_package_names_its_install_command(monkeypatch):
    whole = builtins.__import__

    def without_mcp(name, *rest):
        if name.partition(".")[0] == "mcp":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return whole(name, *rest)

    monkeypatch.delitem(sys.modules, "genir.integrations.mcp", raising=False)
    monkeypatch.setattr(builtins, "__import__", without_mcp)
    with pytest.raises(MissingPackage, match=r"pip install 'genir\[mcp\]'"):
        importlib.import_module("genir.integrations.mcp")


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("search", {"query": "a\ud800"}),
        ("search", {"query": ["clone a text"]}),
        ("search", {"query": "clone", "where": "verb=copy"}),
        ("search", {"query": "clone", "where": {"verb": "\udfff"}}),
        ("search", {"query": "clone", "k": 0}),
        ("fetch", {"id": "\ud800"}),
        ("fetch", {"id": ["copy-file"]}),
    ],
)
def test_the_tools_refuse_values_that_are_not_text(model, tool, arguments):
    answer = ask(Retriever.load(model), tool, **arguments)
    assert answer.is_error and "Traceback" not in answer.content[0].text
    answer.content[0].text.encode()  # can be sent on
