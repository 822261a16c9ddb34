"""Digests of pre-trained models: a path without a folder is never asked for on the hub."""

import pytest

from genir.errors import InputError
from genir.models.digests import weights_digest


@pytest.mark.parametrize("name", ["./absent", "/not/there", "~/absent", "a/b/c", " "])
def test_a_path_without_a_folder_is_refused_by_name(name, offline):
    with pytest.raises(InputError, match=r"there is no such folder|it is empty"):
        weights_digest(name)


def test_a_changed_file_changes_the_digest(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    before = weights_digest(str(tmp_path))
    (tmp_path / ".hidden").write_text("x")
    assert weights_digest(str(tmp_path)) == before
    (tmp_path / "config.json").write_text("[]")
    assert weights_digest(str(tmp_path)) != before
