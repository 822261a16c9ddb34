"""The HTTP client has the signatures of `Retriever`, and answers and changes as it does."""

import inspect
import shutil
import subprocess
import sys

import numpy as np
import pytest
from fastapi.testclient import TestClient
from tiny import QUERIES

from genir.errors import InputError
from genir.integrations.http import RemoteSearcher
from genir.retriever import Retriever
from genir.serving.app import create_app
from genir.types import Selection

METHODS = ("search", "add", "replace", "delete", "rollback", "versions", "compact", "close")


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_the_same_parameters(name):
    expected = inspect.signature(getattr(Retriever, name)).parameters
    found = inspect.signature(getattr(RemoteSearcher, name)).parameters
    assert list(found) == list(expected)
    for parameter, own in found.items():
        theirs = expected[parameter]
        assert (own.kind, own.default) == (theirs.kind, theirs.default), parameter
        if parameter != "check":  # it cannot be sent
            assert own.annotation == theirs.annotation, parameter
    assert getattr(RemoteSearcher, name).__annotations__.get("return") == getattr(
        Retriever, name
    ).__annotations__.get("return")


def test_the_client_imports_no_torch():
    code = "import sys, genir.integrations.http; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def both(tiny_folder, tmp_path):
    """A retriever, and a client of a server of the same folder."""
    folder = shutil.copytree(tiny_folder("residual"), tmp_path / "model")
    served = Retriever.load(folder, "cpu")
    with TestClient(create_app(served, loopback=True)) as http:
        yield served, RemoteSearcher("http://testserver", http=http)


def keys_of(answers):
    return [[hit.key for hit in hits] for hits in answers]


@pytest.mark.parametrize(
    "options",
    [
        {"k": [1, 4]},
        {"where": [{"verb": "copy"}, None]},
        {"where": Selection(allow=["copy-file", "move-file"])},
        {"where": Selection(where={"verb": "copy"}, deny="copy-file")},
        {"beams": 2, "k": 2},
        {"exact": True, "k": 3},
    ],
    ids=["k", "where", "allow", "deny", "beams", "exact"],
)
def test_options_of_search_reach_the_model(both, options):
    served, remote = both
    expected = served.search(QUERIES[:2], **options)
    found = remote.search(QUERIES[:2], **options)
    assert keys_of(found) == keys_of(expected)
    assert [one.proven for one in found] == [one.proven for one in expected]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": [1]}, "k: got 1 number for 2 queries"),
        ({"where": [None]}, "where: got 1 filter for 2 queries"),
        ({"where": Selection(where=[{"a": 1}, {"b": 2}])}, "a request has one filter"),
        ({"where": "verb"}, "where"),
    ],
    ids=str,
)
def test_bad_options_are_refused(both, options, message):
    with pytest.raises(InputError, match=message):
        both[1].search(QUERIES[:2], **options)


def test_documents_are_changed_as_by_the_model(both):
    served, remote = both
    assert remote.version == 0
    new = {"_id": "new", "title": "hide a volume", "text": "hide a volume", "verb": "hide"}
    assert remote.add(new, queries={"new": "conceal a drive"}) == ["new"]
    assert remote.fetch("new")["new"].text == "hide a volume"
    with pytest.raises(InputError, match="is there already"):
        remote.add([new])
    assert remote.replace([new | {"text": "show a volume"}]) == ["new"]
    assert served.documents.fetch(["new"])["new"].text == "show a volume"
    assert remote.delete(["new", "copy-file"]) == ["new", "copy-file"]
    assert [one.version for one in remote.versions()] == list(range(5))
    assert remote.versions() == served.versions()
    remote.rollback(1)
    assert remote.version == 5 and remote.fetch("copy-file")
    remote.compact()
    assert [one.kept for one in remote.versions()][-1]


def test_vectors_go_along(both):
    served, remote = both
    vector = np.ones(served.model.encoder.dimension)
    expected = served.search(None, 3, vectors=vector)
    assert keys_of(remote.search(None, 3, vectors=vector)) == keys_of(expected)
    assert remote.add({"_id": "v", "text": "x"}, vectors={"v": vector}) == ["v"]


def test_a_check_cannot_be_sent(both):
    with pytest.raises(InputError, match="check: runs in the model's process"):
        both[1].add({"_id": "v", "text": "x"}, check=lambda keys: None)
    with pytest.raises(InputError, match="check: runs in the model's process"):
        both[1].delete("copy-file", check=lambda keys: None)
