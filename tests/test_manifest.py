import hashlib
import json

import pytest

from genir.errors import InputError
from genir.manifest import check_manifest, sha256, write_manifest


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "model"
    (folder / "inner").mkdir(parents=True)
    (folder / "weights").write_bytes(b"12345")
    (folder / "empty").touch()
    (folder / "inner" / "manifest.json").write_text("{}")
    write_manifest(folder, {"documents": 3})
    return folder


def test_every_file_is_recorded_with_the_facts(folder):
    manifest = check_manifest(folder)
    assert (manifest["format"], manifest["documents"]) == (1, 3)
    assert set(manifest["files"]) == {"weights", "empty", "inner/manifest.json"}
    digest = hashlib.sha256(b"12345").hexdigest()
    assert manifest["files"]["weights"] == {"bytes": 5, "sha256": digest}
    assert sha256(folder / "weights") == digest


def test_writing_again_records_the_same(folder):
    before = (folder / "manifest.json").read_bytes()
    write_manifest(folder, {"documents": 3})
    assert (folder / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("name", ["weights", "inner/manifest.json"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "missing from the model folder; restore"),
        (lambda path: path.write_bytes(b"1"), r"1 bytes instead of [25] \(truncated\?\); restore"),
        (lambda path: path.write_bytes(path.read_bytes()[::-1]), r"sha256 differs\); restore"),
    ],
)
def test_a_file_that_is_not_the_saved_one_is_named(name, damage, message, folder):
    damage(folder / name)
    with pytest.raises(InputError, match=rf"^{folder / name}: .*{message}"):
        check_manifest(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"{}",
        b"\xff",
        b'{"format": 1, "files": 3}',
        b'{"format": 1, "files": [["weights", 5]]}',
        b'{"format": 1, "files": {"weights": 5}}',
        b'{"format": 1, "files": {"weights": {"bytes": 5}}}',
    ],
)
def test_a_damaged_manifest_is_named(content, folder):
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(InputError, match=f"^{folder / 'manifest.json'}: damaged; restore"):
        check_manifest(folder)


def test_a_format_of_the_future_is_refused(folder):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
    with pytest.raises(
        InputError, match=r"format 2, but this genir reads 1; use the genir version"
    ):
        check_manifest(folder)


def test_what_is_no_model_folder_is_refused(tmp_path, folder):
    with pytest.raises(InputError, match="nowhere: no such model folder"):
        check_manifest(tmp_path / "nowhere")
    with pytest.raises(InputError, match="weights: no such model folder"):
        check_manifest(folder / "weights")
    with pytest.raises(InputError, match=r"manifest\.json: missing, so this is not a genir model"):
        check_manifest(tmp_path)
