"""Bodies and URLs that are not UTF-8: a 4xx that names the encoding and the fix."""

import gzip
import json
import shutil
import zlib

import pytest
from asgi import ask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from living import serving

from genir.serving.app import create_app
from genir.serving.settings import Settings

QUERY = {"query": "wo ist das café?"}
TEXT = json.dumps(QUERY, ensure_ascii=False)
JSON = (b"content-type", b"application/json")
POSTS = (b"/v1/search", b"/search", b"/v1/documents", b"/v1/rollback", b"/v1/compact", b"/v1/model")


@pytest.fixture
def app(searcher):
    return create_app(searcher, loopback=True, settings=Settings(max_body=2_048))


BODIES = {
    "latin-1": (TEXT.encode("latin-1"), "not UTF-8 (byte 0xe9 at 25; perhaps Latin-1"),
    "cp1252": ('{"query": "a \u2013 b"}'.encode("cp1252"), "byte 0x96 at 13"),
    "utf-16": (TEXT.encode("utf-16"), "the body is UTF-16"),
    "utf-16 without a mark": (TEXT.encode("utf-16-le"), "the body is UTF-16-LE"),
    "utf-32": (TEXT.encode("utf-32-be"), "the body is UTF-32-BE"),
    "gzip": (gzip.compress(TEXT.encode()), "the body is gzip-compressed"),
    "zstd": (b"\x28\xb5\x2f\xfd\x00", "the body is zstd-compressed"),
    "a surrogate as bytes": (b'{"query": "\xed\xa0\x80"}', "not UTF-8 (byte 0xed at 11"),
    "cut within a letter": (TEXT.encode()[:26], "not UTF-8 (byte 0xc3 at 25"),
}


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("kind", BODIES)
def test_other_encodings_are_named_on_every_route(app, path, kind):
    body, message = BODIES[kind]
    status, _, reply = ask(app, "POST", path, [JSON], body)
    assert status == 400 and message in reply["detail"] and "send" in reply["detail"]


@pytest.mark.parametrize(
    "charset", ["iso-8859-1", '"latin1"', "UTF-16", "windows-1252", "absent", "utf-7", "zip"]
)
def test_another_charset_is_refused(app, charset):
    header = (b"content-type", f"application/json; charset={charset}".encode())
    status, _, reply = ask(app, "POST", b"/v1/search", [header], TEXT.encode())
    assert status == 415 and "send JSON in UTF-8" in reply["detail"]
    assert charset.strip('"') in reply["detail"]


@pytest.mark.parametrize(
    "coding", [b"gzip", b"deflate", b"br", b"zstd", b"GZIP", b"identity, gzip"]
)
def test_compressed_bodies_are_refused_unread(app, coding):
    bomb = zlib.compress(b"0" * 2**20)  # a kilobyte
    headers = [JSON, (b"content-encoding", coding)]
    for body in (bomb, gzip.compress(TEXT.encode())):
        status, found, reply = ask(app, "POST", b"/v1/search", headers, body)
        assert status == 415 and "send the body uncompressed" in reply["detail"]
        assert found["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ([JSON], TEXT.encode()),
        ([JSON], TEXT.encode("utf-8-sig")),
        ([(b"content-type", b"application/json; charset=UTF-8")], TEXT.encode()),
        ([(b"content-type", b'application/json;charset="utf8"')], TEXT.encode()),
        ([JSON, (b"content-encoding", b"identity")], TEXT.encode()),
        ([JSON, (b"content-encoding", b"")], TEXT.encode()),
        ([JSON], json.dumps({"query": "a 😀"}).encode()),  # as a surrogate pair
    ],
)
def test_utf8_is_answered(app, headers, body):
    assert ask(app, "POST", b"/v1/search", headers, body)[0] == 200


@pytest.mark.parametrize("path", POSTS)
def test_a_body_that_is_too_long_is_refused_before_its_encoding(app, path):
    assert ask(app, "POST", path, [JSON], b"\xff" * 4_000)[0] == 413


def test_a_body_without_a_type_is_refused_by_type(app):
    for headers in ([], [(b"content-type", b"text/plain")], [(b"content-type", b"text/json")]):
        status, _, reply = ask(app, "POST", b"/v1/search", headers, TEXT.encode())
        assert status == 415 and "Content-Type: application/json" in reply["detail"]


