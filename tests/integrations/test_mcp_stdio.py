"""Every line on the standard input of `genir mcp` gets a reply."""

import asyncio
import json
from io import BytesIO
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("mcp", reason="no mcp; pip install 'genir[mcp]'")

from genir.integrations.mcp_stdio import CheckedLines, fault_of, id_of


def call(number, arguments):
    return (
        f'{{"jsonrpc":"2.0","id":{number},"method":"tools/call",'
        f'"params":{{"name":"search","arguments":{arguments}}}}}'
    )


FAULTS = {
    "a surrogate": (call(1, '{"query":"\\ud800"}'), 1, "an unpaired surrogate (half a character)"),
    "digits": (call(2, f'{{"where":{{"n":{"9" * 5000}}}}}'), 2, "more than 4,300 digits at column"),
    "depth": (call(3, f'{{"where":{"[" * 500}{"]" * 500}}}'), 3, "nested deeper than 100 levels"),
    "NaN": (call(4, '{"where":{"n":NaN}}'), 4, "NaN is not JSON"),
    "a field twice": (call(5, '{"query":"x","query":"y"}'), 5, "'query' is given twice; keep one"),
    "Latin-1": (call(6, '{"query":"caf\udce9"}'), 6, "not UTF-8; send UTF-8"),
    "cut": ('{"jsonrpc":"2.0","id":"s e v e n","method":"tools/call" x', "s e v e n", "malformed"),
    "no method": ('{"jsonrpc":"2.0","id":8}', 8, "method: is missing"),
    "a list": ("[]", None, "not a JSON-RPC request"),
    "no id": ("x", None, "malformed JSON"),
    "another id first": (
        '{"params":{"id":77,"a":[{"id":78}],"b":"\\"id\\":79"},"id":9,"method":NaN}',
        9,
        "NaN is not",
    ),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_line_that_is_no_message_is_named_with_its_id(kind):
    line, own, expected = FAULTS[kind]
    assert id_of(line) == own
    assert expected in fault_of(line).message


def test_messages_have_no_fault():
    for line in (
        call(1, '{"query":"\\ud83d\\ude00 é"}'),
        '{"jsonrpc":"2.0","method":"notifications/initialized"}',
        '{"jsonrpc":"2.0","id":"a","result":{}}',
    ):
        assert fault_of(line) is None


@given(st.text(alphabet='{}[]":,\\1id\udce9 ', max_size=60))
def test_any_line_has_an_id_or_none(line):
    assert id_of(line) is None or isinstance(id_of(line), int | str)
    fault_of(line)


def test_lines_are_passed_on_or_answered(monkeypatch):
    good = call(0, '{"query":"x"}')
    lines = [line.encode(errors="surrogateescape") for line, _, _ in FAULTS.values()]
    wire = b"\n".join([*lines, b"", b"  ", good.encode()])
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=BytesIO(wire)))
    answers, passed = [], []

    async def answer(message):
        answers.append(json.loads(message.message.model_dump_json()))

    async def read():
        checked = CheckedLines()
        checked.connect(answer)
        passed.extend([line async for line in checked])

    asyncio.run(read())
    assert passed == [good]
    assert [one["id"] for one in answers] == [own for _, own, _ in FAULTS.values()]
    assert {one["error"]["code"] for one in answers} == {-32700, -32600}
