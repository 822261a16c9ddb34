"""Files of identifiers as tab-separated values."""

import pytest

from genir.errors import InputError
from genir.identifiers.identifier_file import read_identifiers


def write(path, *identifiers):
    file = path / "ids.tsv"
    file.write_text("".join(f"d{n}\t{one}\n" for n, one in enumerate(identifiers)))
    return file


def test_token_ids_and_texts(tmp_path):
    ids = read_identifiers(write(tmp_path, "32129,32401", "5 , 6", "7"))
    assert ids == {"d0": [[32129, 32401]], "d1": [[5, 6]], "d2": [[7]]}
    texts = read_identifiers(write(tmp_path, "Anna", "1984", "Paris, Texas"))
    assert texts == {"d0": ["Anna"], "d1": ["1984"], "d2": ["Paris, Texas"]}


def test_one_odd_line_does_not_make_lists_of_token_ids_texts(tmp_path):
    file = write(tmp_path, "32129,32401", "32130;32402", "32131,32403")
    with pytest.raises(InputError, match="the identifier '32130;32402' of 'd1' is a text, but oth"):
        read_identifiers(file)
