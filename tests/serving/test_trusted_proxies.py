"""The server behind a reverse proxy: nginx by default and with the documented configuration."""

import logging
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from genir.errors import InputError
from genir.serving.app import create_app
from genir.serving.middleware import LOOPBACK_HOSTS
from genir.serving.settings import Settings

ASKED = {"query": "copy a directory tree"}
UPSTREAM = "http://127.0.0.1:8000"
PAGE = "https://search.example.org"
EVIL = "https://evil.example.org"
OWN = {"Origin": PAGE, "Sec-Fetch-Site": "same-origin"}
DOCS = Path(__file__).parents[2] / "docs" / "guides" / "serve.md"


def serve(searcher, client="127.0.0.1", **settings):
    """Create the application as `genir serve` on loopback; requests come from `client`."""
    settings = Settings(**({"hosts": LOOPBACK_HOSTS} | settings))
    app = create_app(searcher, settings=settings, loopback=True)
    return TestClient(app, UPSTREAM, client=(client, 40_000))


def sent(client, **headers):
    return client.post("/v1/search", json=ASKED, headers=headers)


def test_nginx_s_defaults_let_the_server_s_own_page_search(searcher):
    """proxy_pass alone: Host is the upstream's address, and nothing is forwarded."""
    client = serve(searcher)
    assert sent(client, **OWN).status_code == 200
    answer = client.delete("/v1/documents/os.walk", headers=OWN)
    assert "no such model folder" in answer.json()["detail"]  # not rejected for its origin


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": EVIL},
        {"Origin": EVIL, "Sec-Fetch-Site": "cross-site"},
        {"Origin": PAGE, "Sec-Fetch-Site": "same-site"},
        {"Origin": UPSTREAM, "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://["},
        {"Origin": "http://127.0.0.1:3000"},
        {"Origin": "https://127.0.0.1.evil.example.org:8000"},
        {"Origin": EVIL, "Referer": UPSTREAM},
    ],
)
def test_foreign_pages_change_nothing(searcher, headers):
    client = serve(searcher)
    for answer in (
        sent(client, **headers),
        client.delete("/v1/documents/os.walk", headers=headers),
        client.post("/v1/compact", headers=headers),
    ):
        assert answer.status_code == 403 and "--cors" in answer.json()["detail"]


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8000", "HTTP://127.0.0.1:8000"])
def test_a_browser_that_says_nothing_of_sites_is_known_by_its_origin(searcher, origin):
    assert sent(serve(searcher), Origin=origin).status_code == 200


def test_a_forwarded_host_counts_from_a_trusted_proxy_alone(searcher):
    """Browsers omit Sec-Fetch-Site if the proxy does not use TLS."""
    headers = {"Origin": "http://search.lan", "X-Forwarded-Host": "search.lan"}
    assert sent(serve(searcher), **headers).status_code == 200
    assert sent(serve(searcher, "10.0.0.9"), **headers).status_code == 403
    assert sent(serve(searcher, "10.0.0.9", trusted_proxies="10.0.0.0/8"), **headers).is_success
    assert sent(serve(searcher, "10.0.0.9", trusted_proxies="*"), **headers).is_success
    assert sent(serve(searcher, trusted_proxies="10.0.0.0/8"), **headers).status_code == 403


def test_a_page_at_a_name_of_the_server_is_its_own(searcher):
    """Plain HTTP, and a proxy without forwarded headers."""
    client = serve(searcher, hosts=["search.lan", "127.0.0.1"])
    for origin in ("http://search.lan", "https://search.lan"):
        assert sent(client, Origin=origin).status_code == 200
        assert sent(serve(searcher), Origin=origin).status_code == 403  # it is not in --cors
        # Sec-Fetch-Site has precedence.
        cross = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
        assert sent(client, **cross).status_code == 403
    for origin in ("http://search.lan:9000", "http://127.0.0.1", "http://search.lan.evil"):
        assert sent(client, Origin=origin).status_code == 403


