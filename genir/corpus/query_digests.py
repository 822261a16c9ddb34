"""Digests of train queries, used to recognise queries that a model was trained on."""

from collections.abc import Iterable
from hashlib import blake2b

DIGEST_BYTES = 8
"""Size of a digest in bytes."""


def normalise_query(text: str) -> str:
    """Return a text in lower case with single spaces, so that spellings of one query are equal."""
    return " ".join(text.lower().split())


def digests_of(texts: Iterable[str]) -> bytes:
    """Return the sorted digests of texts, ignoring case and white space."""
    return b"".join(sorted({_digest(text) for text in texts}))


def merge_digests(*digests: bytes) -> bytes:
    """Merge several sorted digest strings."""
    return b"".join(sorted(_split(b"".join(digests))))


def known_among(texts: Iterable[str], digests: bytes) -> set[str]:
    """Return the texts whose digest is in `digests`."""
    known = _split(digests)
    return {text for text in texts if _digest(text) in known}


def _split(digests: bytes) -> set[bytes]:
    return {digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES)}


def _digest(text: str) -> bytes:
    normal = normalise_query(text).encode("utf-8", "surrogatepass")
    return blake2b(normal, digest_size=DIGEST_BYTES).digest()
