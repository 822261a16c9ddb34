"""Bounds of a folder's journal, read without loading the weights."""

from functools import partial
from pathlib import Path

from genir.identifiers.table import IdentifierTable
from genir.models.checkpoint_io import read_row_width, read_scheme
from genir.updates.changes import Shape


def journal_validator(folder: Path) -> partial[None]:
    """Return `Shape.validate` bound to the model in a folder.

    Raises:
        InputError: the identifiers or weights cannot be read.
    """
    scheme = read_scheme(folder)
    table = IdentifierTable.load(folder / "identifiers")
    sizes = scheme.level_sizes()
    width = None if scheme.needs_tokenizer or len(sizes) > 1 else read_row_width(folder)
    return partial(Shape(sizes, width, table.spans is not None).validate, known=table)
