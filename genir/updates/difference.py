"""Difference between the documents of a model and a corpus."""

from dataclasses import dataclass, field

from genir.errors import InputError

MAX_DELETED_SHARE = 0.5
"""Default limit of the share of live documents that mirroring deletes."""


@dataclass(frozen=True)
class Difference:
    """Difference between the live documents of a model and a corpus.

    Attributes:
        added: Keys of the corpus that are not in the model.
        changed: Keys of documents whose content differs.
        renamed: Key in the corpus, by key in the model, of documents with the same text.
        deleted: Keys of the model that are not in the corpus.
        unchanged: Number of equal documents.
        sources: Document of the model with the same title and text, by key of a changed or renamed
            document, which keeps its parameters.
    """

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    unchanged: int = 0
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether the documents are equal."""
        return not (self.added or self.changed or self.renamed or self.deleted)

    def refuse_deletions(self, max_deleted: float) -> None:
        """Raise InputError if a larger share of the live documents would be deleted."""
        count, total = len(self.deleted), len(self.changed) + self.unchanged
        total += count + len(self.renamed)
        if count > max_deleted * total:
            raise InputError(
                f"sync: {count:,} of {total:,} documents of the model are not in the corpus and "
                f"would be deleted, more than {max_deleted:.0%}; check the folder, or raise the "
                "limit with --max-deleted (max_deleted in Python)"
            )