def test_a_forwarded_host_never_replaces_host(searcher):
    """A page with DNS rebinding can set X-Forwarded-Host, but not Host."""
    headers = {"Host": "evil.example.org:8000", "X-Forwarded-Host": "127.0.0.1:8000"}
    answer = serve(searcher).get("/v1/documents/os.walk", headers=headers)
    assert answer.status_code == 421 and "--hosts" in answer.json()["detail"]


@pytest.mark.parametrize("host", ["[", "a b", "a@b", "a:x", "a:99999", "é".encode(), "a/b", "a,b"])
def test_a_malformed_host_is_refused_on_every_route(searcher, host):
    client = TestClient(create_app(searcher), raise_server_exceptions=False)
    for path in ("/", "/page/app.js", "/v1/search/", "/v1/model", "/healthz"):
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code == 400 and "Host header" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/", "/page/app.js", "/openapi.json", "/v1/model", "/healthz"])
@pytest.mark.parametrize("origin", ["http://[", "null", "", "é".encode(), "http://a:x"])
def test_a_malformed_origin_changes_nothing_where_nothing_is_sent(searcher, path, origin):
    answer = serve(searcher).get(path, headers={"Origin": origin})
    assert answer.status_code == 200 and "access-control-allow-origin" not in answer.headers


def client_in_log(caplog, client, **headers):
    caplog.set_level(logging.INFO, "genir.serving")
    caplog.clear()
    sent(client, **headers)
    (line,) = [one for one in caplog.records if one.getMessage() == "request"]
    return line.client


def test_the_log_has_the_client_s_address_where_the_proxy_is_trusted(searcher, caplog):
    forwarded = {"X-Forwarded-For": "198.51.100.66, 203.0.113.7", "X-Forwarded-Proto": "https"}
    near, far = serve(searcher), serve(searcher, "10.0.0.9")
    assert client_in_log(caplog, near, **forwarded) == "203.0.113.7"  # the one that the proxy saw
    assert client_in_log(caplog, far, **forwarded) == "10.0.0.9"
    assert client_in_log(caplog, near) == "127.0.0.1"


def test_all_origins_may_read_but_change_nothing_without_a_token(searcher):
    client = serve(searcher, cors="*")
    assert sent(client, Origin=EVIL).headers["access-control-allow-origin"] == "*"
    answer = client.delete("/v1/documents/os.walk", headers={"Origin": EVIL})
    assert answer.status_code == 403 and "--cors" in answer.json()["detail"]
    with pytest.raises(InputError, match=r"--writes.*without --cors '\*'"):
        serve(searcher, cors="*", writes=True)


def documented():
    """Return the headers and server settings of the documented nginx configuration."""
    text = DOCS.read_text()
    block = re.search(r"```nginx\n(.*?)```", text, re.DOTALL)[1]
    headers = dict(re.findall(r"proxy_set_header\s+(\S+)\s+(\S+);", block))
    command = re.search(r"genir serve my-model (--hosts .*)", text)[1].split("#")[0].split()
    settings = {}
    for flag, value in zip(command[::2], command[1::2], strict=True):
        settings.setdefault(flag.removeprefix("--").replace("-", "_"), []).append(value)
    return headers, settings


def test_the_documented_configuration_works(searcher, caplog):
    headers, settings = documented()
    values = {
        "$http_host": "search.example.org",
        "$proxy_add_x_forwarded_for": "203.0.113.7",
        "$scheme": "https",
    }
    forwarded = {name: values[value] for name, value in headers.items()}
    assert forwarded["Host"] == "search.example.org"
    client = serve(searcher, **settings)
    assert client_in_log(caplog, client, **forwarded, Origin=PAGE) == "203.0.113.7"
    assert sent(client, **forwarded, Origin=PAGE).status_code == 200
    assert sent(client, **forwarded, Origin=EVIL).status_code == 403
    assert sent(client, **(forwarded | {"Host": "other.example.org"})).status_code == 421
