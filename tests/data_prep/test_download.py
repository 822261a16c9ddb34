import hashlib
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from common import RemoteFile
from download import fetch

from genir.errors import InputError

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves `server.content`; breaks off after `server.cut` bytes when that is set.

    When it is `careless`, it answers a range without looking at If-Range, as some proxies do.
    """

    def do_GET(self):
        server, start = self.server, 0
        server.requests.append(dict(self.headers))
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if self.path != "/file.bin":
            self.send_error(404)
            return
        if wanted and (self.headers.get("If-Range") == server.tag or server.careless):
            start = int(wanted[1])
        size = len(server.content)
        if start >= size:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            self.end_headers()
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", server.tag)
        self.end_headers()
        self.wfile.write(body[: server.cut])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.content, server.tag, server.cut, server.requests = CONTENT, '"one"', None, []
        server.careless = False
        server.url = f"http://127.0.0.1:{server.server_port}/file.bin"
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_file_is_fetched_once(server, tmp_path):
    target = tmp_path / "deep" / "file.bin"
    assert fetch(server.url, target, f"sha256:{SHA256}") == target
    assert target.read_bytes() == CONTENT
    assert [file.name for file in target.parent.iterdir()] == ["file.bin"]
    fetch(server.url, target, f"md5:{hashlib.md5(CONTENT).hexdigest()}")
    assert len(server.requests) == 1


def test_a_broken_transfer_is_resumed(server, tmp_path):
    target = tmp_path / "file.bin"
    server.cut = 100_000
    with pytest.raises(InputError, match=r"cut after 100,000 of 512,000 bytes.*run it again"):
        fetch(server.url, target)
    assert not target.exists()
    server.cut = None
    fetch(server.url, target, f"sha256:{SHA256}")
    assert server.requests[1]["Range"] == "bytes=100000-"
    assert target.read_bytes() == CONTENT


def test_a_changed_file_is_fetched_anew(server, tmp_path):
    server.cut = 100_000
    with pytest.raises(InputError):
        fetch(server.url, tmp_path / "file.bin")
    server.cut, server.tag, server.content = None, '"two"', CONTENT[::-1]
    assert fetch(server.url, tmp_path / "file.bin").read_bytes() == CONTENT[::-1]


def test_a_complete_part_is_taken(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    (tmp_path / "file.bin.part.json").write_text('"\\"one\\""')
    assert fetch(server.url, tmp_path / "file.bin", f"sha256:{SHA256}").read_bytes() == CONTENT


def test_another_checksum_is_refused(server, tmp_path):
    with pytest.raises(InputError, match=rf"sha256 is {SHA256}, expected 00; set aside"):
        fetch(server.url, tmp_path / "file.bin", "sha256:00")
    assert not (tmp_path / "file.bin").exists()
    assert fetch(server.url, tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_missing_file_and_a_missing_server(server, tmp_path):
    with pytest.raises(InputError, match="the origin answers 404"):
        fetch(server.url + "x", tmp_path / "file.bin")
    with pytest.raises(InputError, match="the transfer failed"):
        fetch("http://127.0.0.1:1/file.bin", tmp_path / "file.bin")
    with pytest.raises(InputError, match="not an http address"):
        fetch("file:///etc/passwd", tmp_path / "file.bin")


def test_an_origin_prefers_a_local_copy(server, tmp_path):
    local = tmp_path / "local.bin"
    local.write_bytes(CONTENT)
    remote = RemoteFile(server.url, f"sha256:{SHA256}")
    assert remote.obtain(local, tmp_path, SHA256) == local
    assert server.requests == []
    assert remote.obtain(None, tmp_path / "d") == tmp_path / "d" / "file.bin"
    with pytest.raises(InputError, match=r"local\.bin: sha256 is .*, expected 00"):
        remote.obtain(local, tmp_path, "00")
    with pytest.raises(InputError, match=r"none: does not exist; check --source"):
        remote.obtain(tmp_path / "none", tmp_path)


@pytest.mark.parametrize("content", [CONTENT[::-1], CONTENT[:1000]])
def test_a_changed_file_is_fetched_anew_through_a_careless_proxy(server, tmp_path, content):
    server.cut = 100_000
    with pytest.raises(InputError):
        fetch(server.url, tmp_path / "file.bin")
    server.cut, server.tag, server.content, server.careless = None, '"two"', content, True
    assert fetch(server.url, tmp_path / "file.bin").read_bytes() == content
