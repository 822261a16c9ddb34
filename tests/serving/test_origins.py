"""Origins, hosts and proxies: malformed ones in requests, misspelled ones on the command line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genir.errors import InputError
from genir.serving.origins import host_and_port, origin_of
from genir.serving.settings import Settings


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("https://a.example.org", ("https", "a.example.org", 443)),
        ("http://a.example.org:8000", ("http", "a.example.org", 8000)),
        ("HTTP://A.example.org:80", ("http", "a.example.org", 80)),
        ("http://[::1]:8000", ("http", "::1", 8000)),
        *((text, None) for text in ("null", "", "http://[", "http://[::1", "http://", "//a", "a")),
        *((text, None) for text in ("http://a:x", "http://a:99999", "http://a/", "http://a?b")),
        *(
            (text, None)
            for text in ("http://u@a", "ftp://a", "http://a b", "http://a\tb", "http://é")
        ),
        *(
            (text, None)
            for text in ("http://a#", "http://a?", "http://-a", "http://a..b", "http://\\a")
        ),
    ],
)
def test_origins_are_parsed_or_nothing(text, parsed):
    found = origin_of(text)
    assert (found and (found.scheme, found.host, found.port)) == parsed


@given(st.one_of(st.text(), st.from_regex(r"https?://[^/]*")))
def test_no_text_fails_to_be_parsed(text):
    found = origin_of(text)
    assert found is None or origin_of(str(found)) == found
    host_and_port(text)


@pytest.mark.parametrize(
    ("given", "fix"),
    [
        ("https://front.example.org/", "write https://front.example.org$"),
        ("https://front.example.org/app?x=1", "write https://front.example.org$"),
        ("https://Front.Example.org", "write https://front.example.org$"),
        ("https://front.example.org:443", "write https://front.example.org$"),
        ("http://front.example.org:80", "write http://front.example.org$"),
        ("front.example.org", "write https://front.example.org$"),
        ("front.example.org:8443", "write https://front.example.org:8443$"),
        ("https://bücher.example", "write https://xn--bcher-kva.example$"),
        ("https://user@front.example.org", "write https://front.example.org$"),
        (" https://front.example.org", "write https://front.example.org$"),
        ("https://front.example.org.", "write https://front.example.org$"),
        ("null", "sandboxed"),
        ("https://*.example.org", "patterns are not supported"),
        ("ftp://front.example.org", "write scheme, host and port"),
        ("https://", "write scheme, host and port"),
        ("http://[", "write scheme, host and port"),
        ("https://a:99999", "write scheme, host and port"),
        ("http://[0:0:0:0:0:0:0:1]", r"write http://\[::1\]$"),
        ("http://[::ffff:1.2.3.4]:81", r"write http://\[::ffff:102:304\]:81$"),
        ("http://127.1", "write http://127.0.0.1$"),
        ("http://2130706433:8000", "write http://127.0.0.1:8000$"),
        ("http://1.2.3.400", "write scheme, host and port"),
        ("http://[v1.a]", "write scheme, host and port"),
        ("http://[fe80::1%eth0]", "write scheme, host and port"),
        ("", "write scheme, host and port"),
    ],
)
def test_an_origin_that_no_browser_sends_is_refused_at_start(given, fix):
    with pytest.raises(InputError, match=rf"^--cors .*{fix}"):
        Settings.of({"cors": [given]})


@pytest.mark.parametrize(
    "origin",
    ["https://a.example.org", "http://localhost:3000", "*", "http://a:0", "http://[::1]:8000",
     "http://[::ffff:102:304]", "http://127.0.0.1", "http://1.2.3.4.example"],
)  # fmt: skip
def test_an_origin_as_browsers_send_it_is_taken(origin):
    assert Settings.of({"cors": [origin]}).cors == (origin,)
    assert Settings.of({"cors": origin}).cors == (origin,)  # as Ray's arguments have it


@pytest.mark.parametrize(
    ("given", "fix"),
    [
        ("https://search.example.org", "write search.example.org$"),
        ("search.example.org:8000", "write search.example.org$"),
        ("search.example.org/app", "write search.example.org$"),
        ("bücher.example", "write xn--bcher-kva.example$"),
        ("*", "patterns are not supported"),
        ("*.example.org", "patterns are not supported"),
        ("", "not a host name"),
        ("a b", "not a host name"),
        ("[", "not a host name"),
        ("[::1", "not a host name"),
        ("::1]", "not a host name"),
        ("[v1.a]", "not a host name"),
        ("fe80::1%eth0", "not a host name"),
        ("1.2.3.400", "not a host name"),
        ("1.2.3.4.5", "not a host name"),
        ("example.0x", "not a host name"),
        ("0:0:0:0:0:0:0:1", "write ::1$"),
        ("[0:0::1]", "write ::1$"),
        ("::ffff:1.2.3.4", "write ::ffff:102:304$"),
        ("127.1", "write 127.0.0.1$"),
        ("0x7f.1", "write 127.0.0.1$"),
        ("2130706433", "write 127.0.0.1$"),
        ("010.0.0.1", "write 8.0.0.1$"),
    ],
)
def test_a_host_that_no_request_names_is_refused_at_start(given, fix):
    with pytest.raises(InputError, match=rf"^--hosts .*{fix}"):
        Settings.of({"hosts": [given]})


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Search.Example.org", "search.example.org"),
        ("[::1]", "::1"),
        ("a.example.", "a.example"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("127.0.0.1", "127.0.0.1"),
        ("0x7f.example", "0x7f.example"),
    ],
)
def test_hosts_are_compared_in_one_spelling(given, kept):
    assert Settings.of({"hosts": [given]}).hosts == (kept,)


@pytest.mark.parametrize(
    ("given", "fix"),
    [
        ("10.0.0.1/8", "write 10.0.0.0/8$"),
        ("proxy.local", "not an IP address"),
        ("", "not an IP address"),
        ("::ffff:10.0.0.1", "write 10.0.0.1$"),
        ("::ffff:10.0.0.0/104", "write 10.0.0.0/8$"),
        ("2001:db8::1/32", "write 2001:db8::/32$"),
    ],
)
def test_a_proxy_that_is_no_address_is_refused_at_start(given, fix):
    with pytest.raises(InputError, match=rf"^--trusted-proxies .*{fix}"):
        Settings.of({"trusted_proxies": [given]})


@pytest.mark.parametrize("given", ["10.0.0.7", "10.0.0.0/8", "::1", "2001:DB8::/32", "::/0", "*"])
def test_a_proxy_s_address_is_taken(given):
    assert Settings.of({"trusted_proxies": [given]}).trusted_proxies == (given,)
