import hashlib
import json
import os

import pytest

from genir.errors import InputError
from genir.manifest import (
    check_manifest,
    refuse_other_files,
    rewritten_folder,
    sha256,
    write_manifest,
)


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
    assert (manifest["format"], manifest["documents"]) == (4, 3)
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
        b'{"format": 4, "files": 3}',
        b'{"format": 4, "files": [["weights", 5]]}',
        b'{"format": 4, "files": {"weights": 5}}',
        b'{"format": 4, "files": {"weights": {"bytes": 5}}}',
    ],
)
def test_a_damaged_manifest_is_named(content, folder):
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(InputError, match=f"^{folder / 'manifest.json'}: damaged; restore"):
        check_manifest(folder)


@pytest.mark.parametrize("name", ["extra", "inner/extra", "pytorch_model.bin", "weights.py"])
def test_a_file_that_is_not_listed_is_named(folder, name):
    (folder / name).touch()
    with pytest.raises(InputError, match=rf"^{folder / name}: not listed in manifest.json; remove"):
        check_manifest(folder)


@pytest.mark.parametrize("name", [".gitattributes", ".cache/huggingface/x", "README.md"])
def test_files_that_a_hub_adds_are_left_alone(folder, name):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("x")
    assert check_manifest(folder)["documents"] == 3


@pytest.mark.parametrize(
    "target", ["/dev/zero", "/etc/hostname", "../outside", "absent", "weights"]
)
def test_links_out_of_the_folder_are_refused(folder, target):
    (folder.parent / "outside").write_bytes(b"12345")
    (folder / "weights").unlink()
    (folder / "weights").symlink_to(target)
    with pytest.raises(InputError, match="weights: not a regular file inside the model folder"):
        check_manifest(folder)


def test_links_inside_the_folder_and_to_the_blobs_of_a_hub_are_followed(tmp_path, folder):
    snapshot = tmp_path / "hub" / "snapshots" / "revision"
    snapshot.parent.mkdir(parents=True)
    folder.rename(snapshot)
    (tmp_path / "hub" / "blobs").mkdir()
    (snapshot / "weights").rename(tmp_path / "hub" / "blobs" / "hash")
    (snapshot / "weights").symlink_to("../../blobs/hash")
    (snapshot / "empty").unlink()
    (snapshot / "inner" / "nothing").touch()
    (snapshot / "empty").symlink_to("inner/nothing")
    write_manifest(snapshot, {})
    assert set(check_manifest(snapshot)["files"]) >= {"weights", "empty", "inner/nothing"}


@pytest.mark.parametrize("name", ["/etc/hostname", "../outside", "inner/../../outside", "a" * 5000])
def test_names_outside_the_folder_are_refused(folder, name):
    path = folder / "manifest.json"
    values = json.loads(path.read_text())
    values["files"][name] = {"bytes": 1, "sha256": "0" * 64}
    path.write_text(json.dumps(values))
    with pytest.raises(
        InputError, match=rf"{path}: lists '{name[:70]}.*, which is not a file inside"
    ):
        check_manifest(folder)


def test_a_pipe_is_refused(folder):
    os.mkfifo(folder / "pipe")
    with pytest.raises(InputError, match="pipe: not a regular file"):
        check_manifest(folder)


def test_json_nested_too_deeply_is_damage(folder):
    (folder / "manifest.json").write_text('{"a":' * 100_000 + "1" + "}" * 100_000)
    with pytest.raises(InputError, match=r"manifest\.json: damaged"):
        check_manifest(folder)


def test_a_format_of_the_future_is_refused(folder):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 1}))
    with pytest.raises(
        InputError, match=r"format 1, but this genir reads 4; train the model again"
    ):
        check_manifest(folder)


def test_a_folder_that_is_not_a_model_is_refused(tmp_path, folder):
    with pytest.raises(InputError, match="nowhere: no such model folder"):
        check_manifest(tmp_path / "nowhere")
    with pytest.raises(InputError, match="weights: no such model folder"):
        check_manifest(folder / "weights")
    with pytest.raises(InputError, match=r"manifest\.json: missing, so this is not a genir model"):
        check_manifest(tmp_path)


