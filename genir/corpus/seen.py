"""Which queries a model was trained on: texts compared by their plain form, kept as digests."""

from collections.abc import Iterable
from hashlib import blake2b

SIZE = 8
"""Bytes of a digest."""


def plain(text: str) -> str:
    """Return a text in lower case, with single spaces: equal for spellings of one query."""
    return " ".join(text.lower().split())


def digests_of(texts: Iterable[str]) -> bytes:
    """Return the digests of texts in ascending order; case and white space do not count."""
    return b"".join(sorted({_digest(text) for text in texts}))


def merged(*digests: bytes) -> bytes:
    """Return the digests of several, in ascending order."""
    joined = b"".join(digests)
    return b"".join(sorted({joined[start : start + SIZE] for start in range(0, len(joined), SIZE)}))


def seen_among(texts: Iterable[str], digests: bytes) -> set[str]:
    """Return the texts whose digests are there."""
    known = {digests[start : start + SIZE] for start in range(0, len(digests), SIZE)}
    return {text for text in texts if _digest(text) in known}


def _digest(text: str) -> bytes:
    return blake2b(plain(text).encode("utf-8", "surrogatepass"), digest_size=SIZE).digest()
