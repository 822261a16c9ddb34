"""A corpus small enough to work out by hand."""

import pytest

from genir.identifiers.table import IdentifierTable
from genir.types import Document

TAR = Document(
    "tar",
    "Archiving  utility.\n\nCreate an archive: `tar cf x.tar a b`\nList its files",
    title=" tar\t1 ",
)
SED = Document(
    "sed", "Edit text in a script, e.g. replace words. See also: awk. Fast!", title="sed"
)
BARE = Document("bare", "  \n ")
CORPUS = (TAR, SED, BARE)


@pytest.fixture
def corpus():
    return CORPUS


@pytest.fixture
def table():
    """`sed` has two identifiers."""
    keys = [document.key for document in CORPUS]
    return IdentifierTable.build([[(0, 1)], [(1, 0), (1, 1)], [(2, 0)]], keys)


@pytest.fixture
def queries():
    return {"tar": ["pack  files", " "], "sed": ["swap words", "edit a stream", "pack files"]}
