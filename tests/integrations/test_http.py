from dataclasses import replace

import httpx2
import pytest
from tiny import QUERIES

from genir.errors import InputError
from genir.integrations.http import RemoteSearcher


def test_a_server_answers_as_its_model(retriever, remote):
    for query, found in zip(QUERIES, remote.search(QUERIES, 5), strict=True):
        own = retriever.search([query], 5)[0]
        assert [hit.score for hit in found] == pytest.approx([hit.score for hit in own], abs=1e-5)
        assert [replace(hit, score=0.0) for hit in found] == [replace(h, score=0.0) for h in own]


def test_a_filter_goes_along(remote):
    (hits,) = remote.search(QUERIES[:1], 40, {"verb": ["copy", "move"]})
    assert {hit.key.partition("-")[0] for hit in hits} == {"copy", "move"} and len(hits) == 10


def test_whole_documents_can_be_read(retriever, remote):
    keys = ["copy-file", "watch-disk"]
    assert remote.documents.fetch(keys) == retriever.documents.fetch(keys)


def test_a_key_may_hold_anything():
    def answer(request):
        assert request.url.raw_path == b"/v1/documents/a%2Fb%3F%20%23c"
        return httpx2.Response(200, json={"_id": "a/b? #c", "text": "answer"})

    http = httpx2.Client(transport=httpx2.MockTransport(answer), base_url="http://genir")
    assert RemoteSearcher("", http=http).fetch(["a/b? #c"])["a/b? #c"].text == "answer"


def test_the_token_is_sent():
    sent = RemoteSearcher("http://genir", "genir_secret")._http.headers["authorization"]
    assert sent == "Bearer genir_secret"


def test_no_token_is_sent_for_none_and_bytes_are_refused():
    assert "authorization" not in RemoteSearcher("http://genir", None)._http.headers
    with pytest.raises(InputError, match="token: got bytes"):
        RemoteSearcher("http://genir", b"genir_secret")


@pytest.mark.parametrize(("key", "sent"), [(".", b"%2E"), ("..", b"%2E%2E"), ("a.b", b"a.b")])
def test_keys_of_dots_are_no_steps_of_the_path(key, sent):
    def answer(request):
        assert request.url.raw_path == b"/v1/documents/" + sent
        return httpx2.Response(404, json={"detail": f"no document with the key {key!r}"})

    http = httpx2.Client(transport=httpx2.MockTransport(answer), base_url="http://genir")
    with pytest.raises(InputError, match="no document with the key"):
        RemoteSearcher("", http=http).fetch(key)


def test_a_refusal_has_the_servers_message(remote):
    with pytest.raises(InputError, match="did you mean 'verb'"):
        remote.search(["copy"], 1, {"vreb": "copy"})
    with pytest.raises(InputError, match="no document with the key 'absent'"):
        remote.fetch(["absent"])


@pytest.mark.parametrize("answer", [httpx2.Response(502, text="<html>"), httpx2.Response(500)])
def test_another_server_is_detected(answer):
    http = httpx2.Client(transport=httpx2.MockTransport(lambda _: answer), base_url="http://x")
    with pytest.raises(InputError, match=r"status 50\d; check that the address is a genir server"):
        RemoteSearcher("", http=http).search(["copy"])


def test_an_unreachable_server_is_reported():
    with (
        RemoteSearcher("http://127.0.0.1:9") as gone,
        pytest.raises(InputError, match="no response"),
    ):
        gone.search(["copy"])


def test_a_string_is_one_query_and_one_key(retriever, remote):
    assert remote.search(QUERIES[0], 5) == remote.search(QUERIES[:1], 5)
    assert list(remote.fetch("copy-file")) == ["copy-file"]
    for wrong in (None, b"vpn", {"q": "vpn"}, ["\ud800"]):
        with pytest.raises(InputError, match="queries"):
            remote.search(wrong)
    with pytest.raises(InputError, match="where: got 'verb=copy'"):
        remote.search(QUERIES[:1], 5, "verb=copy")
    with pytest.raises(InputError, match="k = 0"):
        remote.search(QUERIES[:1], 0)


@pytest.mark.parametrize(
    "where", [{"verb": "\ud800"}, {"verb": {"gt": float("nan")}}, {"verb": b"a"}]
)
def test_values_without_json_form_are_refused(remote, where):
    with pytest.raises(InputError):
        remote.search(QUERIES[:1], 1, where)


@pytest.mark.parametrize(
    "address",
    ["localhost:8000", "", "ftp://x", "http://h/p?x=1", "http://h#x", "http://", "http:/x", b"http://h",
     5, "http://h/?", " http://h", "http://h ", "http://h\n", "http://a b", "http://a..b", "http://h:65536",
     f"http://{'a' * 64}.org", f"http://{'a.' * 130}org"],
)  # fmt: skip
def test_an_address_of_another_form_is_refused_at_once(address):
    with pytest.raises(InputError, match=r"not an address; write it like http://127\.0\.0\.1"):
        RemoteSearcher(address)


