"""Send 200 hostile bodies to a server; measure how long it stops for others, and what it takes.

python -m benchmarks.hostile_bodies MODEL [--only TEXT] [--rounds N]

For each body and route: the status, the slowest answer of `/v1/healthz` to a second client
meanwhile, and by how much the resident size of the server has grown at most and afterwards. The
exit status is 1 where a request ends in 500 or in no answer.
"""

import argparse
import asyncio
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, perf_counter
from urllib.parse import quote, urlsplit

import typer

from benchmarks.idle_connections import resident, served
from genir.serving.settings import Settings

MIB = 2**20
JSON = {"Content-Type": "application/json"}
SEARCH, EXPLAIN, WRITE = "/v1/search", "/v1/explain", "/v1/documents"
LIMITS = Settings()
LIMIT = {WRITE: LIMITS.max_body}
"""Bytes that the body of a route may have, where it is not `--max-search-body`."""
WARM = b'{"document":{"_id":"warm","text":"a text"}}'
BETWEEN = 0.005
"""Seconds between two looks of the second client."""
SETTLE = 0.3
COMES_BACK = 12
"""Seconds in which memory may come back: the server returns free memory every ten seconds."""


@dataclass(frozen=True)
class Hostile:
    """A request that is meant to hurt. chunk: bytes of each chunk; 0 sends the length instead."""

    name: str
    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = tuple(JSON.items())
    chunk: int = 0
    method: str = "POST"


@dataclass
class Seen:
    """What came of it. blocked: seconds; grown, kept: bytes."""

    status: str = ""
    blocked: float = 0.0
    grown: int = 0
    kept: int = 0