@pytest.mark.parametrize(
    "facts",
    [
        {"version": 2**31}, {"version": -1}, {"version": "1"}, {"version": True},
        {"learned": 2**200}, {"documents": None}, {"base_url": 3}, {"versions": "abc"},
        {"versions": [1, 2]}, {"versions": [{"version": 1}]},
        {"versions": [{"version": 1, "kind": 3, "made": "", "documents": 1, "target": None}]},
    ],
)  # fmt: skip
def test_facts_of_another_type_or_size_are_damage(folder, facts):
    write_manifest(folder, facts)
    with pytest.raises(InputError, match=r"manifest\.json: damaged"):
        check_manifest(folder)


def test_a_table_of_versions_is_read(folder):
    line = {"version": 1, "kind": "add", "made": "now", "documents": 3, "target": None}
    write_manifest(folder, {"version": 2, "versions": [line, line | {"version": 2, "target": 1}]})
    assert check_manifest(folder)["version"] == 2


@pytest.mark.parametrize(
    "content",
    ['{"name": "my app"}', '{"format": 4}', '{"format": 4, "files": ["a"]}', "[]", "{", "",
     '{"manifest_version": 3, "files": {"weights": {"sha256": "0"}}}',
     '{"format": 4, "files": {"weights": 5}}'],
)  # fmt: skip
def test_a_manifest_of_another_program_makes_no_model_folder(folder, content):
    (folder / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=f"^{folder}: is not a model folder, .*another path"):
        refuse_other_files(folder)


@pytest.mark.parametrize("name", ["notes.txt", ".git/HEAD", ".notes", "README.md", "LICENSE"])
def test_a_model_folder_with_files_of_others_is_not_replaced(folder, name):
    refuse_other_files(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("precious")
    with pytest.raises(InputError, match=f"^{folder / name.partition('/')[0]}: "):
        refuse_other_files(folder)


def test_a_damaged_model_may_be_replaced(folder):
    (folder / "weights").write_bytes(b"1")
    (folder / "empty").unlink()
    refuse_other_files(folder)


def test_a_rewritten_model_folder_keeps_hidden_and_readme_files(folder):
    (folder / ".git" / "hooks").mkdir(parents=True)
    (folder / ".git" / "hooks" / "run").write_text("x")
    (folder / ".git" / "hooks" / "run").chmod(0o755)
    (folder / ".git" / "link").symlink_to("nothing")
    os.mkfifo(folder / ".git" / "pipe")
    os.mkfifo(folder / ".pipe")
    (folder / ".secret").write_text("s")
    (folder / ".secret").chmod(0o600)
    (folder / "README.md").symlink_to("../card")
    with rewritten_folder(folder) as partial:
        (partial / "weights").write_bytes(b"new")
        write_manifest(partial, {})
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    kept = {".git", ".git/hooks", ".git/hooks/run", ".git/link", ".secret", "README.md"}
    assert found == {"weights", "manifest.json", *kept}
    assert (folder / ".git" / "hooks" / "run").stat().st_mode & 0o777 == 0o755
    assert (folder / ".secret").stat().st_mode & 0o777 == 0o600
    assert os.readlink(folder / ".git" / "link") == "nothing"
    assert os.readlink(folder / "README.md") == "../card"


def test_a_model_folder_with_an_unlisted_file_is_not_written_anew(folder):
    (folder / "notes.txt").write_text("precious")
    with (
        pytest.raises(InputError, match=r"notes\.txt: not listed in manifest"),
        rewritten_folder(folder),
    ):
        pass
    assert (folder / "notes.txt").read_text() == "precious"


def test_unfinished_files_of_a_killed_process_are_not_a_users(folder):
    names = [
        ".journal-0.sqlite.4242.part",
        ".journal-0.sqlite.4242.part-wal",
        ".manifest.sig.7.part",
    ]
    for name in names:
        (folder / name).write_text("half")
    refuse_other_files(folder)
    check_manifest(folder)
    with rewritten_folder(folder) as partial:
        (partial / "new").write_text("new")
    assert sorted(path.name for path in folder.iterdir()) == ["new"]