@pytest.fixture(scope="module")
def model(model_folder, tmp_path_factory):
    folder = shutil.copytree(model_folder, tmp_path_factory.mktemp("encodings") / "model")
    with serving(folder) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (b"/v1/search", '{"query": "a%s"}'),
        (b"/v1/search", '{"queries": ["a", "b%s"]}'),
        (b"/v1/search", '{"query": "a", "where": {"lang": "%s"}}'),
        (b"/v1/search", '{"query": "a", "where": {"%s": "en"}}'),
        (b"/v1/search", '{"query": "a", "where": {"lang": {"prefix": "%s"}}}'),
        (b"/v1/search", '{"query": "a", "where": {"lang": {"%s": 1}}}'),
        (b"/v1/search", '{"query": "a", "allow": ["%s"]}'),
        (b"/v1/search", '{"query": "a", "deny": ["%s"]}'),
        (b"/v1/search", '{"query": "a", "system": "%s"}'),
        (b"/v1/search", '{"query": "a", "%s": 1}'),
        (b"/v1/documents", '{"document": {"_id": "%s", "text": "a"}}'),
        (b"/v1/documents", '{"document": {"_id": "a", "text": "%s"}}'),
        (b"/v1/documents", '{"document": {"_id": "a", "text": "b", "url": "%s"}}'),
        (b"/v1/documents", '{"document": {"_id": "a", "text": "b", "team": ["%s"]}}'),
        (b"/v1/documents", '{"document": {"_id": "a", "text": "b", "%s": 1}}'),
        (b"/v1/documents", '{"document": {"_id": "a", "text": "b"}, "queries": {"%s": ["c"]}}'),
        (b"/v1/documents", '{"document": {"_id": "a", "text": "b"}, "queries": {"a": ["%s"]}}'),
        (b"/v1/model", '{"folder": "%s"}'),
        (b"/v1/rollback", '{"version": "%s"}'),
    ],
)
def test_an_unpaired_surrogate_is_refused_anywhere(model, path, body):
    for half in ("\\ud800", "\\udfff", "\\udfff\\ud800"):
        status, _, reply = ask(model.app, "POST", path, [JSON], (body % half).encode())
        assert status == 422 and reply["detail"]


ADDRESSES = [
    (b"/v1/documents/caf%e9", b"", "the path is not UTF-8 (byte 0xe9 at 17"),
    (b"/v1/documents/%ff%fe", b"", "the path is not UTF-8"),
    (b"/v1/documents/%ed%a0%80", b"", "the path is not UTF-8"),
    (b"/v1/documents/%c0%80", b"", "the path is not UTF-8"),
    (b"/v1/documents/50%", b"", "the path contains a stray % at byte 16; write % as %25"),
    (b"/v1/documents/%zz", b"", "the path contains a stray % at byte 14"),
    (b"/v1/explain", b"query=caf%e9", "the query string is not UTF-8 (byte 0xe9 at 9"),
    (b"/v1/explain", b"query=caf\xe9", "the query string is not UTF-8 (byte 0xe9 at 9"),
    (b"/v1/explain", b"query=100%", "the query string contains a stray %"),
    (b"/v1/explain", b"query=a&where=%7b%ff", "the query string is not UTF-8"),
    (b"/v1/explain", b"%ff=1&query=a", "the query string is not UTF-8"),
]


@pytest.mark.parametrize(("path", "query", "message"), ADDRESSES)
def test_addresses_that_are_not_utf8_are_refused(app, path, query, message):
    status, _, reply = ask(app, "GET", path, query=query)
    assert status == 400 and message in reply["detail"]
    if path.startswith(b"/v1/documents"):  # never delete a document with another key
        assert ask(app, "DELETE", path)[0] == 400


@pytest.mark.parametrize("key", [b"a%00b", b"%00", b"caf%C3%A9", b"%F0%9F%98%80", b"a%2Fb", b"%25"])
def test_well_formed_keys_are_looked_up(app, key):
    assert ask(app, "GET", b"/v1/documents/" + key)[0] == 404


@settings(
    max_examples=200,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    path=st.sampled_from(POSTS),
    kind=st.sampled_from([b"application/json", b"application/json; charset=x", b"text/plain", b""]),
    body=st.one_of(
        st.binary(max_size=60),
        st.text(max_size=20).map(lambda text: json.dumps({"query": text}).encode("utf-16")),
        st.binary(max_size=9).map(lambda raw: b'{"query": "' + raw + b'"}'),
        st.binary(max_size=9).map(lambda raw: b"\xef\xbb\xbf" + raw),
    ),
)
def test_no_body_makes_the_server_fail(app, path, kind, body):
    headers = [(b"content-type", kind)] if kind else []
    status, _, reply = ask(app, "POST", path, headers, body)
    assert status < 500 and (status < 400 or reply["detail"])
