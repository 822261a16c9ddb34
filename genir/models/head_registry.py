"""Heads for codes by the name that `[model] head` gives."""

from genir.errors import InputError
from genir.identifiers.registry import SCHEMES
from genir.models.code_heads import CodeHead, InnerProductHead, TiedHead
from genir.models.pawa_head import PawaHead

HEADS: dict[str, type[CodeHead]] = {
    head.name: head for head in (TiedHead, InnerProductHead, PawaHead)
}


def check_head(head: str, scheme: str) -> None:
    """Raise InputError for a head that does not fit the identifiers."""
    kind = SCHEMES.find(scheme)
    if head != TiedHead.name and kind.needs_tokenizer:
        raise InputError(
            f"[model] head = {head!r}: identifiers of the scheme {scheme!r} are tokens of the "
            "vocabulary, which have no head; remove it"
        )
    if HEADS[head].needs_codebooks and not hasattr(kind, "full_codebooks"):
        raise InputError(
            f"[model] head = {head!r}: the scheme {scheme!r} has no codebooks; take 'residual' or "
            "'product', or head = 'tied'"
        )
