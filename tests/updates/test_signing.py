"""The signature of a model folder that changes, on the command line."""

import json

import pytest
from changing import make_document
from test_verbs import genir
from typer.testing import CliRunner

from genir.cli import app
from genir.errors import InputError
from genir.retriever import Retriever
from genir.signatures import make_keys, read_private_key, read_public_keys
from genir.updates.backup import back_up, recover
from genir.updates.signing import changes_since, sign, verify


@pytest.fixture
def key(tmp_path):
    make_keys(tmp_path / "key")
    return tmp_path / "key"


@pytest.fixture
def trusted(key):
    return read_public_keys(key.with_name("key.pub"))


def test_keys_signatures_and_their_check_on_the_command_line(folder, tmp_path):
    key = json.loads(genir("keygen", tmp_path / "own", "--json"))["key"]
    assert genir("sign", folder, "--key", tmp_path / "own") == f"{folder}: signed by key {key}\n"
    report = json.loads(genir("verify", folder, "--key", tmp_path / "own.pub", "--json"))
    assert report == {"folder": str(folder), "key": key}
    genir("keygen", tmp_path / "foreign")
    done = CliRunner().invoke(app, ["verify", str(folder), "--key", str(tmp_path / "foreign.pub")])
    assert isinstance(done.exception, InputError) and "trusted key" in str(done.exception)


def test_changes_after_the_signature_are_named(folder, key, trusted):
    signed_by = sign(folder, read_private_key(key))
    retriever = Retriever.load(folder, "cpu")
    assert changes_since(folder) == 0 and verify(folder, trusted) == signed_by
    retriever.add([make_document("a")])
    retriever.delete(["copy-file"])
    assert changes_since(folder) == 2
    for work in (lambda: verify(folder, trusted), lambda: sign(folder, read_private_key(key))):
        with pytest.raises(
            InputError, match=r"has 2 changes that a signature does not cover; run "
        ):
            work()
    Retriever.load(folder, "cpu").compact()
    with pytest.raises(InputError, match="not signed"):
        verify(folder, trusted)
    assert sign(folder, read_private_key(key)) == verify(folder, trusted)


def test_a_file_altered_after_the_signature_is_named(folder, key, trusted):
    sign(folder, read_private_key(key))
    path = folder / "recipe.toml"
    path.write_text(path.read_text().replace("seed = 0", "seed = 1") + "#")
    with pytest.raises(InputError, match=r"recipe\.toml: \d+ bytes instead of"):
        verify(folder, trusted)


def test_a_backup_keeps_the_signature(folder, key, trusted, tmp_path):
    signed_by = sign(folder, read_private_key(key))
    back_up(folder, tmp_path / "copy")
    assert verify(tmp_path / "copy", trusted) == signed_by


def test_a_recovered_folder_keeps_the_signature_of_its_base(folder, key, trusted):
    signed_by = sign(folder, read_private_key(key))
    retriever = Retriever.load(folder, "cpu")
    retriever.add([make_document("a")])
    retriever.close()
    (folder / "journal-0.sqlite").write_bytes(b"damaged")
    recover(folder)
    assert verify(folder, trusted) == signed_by
