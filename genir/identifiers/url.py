"""URLs as identifiers (TOME, arXiv:2305.11161; Ultron, arXiv:2208.09257)."""

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, ClassVar, Literal, Self
from urllib.parse import SplitResult, unquote, urlsplit

from genir.config import StrictModel
from genir.errors import InputError
from genir.identifiers.base import Vectors
from genir.identifiers.serialization import SchemeFiles
from genir.identifiers.text import TextOptions, TextScheme
from genir.identifiers.title import require_title
from genir.types import Document, Identifier

SEPARATORS = re.compile(r"[\s/\-_.#?=&:+,;~]+")
SPACED = re.compile(r"\s*([/\-_.#?=&:+,;~%])\s*")


class UrlOptions(TextOptions):
    """Part of the URL, and its order.

    form: the whole "url", the "path" only, or "title-domain" (Ultron: title, then domain).
    order: "reversed" puts the last component of the path first (TOME's reversed URLs).
    strip: drop `https://`, `www.` and the leading folders that all URLs of the corpus share.
    words: replace separators by spaces, so that the tokenizer sees words.
    """

    form: Literal["url", "path", "title-domain"] = "url"
    order: Literal["forward", "reversed"] = "forward"
    strip: bool = True
    words: bool = False


class Url(TextScheme):
    """Tokens of the URL. `prefix`: fitted prefix that `strip` drops."""

    name: ClassVar[str] = "url"
    concatenable: ClassVar[bool] = True
    Options: ClassVar[type[StrictModel]] = UrlOptions
    options: UrlOptions
    prefix: str = ""

    def fit(self, corpus: Sequence[Document], vectors: Vectors | None = None) -> Self:
        """Find the leading folders that all URLs share."""
        super().fit(corpus, vectors)
        if self.options.strip and self.options.form != "title-domain":
            self.prefix = shared_folders([self._address(document) for document in corpus])
        return self

    def text(self, document: Document) -> str:
        """Return the URL in the form and order of the options."""
        parts, joint = self._parts(document)
        text = joint.join(reversed(parts) if self.options.order == "reversed" else parts)
        if self.options.words:
            text = SEPARATORS.sub(" ", unquote(text)).strip()
        return text

    def _parts(self, document: Document) -> tuple[list[str], str]:
        if self.options.form == "title-domain":
            title = require_title(document, self.name)
            return [title, domain(split_url(document))], " "
        address = self._address(document)
        rest = address.removeprefix(self.prefix)
        rest = rest if rest.strip("/") else address
        if self.options.order == "forward":
            return [rest], "/"
        return [part for part in re.split(r"[/?#]+", rest) if part], "/"

    def _address(self, document: Document) -> str:
        """Return the URL or its path, without `https://www.` if `strip`."""
        url = split_url(document)
        path = url._replace(scheme="", netloc="").geturl()
        if self.options.form == "path":
            return path if path.strip("/") else domain(url)
        return f"{domain(url)}{path}" if self.options.strip else document.url.strip()

    def to_text(self, identifier: Identifier) -> str:
        """Return the URL, without spaces that some tokenizers insert around separators."""
        text = super().to_text(identifier)
        return text if self.options.form == "title-domain" else SPACED.sub(r"\1", text)

    def fitted(self) -> dict[str, Any]:
        """Return the prefix, too."""
        return super().fitted() | {"prefix": self.prefix}

    def restore(self, saved: SchemeFiles) -> None:
        """Set the prefix, too."""
        super().restore(saved)
        self.prefix = str(saved.fact("prefix"))


def split_url(document: Document) -> SplitResult:
    """Split a document's URL, with or without `https://`.

    Raises:
        InputError: The URL is missing or malformed.
    """
    url = document.url.strip()
    if not url:
        raise InputError(
            f"document {document.key!r} has no URL, which scheme 'url' needs; add one, or use "
            "another scheme"
        )
    try:
        return urlsplit(url if "://" in url else f"//{url}")
    except ValueError as error:
        raise InputError(
            f"document {document.key!r}: bad URL {url!r} ({error}); correct it"
        ) from None


def shared_folders(addresses: Sequence[str]) -> str:
    """Return the leading folders that all addresses share, such as `docs.python.org/3/`."""
    low, high = (
        address.rstrip("/").split("/")[:-1] for address in (min(addresses), max(addresses))
    )
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(low, high, strict=False))
    return "".join(f"{folder}/" for folder, _ in pairs)


def domain(url: SplitResult) -> str:
    """Return the host and port, without `www.`."""
    return url.netloc.removeprefix("www.")
