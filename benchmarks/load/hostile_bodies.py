"""Send 211 hostile requests to a server; measure how long they block it, and its memory.

For each request: the status, the slowest answer of `/v1/healthz` to a second client meanwhile, and
by how much the resident size of the server has grown at most and afterwards. Exit code 1 if a
request ends in a status 500 or without an answer. Use a copy of a model: some requests are
documents.
"""

from genir.signals import guard

guard(__name__)  # before the slow imports

import asyncio
import gzip
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, perf_counter
from typing import Annotated
from urllib.parse import quote, urlsplit

import httpx2 as httpx
import typer

from benchmarks.load.server import TIMEOUT_S, connect, resident_bytes, started
from genir.cli import guarded
from genir.console import print_line
from genir.serving.settings import Settings

MIB = 2**20
SEARCH, EXPLAIN, WRITE = "/v1/search", "/v1/explain", "/v1/documents"
LIMITS = Settings()
PROBE_EVERY_S = 0.005
RETURN_S = 12.0
"""Seconds in which memory may be freed: the server returns free memory every ten seconds."""
LIST_ITEMS = (
    b"1", b'""', b"{}", b"[]", b"null", b"1.5e300", b'"a"', b'" "', b'{"a":1}', b"[[]]", b"-0",
    b'"\\u0000"', b'"\\ud800"', b"1" * 4_000,
)  # fmt: skip
TEXTS = (
    b"x", b" ", b"\\u0041", b"\\u0000", b"\\ud800", b"\\ud83d\\ude00", "😀".encode(), "é".encode(),
    b"\\n", b"\\\\", b'\\"', b"word ", b",", b"[{", b"A short sentence. ", "字".encode(),
)  # fmt: skip
QUERY, DOCUMENT = b'{"query":"', b'{"document":{"_id":"a","text":"'
WHERE, LANG = b'{"query":"a","where":{', b'{"query":"a","where":{"lang":'
SHAPES = (
    (b"", b"[", b""), (b"", b"]", b""), (b"", b'{"a":', b""), (b"", b'"', b""), (b"", b"1", b""),
    (b"", b"\\", b""), (b"", b"\0", b""), (b"", b"\xff", b""), (b"", b" ", b"{}"),
    (b"", b"\n", b"{}"), (b"", b"query=a&", b""),
    (b'{"k":[', b"[" * 990 + b"]" * 990 + b",", b"1]}"),
    (b"{", b'"k":1,', b'"k":1}'), (b"{", b'"query":"a",', b'"query":"a"}'), (b'{"', b"n", b'":1}'),
    (LANG + b"[", b"1,", b"1]}}"), (LANG + b"[", b'"v",', b"1]}}"), (LANG + b'"', b"v", b'"}}'),
    (LANG + b"[", b'{"not":{}},', b"1]}}"), (LANG + b'{"prefix":"', b"v", b'"}}}'),
    (b'{"query":"a","k":', b"9", b"}"), (b'{"query":"a","k":0.', b"3", b"}"),
    (b'{"query":"a","k":1e', b"9", b"}"), (QUERY, b"x", b""), (QUERY, b"\xe9", b'"}'),
    (QUERY, b"x", b'\xff"}'),
    (QUERY.decode().encode("utf-16-le"), b"x\0", '"}'.encode("utf-16-le")),
)  # fmt: skip
"""Bodies of repeated bytes: opening, piece, closing."""
EXTRA = b'{"document":{"_id":"a","text":"b",'
DOCUMENT_LISTS = (
    (EXTRA + b'"links":[', b'{"start":0,"end":1,"target":"a"},', b"{}]}}"),
    (EXTRA + b'"v":[', b"1,", b"1]}}"),
    (EXTRA + b'"v":[', b'"word",', b"1]}}"),
    (EXTRA + b'"v":[', b'{"a":1},', b"1]}}"),
)
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Request:
    """A hostile request: POST with a body, GET without one.

    chunk_size: size of transfer chunks in bytes; 0 sends Content-Length.
    """

    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    chunk_size: int = 0

    def __str__(self) -> str:
        chunks = f" in chunks of {self.chunk_size:,}" if self.chunk_size else ""
        headers = "" if self.headers is JSON else f" {str(self.headers)[:40]}"
        ends = f"{self.body[:45]!r} ... {self.body[-12:]!r}"
        body = f" {len(self.body):,} bytes{chunks}: {ends}" if self.body else ""
        return f"{self.path[:40]}{headers}{body}"


@dataclass
class Effect:
    """Effect of a request on the server: longest blocking in seconds, memory in bytes."""

    status: str = ""
    blocked: float = 0.0
    grown: int = 0
    kept: int = 0

    def __str__(self) -> str:
        memory = f"{self.grown / MIB:>11.1f}{self.kept / MIB:>10.1f}"
        return f"{self.status or 'none':>8}{1000 * self.blocked:>12.0f}{memory}"