def filled(piece: bytes, size: int, opening: bytes, closing: bytes) -> bytes:
    """Return a text of a size that repeats a piece."""
    room = size - len(opening) - len(closing)
    return opening + piece * (room // len(piece)) + closing


ITEMS = {
    "1": b"1,", '""': b'"",', "{}": b"{},", "[]": b"[],", "null": b"null,", "1.5e300": b"1.5e300,",
    '"a"': b'"a",', '" "': b'" ",', '{"a":1}': b'{"a":1},', "[[]]": b"[[]],", "-0": b"-0,",
    '"\\u0000"': b'"\\u0000",', '"\\ud800"': b'"\\ud800",', "long ints": b"1" * 4_000 + b",",
}  # fmt: skip
TEXTS = {
    "letters": b"x", "spaces": b" ", "\\u0041": b"\\u0041", "\\u0000": b"\\u0000",
    "\\ud800": b"\\ud800", "pairs": b"\\ud83d\\ude00", "emoji": "😀".encode(), "é": "é".encode(),
    "\\n": b"\\n", "\\\\": b"\\\\", '\\"': b'\\"', "words": b"word ", "commas": b",",
    "brackets": b"[{", "sentences": b"A short sentence. ", "CJK": "字".encode(),
}  # fmt: skip


def lists(path: str, size: int) -> Iterator[Hostile]:
    """Yield bodies with one endless list."""
    names = {SEARCH: ("queries", "allow", "deny"), WRITE: ("documents",)}[path]
    opening = b'{"query":"a",' if path == SEARCH else b"{"
    for name in names:
        for label, item in ITEMS.items():
            start = (b"{" if name == "queries" else opening) + b'"%b":[' % name.encode()
            yield Hostile(f"{name}: [{label}, ...]", path, filled(item, size, start, b"1]}"))


def texts(path: str, size: int) -> Iterator[Hostile]:
    """Yield bodies with one endless text."""
    for label, piece in TEXTS.items():
        if path == SEARCH:
            yield Hostile(f"query of {label}", path, filled(piece, size, b'{"query":"', b'"}'))
        else:
            start = b'{"document":{"_id":"a","text":"'
            yield Hostile(f"text of {label}", path, filled(piece, size, start, b'"}}'))


def documents(size: int) -> Iterator[Hostile]:
    """Yield bodies with documents that are large in some way."""
    body = b'{"documents":['
    texts = {
        "letters": b"x" * 30_000,
        "words": b"two words " * 3_000,
        "emoji": "😀".encode() * 8_000,
    }
    for label, text in texts.items():
        parts, length, number = [], len(body) + 2, 0
        while True:
            part = b'{"_id":"%b %d","text":"%b"}' % (label.encode(), number, text)
            if length + len(part) + 1 > size or number == LIMITS.max_documents:
                break
            parts.append(part)
            length, number = length + len(part) + 1, number + 1
        yield Hostile(f"{number} documents of {label}", WRITE, body + b",".join(parts) + b"]}")
    yield Hostile("a short document", WRITE, b'{"document":{"_id":"short","text":"b"}}')
    opening = b'{"document":{"_id":"a","text":"b",'
    for label, start, item, end in (
        ("links", b'"links":[', b'{"start":0,"end":1,"target":"a"},', b"{}]}}"),
        ("values", b'"v":[', b"1,", b"1]}}"),
        ("texts", b'"v":[', b'"word",', b"1]}}"),
        ("objects", b'"v":[', b'{"a":1},', b"1]}}"),
    ):
        yield Hostile(f"a document of {label}", WRITE, filled(item, size, opening + start, end))
        some = opening + start + item * 20_000 + end
        yield Hostile(f"a document of 20,000 {label}", WRITE, some)
    fields = b",".join(b'"f%d":1' % n for n in range(99_000))
    yield Hostile("a document of 99,000 fields", WRITE, opening + fields + b"}}")
    few = b",".join(b'"f%d":1' % n for n in range(990))
    yield Hostile("a document of 990 fields", WRITE, opening + few + b"}}")
    asked = b'{"document":{"_id":"a","text":"b"},"queries":{'
    keys = b",".join(b'"k%d":["q"]' % n for n in range(45_000))
    yield Hostile("queries of 45,000 keys", WRITE, asked + keys + b"}}")
    yield Hostile("queries of one key", WRITE, filled(b'" ",', size, asked + b'"a":[', b'""]}}'))


def shapes(path: str, size: int) -> Iterator[Hostile]:
    """Yield bodies that are deep, have many or long names, or are no JSON."""
    half = size // 2
    for label, body in {
        "[[[[": b"[" * size,
        "[[]]": b"[" * half + b"]" * half,
        "]]]]": b"]" * size,
        '{"a":{"a":': b'{"a":' * (size // 5),
        "lists of 990 levels": filled(b"[" * 990 + b"]" * 990 + b",", size, b'{"k":[', b"1]}"),
        "fields": filled_fields(size, b'"k%d":1'),
        "the same field": filled(b'"k":1,', size, b"{", b'"k":1}'),
        "the same query": filled(b'"query":"a",', size, b"{", b'"query":"a"}'),
        "a long name": filled(b"n", size, b'{"', b'":1}'),
        "long names": filled_fields(size, b'"' + b"n" * 2_000 + b'%d":1'),
        "names in where": b'{"query":"a","where":{'
        + filled_fields(size - 30, b'"k%d":1')[1:]
        + b"}",
        "values in where": filled(b"1,", size, b'{"query":"a","where":{"lang":[', b"1]}}"),
        "texts in where": filled(b'"v",', size, b'{"query":"a","where":{"lang":[', b"1]}}"),
        "{} in where": filled(b'{"not":{}},', size, b'{"query":"a","where":{"lang":[', b"1]}}"),
        "a long value": filled(b"v", size, b'{"query":"a","where":{"lang":"', b'"}}'),
        "a long prefix": filled(b"v", size, b'{"query":"a","where":{"lang":{"prefix":"', b'"}}}'),
        "digits": b"1" * size,
        "k of digits": filled(b"9", size, b'{"query":"a","k":', b"}"),
        "decimals": filled(b"3", size, b'{"query":"a","k":0.', b"}"),
        "an exponent": filled(b"9", size, b'{"query":"a","k":1e', b"}"),
        "blanks": b" " * (size - 2) + b"{}",
        "line ends": b"\n" * (size - 2) + b"{}",
        "quotes": b'"' * size,
        "backslashes": b"\\" * size,
        "an open text": filled(b"x", size, b'{"query":"', b""),
        "NUL bytes": b"\0" * size,
        "0xff": b"\xff" * size,
        "Latin-1": filled("é".encode("latin-1"), size, b'{"query":"', b'"}'),
        "bad UTF-8 at the end": filled(b"x", size, b'{"query":"', b'\xff"}'),
        "UTF-16": ('{"query":"' + "x" * (size // 2 - 20) + '"}').encode("utf-16-le"),
        "gzip": gzip.compress(b"0" * (8 * MIB)),
        "too long by one": filled(b"x", size + 1, b'{"query":"', b'"}'),
        "no JSON": b"query=a&" * (size // 8),
    }.items():
        yield Hostile(label, path, body)


def filled_fields(size: int, pattern: bytes) -> bytes:
    """Return an object of as many fields as fit."""
    parts, length, number = [], 2, 0
    while length < size:
        part = pattern % number
        parts.append(part)
        length, number = length + len(part) + 1, number + 1
    return b"{" + b",".join(parts[:-1]) + b"}"


def transports(path: str, size: int) -> Iterator[Hostile]:
    """Yield bodies that are odd in how they are sent."""
    text = filled(b"x", size, b'{"query":"', b'"}')
    form = (("Content-Type", "application/x-www-form-urlencoded"),)
    parts = (("Content-Type", "multipart/form-data; boundary=b"),)
    packed = (*JSON.items(), ("Content-Encoding", "gzip"))
    yield Hostile("chunks of 1 byte", path, text, chunk=1)
    yield Hostile("chunks of 16 bytes", path, text, chunk=16)
    yield Hostile("chunks of 1,000 bytes", path, text, chunk=1_000)
    yield Hostile("one chunk", path, text, chunk=size)
    yield Hostile("a form", path, filled(b"a=b&", size, b"", b""), form)
    yield Hostile("a form of parts", path, filled(b"--b\r\n\r\n\r\n", size, b"", b""), parts)
    yield Hostile("gzip, declared", path, gzip.compress(b"0" * (64 * MIB)), packed)
    yield Hostile("no type", path, text, ())


def searches() -> Iterator[Hostile]:
    """Yield searches that are allowed, or nearly, and ask for much."""
    queries = [f"query {number}" for number in range(256)]
    keys = [f"key {number}" for number in range(10_000)]
    for label, asked in {
        "256 queries x 1,000 hits": {"queries": queries, "k": 1_000},
        "256 queries x 100 hits": {"queries": queries, "k": 100, "beams": 100},
        "256 queries, shares": {"queries": queries, "k": 10, "shares": True},
        "1,000 hits x 1,000 beams": {"query": "a", "k": 1_000, "beams": 1_000},
        "1,000 hits, exact": {"query": "a", "k": 1_000, "exact": True},
        "10,000 keys allowed": {"query": "a", "allow": keys},
        "10,000 keys denied": {"query": "a", "deny": keys},
        "256 queries, 20,000 keys": {"queries": queries, "allow": keys, "deny": keys},
        "bm25, 256 queries": {"queries": queries, "k": 100, "system": "bm25"},
        "1,000 values in where": {"query": "a", "where": {"title": keys[:1_000]}},
        "1,000 fields in where": {"query": "a", "where": dict.fromkeys(keys[:1_000], 1)},
        "256 long queries": {"queries": ["two words " * 190] * 256},
    }.items():
        yield Hostile(label, SEARCH, json.dumps(asked).encode())


def addresses() -> Iterator[Hostile]:
    """Yield requests whose address is hostile."""
    long = quote("word " * 380)
    wide = quote(json.dumps({"title": [f"value {n}" for n in range(150)]}))
    for label, path in {
        "a long query": f"{EXPLAIN}?query={long}",
        "many parameters": f"{EXPLAIN}?query=a" + "&k=1" * 7_000,
        "1,000 beams": f"{EXPLAIN}?query=a&k=1000&beams=1000",
        "a wide filter": f"{EXPLAIN}?query=a&where={wide}",
        "a deep filter": f"{EXPLAIN}?query=a&where={'[' * 2_500}",
        "a long address": f"{EXPLAIN}?query={'x' * 60_000}",
        "a long key": f"{WRITE}/{'k' * 30_000}",
    }.items():
        yield Hostile(label, path, b"", (), 0, "GET")
    many = tuple((f"X-{number}", "a") for number in range(3_000))
    yield Hostile("3,000 headers", "/v1/healthz", b"", many, 0, "GET")
    yield Hostile("a long header", "/v1/healthz", b"", (("X", "a" * 60_000),), 0, "GET")


def hostile_requests() -> list[Hostile]:
    """Return all requests: bodies of the allowed size, of each kind to each route that it suits."""
    found: list[Hostile] = [*searches(), *addresses()]
    for path, size in ((SEARCH, LIMITS.max_search_body), (WRITE, LIMITS.max_body)):
        found += [*lists(path, size), *texts(path, size), *shapes(path, size)]
        found += transports(path, size)
    found += documents(LIMITS.max_body)
    small = filled(b"[],", LIMITS.max_search_body, b'{"folder":[', b"1]}")
    found += [Hostile("lists", f"/v1/{name}", small) for name in ("rollback", "model", "compact")]
    found += [Hostile("lists, 8 MiB", SEARCH, filled(b"[],", 8 * MIB, b'{"k":[', b"1]}"))]
    return found


async def send(place: tuple[str, int], request: Hostile) -> str:
    """Send a request over a connection of its own; return the status of the answer."""
    try:
        reader, writer = await asyncio.open_connection(*place)
    except OSError as error:
        return type(error).__name__
    writing = asyncio.create_task(_write(writer, request))
    try:
        line = await asyncio.wait_for(reader.readline(), 240)
        return line.split()[1].decode() if line else "closed"
    except (OSError, TimeoutError) as error:
        return type(error).__name__
    finally:
        writing.cancel()
        writer.transport.abort()


async def _write(writer: asyncio.StreamWriter, request: Hostile) -> None:
    headers = dict(request.headers) | {"Host": "127.0.0.1", "Connection": "close"}
    if request.chunk:
        headers["Transfer-Encoding"] = "chunked"
    elif request.method == "POST":
        headers["Content-Length"] = str(len(request.body))
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"{request.method} {request.path} HTTP/1.1\r\n{head}\r\n".encode())
    pieces = _chunked(request) if request.chunk else _pieces(request.body, 65_536)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)  # or the second client would wait for this one
    except OSError:  # the server has refused it meanwhile
        return


def _pieces(body: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


def _chunked(request: Hostile) -> Iterator[bytes]:
    waiting = bytearray()
    for piece in _pieces(request.body, request.chunk):
        waiting += b"%x\r\n%b\r\n" % (len(piece), piece)
        if len(waiting) >= 16_384:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting) + b"0\r\n\r\n"


async def watch(place: tuple[str, int], process: int, seen: Seen, done: asyncio.Event) -> None:
    """Ask for the server's health over one connection; note the slowest answer and the size."""
    reader, writer = await asyncio.open_connection(*place)
    before = resident(process)
    while True:
        ends, begun = done.is_set(), perf_counter()
        writer.write(b"GET /v1/healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
        await reader.readexactly(int(length))
        seen.blocked = max(seen.blocked, perf_counter() - begun)
        seen.grown = max(seen.grown, resident(process) - before)
        if ends:
            break
        await asyncio.sleep(BETWEEN)
    writer.close()


async def attack(address: str, process: int, request: Hostile) -> Seen:
    """Send a request while a second client looks."""
    parts, seen, done = urlsplit(address), Seen(), asyncio.Event()
    place = (parts.hostname or "", parts.port or 80)
    before = resident(process)
    watching = asyncio.create_task(watch(place, process, seen, done))
    await asyncio.sleep(0.02)
    seen.status = await send(place, request)
    done.set()
    await watching
    until = monotonic() + COMES_BACK
    await asyncio.sleep(SETTLE)
    while resident(process) - before > 16 * MIB and monotonic() < until:
        await asyncio.sleep(SETTLE)
    seen.kept = resident(process) - before
    return seen


def line(seen: Seen, request: Hostile) -> str:
    """Return the figures of a request."""
    return (
        f"{seen.status:>8}{1000 * seen.blocked:>8.0f}{seen.grown / MIB:>8.1f}"
        f"{seen.kept / MIB:>8.1f}  {request.path[:40]}: {request.name}"
    )


def main() -> None:
    """Print the worst requests, and figures of all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("model", type=Path, help="a model folder")
    parser.add_argument("--only", default="", help="requests whose name holds this text")
    parser.add_argument("--rounds", type=int, default=1, help="of which the best counts")
    parser.add_argument("--verbose", action="store_true", help="print every request")
    asked = parser.parse_args()
    requests = [one for one in hostile_requests() if asked.only in f"{one.path}: {one.name}"]
    with served(asked.model, 1_024) as (process, address):
        # The first change loads a second copy of the model.
        bm25 = b'{"query":"a","system":"bm25"}'  # its index is built once
        for path, body in ((SEARCH, b'{"query":"a"}'), (SEARCH, bm25), (WRITE, WARM)):
            asyncio.run(attack(address, process, Hostile("", path, body)))
        start = resident(process)
        found = []
        for request in requests:
            runs = [asyncio.run(attack(address, process, request)) for _ in range(asked.rounds)]
            found.append((min(runs, key=lambda seen: seen.blocked), request))
            if asked.verbose:
                typer.echo(line(*found[-1]))
        end = resident(process)
    for title, key in (
        ("blocked longest", lambda pair: -pair[0].blocked),
        ("grown most", lambda pair: -pair[0].grown),
    ):
        typer.echo(f"\n{title}: status, ms blocked, MiB grown, MiB kept")
        for seen, request in sorted(found, key=key)[:12]:
            typer.echo(line(seen, request))
    bad = [request for seen, request in found if not seen.status.isdigit() or seen.status == "500"]
    typer.echo(
        f"\n{len(found)} requests; resident size {start / MIB:.0f} MiB before, {end / MIB:.0f} "
        f"after; without an answer or 500: {[one.name for one in bad]}"
    )
    raise SystemExit(bool(bad))


if __name__ == "__main__":
    main()
