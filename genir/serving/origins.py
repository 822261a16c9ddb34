"""Parsing of origins, host names and proxy addresses: lenient for requests, strict for options."""

import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

PORTS = {"http": 80, "https": 443}
ANY = "*"
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_AUTHORITY = re.compile(r"(\[[^\[\]@]*\]|[^\[\]:@]*)(:[0-9]*)?", re.ASCII)
MAPPED = 96
"""Prefix length of IPv4-mapped IPv6 addresses, in bits."""
MAX_NAME = 253
"""Maximum length of a host name in characters (RFC 1035)."""

Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Origin:
    """Origin of a page: scheme, host and port."""

    scheme: str
    host: str
    port: int

    def is_at(self, authority: str) -> bool:
        """Return whether a Host header has this origin's host and port."""
        return host_and_port(authority, PORTS[self.scheme]) == (self.host, self.port)

    def __str__(self) -> str:
        """Return the origin as browsers send it, without a default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"


def origin_of(text: str) -> Origin | None:
    """Parse an Origin header; None for `null` and malformed values."""
    parts = _split(text)
    if parts is None or parts.scheme not in PORTS:
        return None
    if parts.path or parts.query or parts.fragment or "?" in text or "#" in text:
        return None
    found = host_and_port(parts.netloc, PORTS[parts.scheme])
    return None if found is None else Origin(parts.scheme, *found)


def host_and_port(authority: str, default_port: int = 0) -> tuple[str, int] | None:
    """Parse a Host header into a lower-case name and a port; None if it is malformed."""
    parts = _split(f"//{authority}")
    if parts is None or parts.netloc != authority or not _AUTHORITY.fullmatch(authority):
        return None
    try:
        host, port = (parts.hostname or "").removesuffix("."), parts.port
    except ValueError:
        return None
    return None if not is_host(host) else (host, default_port if port is None else port)


def is_host(name: str) -> bool:
    """Return whether a lower-case text is a host name or an IP address without brackets."""
    if ":" in name:
        return _is_address(name)
    return len(name) <= MAX_NAME and all(_LABEL.fullmatch(label) for label in name.split("."))


def check_origin(text: str) -> str:
    """Return an origin for `--cors` unchanged.

    Raises:
        ValueError: Browsers never send this origin; the message has the right spelling if any.
    """
    if text == ANY:
        return text
    if text.lower() == "null":
        raise ValueError(
            "all sandboxed pages and local files have the origin 'null'; serve the page over HTTP "
            "and give its origin"
        )
    if ANY in text:
        raise ValueError("patterns are not supported; give each origin, or '*' alone for all")
    spelled = _spelling_of_origin(text)
    if spelled is None:
        raise ValueError("not an origin; write scheme, host and port: https://www.example.org")
    if spelled != text:
        raise ValueError(f"browsers spell it differently; write {spelled}")
    return text


def check_host(text: str) -> str:
    """Return a host name for `--hosts` in lower case, without brackets.

    Raises:
        ValueError: No Host header can match it; the message has the right spelling if any.
    """
    bracketed = text.startswith("[") and text.endswith("]") and ":" in text
    bare = (text[1:-1] if bracketed else text).lower().removesuffix(".")
    if ANY in text:
        raise ValueError("patterns are not supported; give each host")
    spelled = _as_browsers(bare) if is_host(bare) else _spelling_of_host(text)
    if spelled == bare:
        return bare
    if spelled is None:
        raise ValueError("not a host name; write it without scheme, port and path: www.example.org")
    raise ValueError(f"browsers spell it differently; write {spelled}")


def check_proxy(text: str) -> str:
    """Return an address or network for `--trusted-proxies` unchanged, or '*'.

    Raises:
        ValueError: The text is neither; host names are not resolved.
    """
    if text != ANY:
        network_of(text)
    return text


def network_of(text: str) -> Network:
    """Parse an IP address or network. Raises ValueError, with the right spelling if any."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            "not an IP address or network; write it like 10.0.0.7 or 172.16.0.0/12"
        ) from None
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= MAPPED:
        spelled = str(ip_network((mapped, network.prefixlen - MAPPED), strict=False))
        raise ValueError(
            "an IPv4-mapped IPv6 address; clients are identified by their IPv4 address; "
            f"write {spelled.removesuffix('/32')}"
        )
    if str(network.network_address) != _address_of(text):
        raise ValueError(f"the address has host bits set; write {network}")
    return network


NAT64 = IPv6Network("64:ff9b::/96")
"""Addresses that a translator makes of IPv4 addresses (RFC 6052): the last 32 bits."""


def network_of_client(address: str) -> str:
    """Return the network that one client usually controls: an IPv4 address, or an IPv6 /64.

    A client with an IPv4 address that is written as an IPv6 one, as proxies do, has the former.

    Raises:
        ValueError: No IP address, for example of a Unix socket.
    """
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is None and found not in NAT64:
            return str(ip_network((found, 64), strict=False))
        found = found.ipv4_mapped or IPv4Address(int(found) & 0xFFFFFFFF)
    return str(found)


def _address_of(text: str) -> str:
    """Return the address part in the spelling of `ipaddress`."""
    return str(ip_address(text.partition("/")[0]))


def _spelling_of_origin(text: str) -> str | None:
    """Return an origin in the spelling of browsers, or None."""
    whole = text if "://" in text else f"https://{text}"
    parts = _split(whole.strip())
    if parts is None or parts.scheme not in PORTS:
        return None
    host = _spelling_of_host(whole)
    try:
        port = PORTS[parts.scheme] if parts.port is None else parts.port
    except ValueError:
        return None
    return None if host is None else str(Origin(parts.scheme, host, port))


def _spelling_of_host(text: str) -> str | None:
    parts = _split(text.strip() if "//" in text else f"//{text.strip()}")
    try:
        name = (parts.hostname or "").removesuffix(".") if parts else ""
        spelled = name if ":" in name else _punycode(name)
    except ValueError:
        return None
    if "[" in text and ":" not in spelled:  # IPvFuture
        return None
    return _as_browsers(spelled) if is_host(spelled) else None


def _as_browsers(name: str) -> str | None:
    """Return a host in the spelling of browsers (WHATWG URL, host serializing); None if invalid.

    Browsers parse every name whose last label is a number as an IPv4 address, for example `127.1`,
    `0x7f.1` and `2130706433`.
    """
    if ":" in name:
        return None if "%" in name else _ipv6(IPv6Address(name))
    if not _NUMBER.fullmatch(name.rpartition(".")[2]):
        return name
    try:
        return socket.inet_ntoa(socket.inet_aton(name))
    except OSError:
        return None


def _ipv6(address: IPv6Address) -> str:
    """Return an address as browsers write it; Python's spelling of mapped ones varies."""
    if address.ipv4_mapped is None:
        return str(address)
    high, low = divmod(int(address.ipv4_mapped), 1 << 16)
    return f"::ffff:{high:x}:{low:x}"


def _punycode(name: str) -> str:
    """Return the ASCII form (IDNA) of a host name. Raises UnicodeError, a ValueError."""
    import idna

    return name if name.isascii() else idna.encode(name, uts46=True).decode("ascii")


def _split(text: str) -> SplitResult | None:
    """Split a URL; None if it is malformed or contains invalid characters."""
    if any(letter <= " " or letter == "\\" for letter in text):
        return None
    try:
        return urlsplit(text)
    except ValueError:
        return None


def _is_address(text: str) -> bool:
    try:
        return bool(ip_address(text))
    except ValueError:
        return False
