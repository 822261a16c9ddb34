"""Heads for codes by the name that `[model] head` gives."""

from genir.models.code_heads import CodeHead, InnerProductHead, TiedHead
from genir.models.pawa_head import PawaHead

HEADS: dict[str, type[CodeHead]] = {
    head.name: head for head in (TiedHead, InnerProductHead, PawaHead)
}