@pytest.mark.parametrize("address", ["http://[", "http://a:x", None, "http://\x00"])
def test_an_address_that_cannot_be_is_refused(address):
    with pytest.raises(InputError, match=r"not an address|no response"):
        RemoteSearcher(address).search("vpn")


@pytest.mark.parametrize("token", ["caf\xe9", "a\nb", "\ud800", "a b"])
def test_a_token_that_cannot_be_is_refused(token):
    with pytest.raises(InputError, match="token"):
        RemoteSearcher("http://127.0.0.1", token)


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(200, text="<html>"),
        httpx2.Response(200, json=[]),
        httpx2.Response(200, json={"hits": ["a"]}),
        httpx2.Response(200, json={"hits": [{"id": 1}]}),
        httpx2.Response(200, content=b"\xff\xfe"),
    ],
)
def test_an_answer_of_something_else_is_noticed(answer):
    http = httpx2.Client(transport=httpx2.MockTransport(lambda _: answer), base_url="http://x")
    with pytest.raises(InputError, match="not from a genir server"):
        RemoteSearcher("", http=http).search(["copy"])


@pytest.mark.parametrize("change", ["compact", "delete", "version"])
def test_no_answer_of_something_else_counts_as_a_change(change):
    def ask(answer):
        http = httpx2.Client(transport=httpx2.MockTransport(lambda _: answer), base_url="http://x")
        searcher = RemoteSearcher("", http=http)
        return {"compact": searcher.compact, "delete": lambda: searcher.delete("a"),
                "version": lambda: searcher.version}[change]()  # fmt: skip

    moved = httpx2.Response(302, headers={"location": "https://u:secret@y/"}, json={})
    with pytest.raises(InputError, match=r"redirects to 'https://y/'; use that address"):
        ask(moved)
    for body in ("hello", [], None):
        with pytest.raises(InputError, match="not from a genir server"):
            ask(httpx2.Response(200, json=body))


@pytest.fixture
def proxies(monkeypatch):
    """Set variables of proxies and certificates, which the surroundings set no more."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch.setenv


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "ALL_PROXY",
            "socks5://localhost:1",
            r"'socks5://localhost:1' of ALL_PROXY: .*pip install",
        ),
        ("http_proxy", "http://[::1", r"'http://\[::1' of HTTP_PROXY: not an address; .*or unset"),
        ("HTTP_PROXY", "ftp://me:secret@x", "'ftp://x' of HTTP_PROXY: not an address"),
        ("HTTP_PROXY", "a..b", "'http://a..b' of HTTP_PROXY: not an address"),
        ("HTTP_PROXY", "h:65536", "'http://h:65536' of HTTP_PROXY: not an address"),
        (
            "SSL_CERT_FILE",
            "/nonexistent",
            r"SSL_CERT_FILE .*\(No such file or directory\); correct",
        ),
    ],
)
def test_a_setting_of_the_surroundings_that_cannot_be_is_named(proxies, name, value, message):
    proxies(name, value)
    with pytest.raises(InputError, match=message) as refused:
        RemoteSearcher("http://genir.example")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("value", ["http://me:secret@127.0.0.1:9", "127.0.0.1:9"])
def test_a_proxy_that_does_not_answer_is_named(proxies, value):
    proxies("HTTP_PROXY", value)
    with (
        RemoteSearcher("http://genir.example") as gone,
        pytest.raises(InputError, match=r"no response through the proxy 'http://127.* of") as error,
    ):
        gone.search("copy")
    assert "of HTTP_PROXY" in str(error.value) and "secret" not in str(error.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "genir.intern.example"])
def test_this_machine_and_hosts_of_no_proxy_are_asked_directly(proxies, host):
    proxies("HTTP_PROXY", "http://127.0.0.1:9")
    proxies("NO_PROXY", "intern.example")
    assert RemoteSearcher(f"http://{host}")._through == ""
    assert "127.0.0.1:9" in RemoteSearcher("http://genir.example")._through


def test_no_proxy_may_name_a_port(proxies):
    proxies("HTTP_PROXY", "http://127.0.0.1:9")
    proxies("NO_PROXY", "intern.example:8000")
    assert RemoteSearcher("http://intern.example:8000")._through == ""
    assert "127.0.0.1:9" in RemoteSearcher("http://intern.example:8001")._through


def test_a_password_in_an_address_is_in_no_message():
    for address in ("http://me:secret@127.0.0.1:9", "http://me:secret@", "http://me:sec/ret@h"):
        with pytest.raises(InputError) as error:
            RemoteSearcher(address).search("copy")
        assert "sec" not in str(error.value)