def fill(size: int, opening: bytes, piece: bytes, closing: bytes) -> bytes:
    """Repeat a piece between opening and closing, up to a size."""
    return opening + piece * ((size - len(opening) - len(closing)) // len(piece)) + closing


def fill_fields(size: int, opening: bytes, pattern: bytes, closing: bytes = b"}") -> bytes:
    """Append numbered fields to an opening, up to a size."""
    parts, room, number = list[bytes](), size - len(opening) - len(closing), 0
    while room >= (needed := len(part := pattern % number) + 1):
        parts.append(part)
        room, number = room - needed, number + 1
    return opening + b",".join(parts) + closing


def bodies(path: str, size: int) -> Iterator[bytes]:
    """Yield bodies with one long list or text, deep nesting, many or long names, or no JSON."""
    for name in ("queries", "allow", "deny") if path == SEARCH else ("documents",):
        opening = b'{"query":"a",' if name in ("allow", "deny") else b"{"
        for item in LIST_ITEMS:
            yield fill(size, opening + b'"%b":[' % name.encode(), item + b",", b"1]}")
    opening, closing = (QUERY, b'"}') if path == SEARCH else (DOCUMENT, b'"}}')
    yield from (fill(size, opening, text, closing) for text in TEXTS)
    yield from (fill(size, *shape) for shape in SHAPES)
    yield b"[" * (size // 2) + b"]" * (size // 2)
    yield fill_fields(size, b"{", b'"k%d":1')
    yield fill_fields(size, b"{", b'"' + b"n" * 2_000 + b'%d":1')
    yield fill_fields(size, WHERE, b'"k%d":1', b"}}")
    yield gzip.compress(b"0" * (8 * MIB))
    yield fill(size + 1, QUERY, b"x", b'"}')


def documents(size: int) -> Iterator[bytes]:
    """Yield changes with many or large documents."""
    for text in (b"x" * 30_000, b"two words " * 3_000, "😀".encode() * 8_000):
        each = b'{"_id":"%b %%d","text":"%b"}' % (text[:4], text)
        yield fill_fields(size, b'{"documents":[', each, b"]}")
    yield b'{"document":{"_id":"short","text":"b"}}'
    for opening, item, closing in DOCUMENT_LISTS:
        yield fill(size, opening, item, closing)
        yield opening + item * 20_000 + closing
    for count in (990, 99_000):
        yield EXTRA + b",".join(b'"f%d":1' % number for number in range(count)) + b"}}"
    queries = b'{"document":{"_id":"a","text":"b"},"queries":{'
    yield queries + b",".join(b'"k%d":["q"]' % number for number in range(45_000)) + b"}}"
    yield fill(size, queries + b'"a":[', b'" ",', b'""]}}')


def searches() -> Iterator[bytes]:
    """Yield searches that are allowed, or nearly, and expensive."""
    queries = [f"query {number}" for number in range(256)]
    keys = [f"key {number}" for number in range(10_000)]
    for options in (
        {"queries": queries, "k": 1_000},
        {"queries": queries, "k": 100, "beams": 100},
        {"queries": queries, "k": 10, "shares": True},
        {"queries": queries, "allow": keys, "deny": keys},
        {"queries": queries, "k": 100, "system": "bm25"},
        {"queries": ["two words " * 190] * 256},
        {"query": "a", "k": 1_000, "beams": 1_000},
        {"query": "a", "k": 1_000, "exact": True},
        {"query": "a", "allow": keys},
        {"query": "a", "deny": keys},
        {"query": "a", "where": {"title": keys[:1_000]}},
        {"query": "a", "where": dict.fromkeys(keys[:1_000], 1)},
    ):
        yield json.dumps(options).encode()


def transports(path: str, size: int) -> Iterator[Request]:
    """Yield bodies with unusual encodings, types and chunks."""
    text = fill(size, QUERY, b"x", b'"}')
    for chunk_size in (1, 16, 1_000, size):
        yield Request(path, text, chunk_size=chunk_size)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    parts = {"Content-Type": "multipart/form-data; boundary=b"}
    packed = {**JSON, "Content-Encoding": "gzip"}
    yield Request(path, fill(size, b"", b"a=b&", b""), form)
    yield Request(path, fill(size, b"", b"--b\r\n\r\n\r\n", b""), parts)
    yield Request(path, gzip.compress(b"0" * (64 * MIB)), packed)
    yield Request(path, text, {})


def addresses() -> Iterator[Request]:
    """Yield requests with a hostile address or hostile headers."""
    wide = quote(json.dumps({"title": [f"value {n}" for n in range(150)]}))
    for query in (
        quote("word " * 380), "a" + "&k=1" * 7_000, "a&k=1000&beams=1000", f"a&where={wide}",
        f"a&where={'[' * 2_500}", "x" * 60_000,
    ):  # fmt: skip
        yield Request(f"{EXPLAIN}?query={query}")
    yield Request(f"{WRITE}/{'k' * 30_000}")
    yield Request("/v1/healthz", headers={f"X-{number}": "a" for number in range(3_000)})
    yield Request("/v1/healthz", headers={"X": "a" * 60_000})


def hostile_requests() -> Iterator[Request]:
    """Yield all requests; bodies have the largest size that the route accepts."""
    yield from addresses()
    yield from (Request(SEARCH, body) for body in searches())
    for path, size in ((SEARCH, LIMITS.max_search_body), (WRITE, LIMITS.max_body)):
        yield from (Request(path, body) for body in bodies(path, size))
        yield from transports(path, size)
    yield from (Request(WRITE, body) for body in documents(LIMITS.max_body))
    small = fill(LIMITS.max_search_body, b'{"folder":[', b"[],", b"1]}")
    yield from (Request(f"/v1/{route}", small) for route in ("rollback", "model", "compact"))
    yield Request(SEARCH, fill(8 * MIB, b'{"k":[', b"[],", b"1]}"))


async def send(address: str, request: Request) -> str:
    """Send a request; return the status of the answer, "" without one.

    Unlike HTTP libraries it reads while it writes: the server may refuse a body before its end.
    """
    parts = urlsplit(address)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writing = asyncio.create_task(_write(writer, request))
    try:
        line = await asyncio.wait_for(reader.readline(), TIMEOUT_S)
        return line.split()[1].decode() if line else ""
    except (OSError, TimeoutError):
        return ""
    finally:
        writing.cancel()
        writer.transport.abort()


async def _write(writer: asyncio.StreamWriter, request: Request) -> None:
    body, chunk_size = request.body, request.chunk_size
    length = ("Transfer-Encoding", "chunked") if chunk_size else ("Content-Length", len(body))
    headers = {**request.headers, "Host": "127.0.0.1", "Connection": "close"} | dict([length])
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    waiting = f"{'POST' if body else 'GET'} {request.path} HTTP/1.1\r\n{lines}\r\n".encode()
    with suppress(OSError):  # the server has refused it meanwhile
        for start in range(0, len(body), chunk_size or 65_536):
            piece = body[start : start + (chunk_size or 65_536)]
            waiting += b"%x\r\n%b\r\n" % (len(piece), piece) if chunk_size else piece
            if len(waiting) >= 16_384:
                writer.write(waiting)
                waiting = b""
                await writer.drain()
                await asyncio.sleep(0)  # let the probe run
        writer.write(waiting + b"0\r\n\r\n" if chunk_size else waiting)


async def probe(client: httpx.AsyncClient, process: int, effect: Effect) -> None:
    """Request the server's health forever; record the slowest answer and the largest size."""
    before = resident_bytes(process)
    while True:
        begin = perf_counter()
        await client.get("/v1/healthz")
        effect.blocked = max(effect.blocked, perf_counter() - begin)
        effect.grown = max(effect.grown, resident_bytes(process) - before)
        await asyncio.sleep(PROBE_EVERY_S)


async def measure(address: str, process: int, request: Request) -> Effect:
    """Send a request while a second client probes the server."""
    effect, before = Effect(), resident_bytes(process)
    async with connect(address) as client:
        await client.get("/v1/healthz")  # connects
        probing = asyncio.create_task(probe(client, process, effect))
        await asyncio.sleep(0.02)
        effect.status = await send(address, request)
        await asyncio.sleep(2 * PROBE_EVERY_S)
        probing.cancel()
        await asyncio.wait([probing])
    end = monotonic() + RETURN_S
    while (kept := resident_bytes(process) - before) > 16 * MIB and monotonic() < end:
        await asyncio.sleep(0.3)
    effect.kept = kept
    return effect


def main(
    model: Annotated[Path, typer.Argument(help="a model folder")],
    only: Annotated[str, typer.Option(help="requests whose line contains this")] = "",
) -> None:
    """Print each request with its effect, and the largest effects of all."""
    found: list[tuple[Request, Effect]] = []
    with started(model, max_files=1_024) as (process, address):

        def run(request: Request) -> Effect:
            return asyncio.run(measure(address, process.pid, request))

        # The first change loads a second copy of the model, and the first BM25 search an index.
        for path, body in (
            (SEARCH, b'{"query":"a"}'),
            (SEARCH, b'{"query":"a","system":"bm25"}'),
            (WRITE, b'{"document":{"_id":"warm","text":"a text"}}'),
        ):
            run(Request(path, body))
        start = resident_bytes(process.pid)
        print_line("  status  ms blocked  MiB grown  MiB kept  request")
        for request in hostile_requests():
            if only in str(request):
                found.append((request, run(request)))
                print_line("{1}  {0}".format(*found[-1]))
        end = resident_bytes(process.pid)
    bad = [str(request) for request, effect in found if effect.status in ("", "500")]
    blocked, grown = (max(getattr(e, name) for _, e in found) for name in ("blocked", "grown"))
    print_line(
        f"{len(found)} requests: blocked at most {blocked:.3f} s, grown at most "
        f"{grown / MIB:.0f} MiB; resident size {start / MIB:.0f} MiB before, {end / MIB:.0f} "
        f"after; status 500 or no answer: {bad}"
    )
    raise typer.Exit(bool(bad))


if __name__ == "__main__":
    guarded(lambda: typer.run(main))
