"""Titles as identifiers (GENRE, arXiv:2010.00904)."""

from typing import ClassVar

from genir.errors import InputError
from genir.identifiers.text import TextScheme
from genir.types import Document


class Title(TextScheme):
    """Tokens of the title."""

    name: ClassVar[str] = "title"
    concatenable: ClassVar[bool] = True

    def text(self, document: Document) -> str:
        """Return the title, with single spaces."""
        return require_title(document, self.name)


def require_title(document: Document, scheme: str) -> str:
    """Return a document's title with single spaces. Raises InputError if it is empty."""
    title = " ".join(document.title.split())
    if not title:
        raise InputError(
            f"document {document.key!r} has no title, which scheme {scheme!r} needs; add one, or "
            "use another scheme"
        )
    return title
