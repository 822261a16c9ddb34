"""Model folders as a stranger may craft them: one change each, then signed anew."""

import json
import os
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from genir.manifest import check_manifest, write_manifest
from genir.updates.base_folder import JournalBase
from genir.updates.changes import digest
from genir.updates.journal import Journal

JSON = ["model.json", "config.json", "tokenizer.json", "tokenizer_config.json",
        "identifiers/scheme.json", "manifest.json"]  # fmt: skip
ODD_VALUES = [None, -1, 0, 1.5, 10**30, float("nan"), "x", "", [], {}, [[]], True,
              {"a": {"b": []}}, "../../etc/passwd", "\u0000", [1] * 100, 2**31]  # fmt: skip
RECIPE_LINES = [
    '[identifiers]\nscheme = "absent"',
    "[training]\nsource_length = 1000000000",
    "[decoding]\nbeams = 1000000000000",
    "[decoding]\nmax_nodes = -1",
    "x = [",
    "[passage_stage]\nname = 3",
    '[model]\nkind = "seq2seq"',
    '[decoding]\nstrategy = "text"',
    '[model]\nencoder = "someone/else"',
]


def sign(folder):
    """Write a manifest that agrees with the files, keeping the facts."""
    facts = json.loads((folder / "manifest.json").read_text())
    write_manifest(folder, {k: v for k, v in facts.items() if k not in ("format", "files")})


# --- JSON and TOML ---------------------------------------------------------------------------


def change_json(folder, rng):
    """Replace or remove a value somewhere in a JSON file."""
    path = folder / rng.choice([name for name in JSON if (folder / name).exists()])
    values = json.loads(path.read_text())
    node, key = values, None
    for _ in range(rng.randint(1, 4)):
        if isinstance(node, dict) and node:
            parent, key = node, rng.choice(sorted(node))
        elif isinstance(node, list) and node:
            parent, key = node, rng.randrange(len(node))
        else:
            break
        node = parent[key]
    if rng.random() < 0.3:
        del parent[key]
    else:
        parent[key] = rng.choice(ODD_VALUES)
    path.write_text(json.dumps(values))
    if path.name != "manifest.json":
        sign(folder)


def nest_json(folder, rng):
    path = folder / rng.choice(["model.json", "identifiers/scheme.json", "manifest.json"])
    depth = 100_000
    path.write_text('{"a":' * depth + "1" + "}" * depth)
    if path.name != "manifest.json":
        sign(folder)


def not_json(folder, rng):
    path = folder / rng.choice(JSON)
    path.write_bytes(rng.choice([b"", b"\xff\xfe\x00", b"null", b"[]", b"3", b'{"a": 1', b'"x"']))
    if path.name != "manifest.json":
        sign(folder)


def change_recipe(folder, rng):
    path = folder / "recipe.toml"
    line = rng.choice(RECIPE_LINES)
    section = line.partition("\n")[0]
    text = path.read_text()
    if section in text:
        text = text.replace(section, line, 1)
    else:
        text += "\n" + line + "\n"
    path.write_text(text)
    sign(folder)


def remote_code(folder, rng):
    path = folder / rng.choice(["config.json", "tokenizer_config.json"])
    values = json.loads(path.read_text()) if path.exists() else {}
    name = rng.choice(["modeling.Evil", "someone/else--modeling.Evil"])
    values["auto_map"] = {"AutoModel": name, "AutoConfig": name, "AutoTokenizer": [name, name]}
    values.pop(rng.choice(["model_type", "tokenizer_class"]), None)
    path.write_text(json.dumps(values))
    (folder / "modeling.py").write_text("open('/tmp/genir-evil', 'w').close()\n")
    sign(folder)


# --- arrays ----------------------------------------------------------------------------------


def change_array(folder, rng):
    """Change the shape, type or values of one array of a safetensors file."""
    path = rng.choice(sorted(folder.rglob("*.safetensors")))
    arrays = load_file(path)
    name = rng.choice(sorted(arrays))
    numbers = np.random.default_rng(rng.randrange(2**32))
    arrays[name] = rng.choice(
        [
            lambda a: a[: len(a) // 2] if a.ndim else a,
            lambda a: np.concatenate([a, a]) if a.ndim else a,
            lambda a: a.reshape(-1),
            lambda a: a[None],
            lambda a: a.astype(np.float64),
            lambda a: a.astype(np.int64),
            lambda a: np.zeros((0, *a.shape[1:]), a.dtype),
            lambda a: np.full_like(a, 1) * -7 if a.dtype != bool else ~a,
            lambda a: numbers.permutation(a.ravel()).reshape(a.shape),
            lambda a: np.full(a.shape, np.nan, np.float32),
            lambda a: (a.astype(np.int64) + 2**30).astype(np.int32),
        ]
    )(arrays[name])
    if rng.random() < 0.15:
        del arrays[name]
    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, path)
    sign(folder)


def flip_bytes(folder, rng):
    """Flip bytes of any file: the parsers get them, since the manifest is signed anew."""
    names = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    path = rng.choice(names)
    flip(path, rng, rng.choice([1, 3, 30]))
    if path.name != "manifest.json":
        sign(folder)


def flip(path, rng, count):
    data = bytearray(path.read_bytes())
    head = rng.random() < 0.5  # headers are the parsers' part
    for _ in range(count):
        data[rng.randrange(min(len(data), 400) if head else len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def flip_keys(folder, rng):
    flip(folder / "identifiers" / "keys.marisa", rng, rng.choice([1, 2, 5, 50]))
    sign(folder)


def cut_file(folder, rng):
    path = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * rng.random())])
    if path.name != "manifest.json":
        sign(folder)


# --- the document store ----------------------------------------------------------------------

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x"
STORE = [
    "DELETE FROM documents WHERE number % 2",
    "DELETE FROM documents",
    "UPDATE documents SET key = 'other' || number",
    "UPDATE documents SET key = x'00ff', text = x'00ff'",
    "UPDATE documents SET metadata = '[1'",
    "UPDATE documents SET metadata = '[]'",
    'UPDATE documents SET links = \'[{"start": "x"}]\'',
    "UPDATE documents SET links = '3'",
    "UPDATE documents SET number = number + 5000000000",
    "UPDATE documents SET number = number - 7",
    "DROP TABLE fields",
    "DROP TABLE documents",
    "INSERT INTO fields VALUES ('x', 1, 5000000000), ('x', 1, -5)",
    f"DROP TABLE documents; CREATE VIEW documents AS {ENDLESS} AS number, 'k' AS key, '' AS title,"
    " 't' AS text, '' AS url, '' AS links, '{}' AS metadata FROM n",
    f"DROP TABLE fields; CREATE VIEW fields AS {ENDLESS} AS number, 'f' AS field, 1 AS value"
    " FROM n",
    "PRAGMA user_version = 77",
    "CREATE TRIGGER t AFTER INSERT ON documents BEGIN DELETE FROM documents; END",
]


def change_store(folder, rng):
    with closing(sqlite3.connect(folder / "documents.sqlite")) as connection, connection:
        try:
            connection.executescript(rng.choice(STORE))
        except sqlite3.Error:
            connection.execute("UPDATE documents SET text = ''")
    sign(folder)


# --- the journal -----------------------------------------------------------------------------

GOOD_ENTRY = ("x", 1, '{"_id": "x", "title": "", "text": "t"}', "[[1, 2, 3]]", b"", b"", 0)
ODD_ENTRIES = [
    ("absent-key", 0, "", "", b"", b"", 0),
    ("x", 1, "[]", "[]", b"", b"", 0),
    ("x", 1, '{"_id": "x"}', "[[1]]", b"", b"", 0),
    ("x", 1, '{"_id": "y", "text": "t"}', "[[1]]", b"", b"", 0),
    ("x", 1, GOOD_ENTRY[2], "[[-5, 2]]", b"", b"", 0),
    ("x", 1, GOOD_ENTRY[2], "[[99999999]]", b"", b"", 0),
    ("x", 1, GOOD_ENTRY[2], "[[4294967296]]", b"", b"", 0),
    ("x", 1, GOOD_ENTRY[2], "[]", b"", b"", 0),
    ("x", 1, GOOD_ENTRY[2], "3", b"", b"", 0),
    ("x", 1, GOOD_ENTRY[2], '["ab"]', b"", b"", 0),
    ("x", 1, GOOD_ENTRY[2], "[[1, 2]]", b"\x00" * 8, b"\x00" * 6, 0),
    ("x", 1, GOOD_ENTRY[2], "[[1, 2]]", b"\x00" * 7, b"", 0),
    ("x", 1, GOOD_ENTRY[2], "[[1, 2]]", b"", b"\x00\x00", -5),
    ("x", 1, GOOD_ENTRY[2], "[[1, 2]]", b"", b"", 2**40),
    GOOD_ENTRY,
]


def craft_journal(folder, rng):
    """Write a journal whose digests agree, with one entry or rollback that makes no sense."""
    base = JournalBase.open(folder, check_manifest(folder))
    target = rng.choice([None, None, None, base.version + 1, base.version + 5, -3, base.version])
    entry = rng.choice(ODD_ENTRIES)
    journal = Journal(base)
    with journal.transaction():
        pass
    head = (base.version + 1, rng.choice(["add", "delete", "odd", "rollback"]), "now", target)
    rows = [entry] if target is None else []
    with closing(sqlite3.connect(base.path)) as connection, connection:
        signed = digest(base.digest, head, rows)
        connection.execute("INSERT INTO changes VALUES (?, ?, ?, ?, ?)", (*head, signed))
        for place, row in enumerate(rows):
            values = (base.version + 1, place, *row)
            connection.execute(f"INSERT INTO entries VALUES ({', '.join('?' * 9)})", values)
        connection.execute("UPDATE head SET version = ?", (base.version + 1,))
    journal.close()


# --- the folder ------------------------------------------------------------------------------


def sign_less(folder, rng):
    """List fewer files in the manifest than there are, or none."""
    path = folder / "manifest.json"
    values = json.loads(path.read_text())
    if rng.random() < 0.5:
        values["files"] = {}
    else:
        del values["files"][rng.choice(sorted(values["files"]))]
    path.write_text(json.dumps(values))


def sign_elsewhere(folder, rng):
    """Name files outside the folder in the manifest."""
    path = folder / "manifest.json"
    values = json.loads(path.read_text())
    for name in rng.choice([["../outside"], ["/etc/hostname"], ["a/../../outside"], [""], ["."]]):
        values["files"][name] = {"bytes": 1, "sha256": "0" * 64}
    path.write_text(json.dumps(values))


def link_file(folder, rng):
    """Have a file of the folder be a symbolic link to somewhere else."""
    name = rng.choice(["metrics.json", "training.png", "MODEL_CARD.md", "recipe.toml",
                       "documents.sqlite", "config.json"])  # fmt: skip
    path = folder / name
    outside = folder.with_name(f"{folder.name}-outside")
    outside.write_bytes(path.read_bytes() if path.exists() else b"{}")
    path.unlink(missing_ok=True)
    path.symlink_to(rng.choice([outside, Path("/etc/hostname"), Path("/dev/zero")]))
    if path.resolve() != Path("/dev/zero"):
        sign(folder)


def add_pipe(folder, rng):
    """Put a pipe where a file is read, or beside the files."""
    path = folder / rng.choice(["metrics.json", "extra", "guards.safetensors", "recipe.toml"])
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def extra_file(folder, rng):
    name = rng.choice(
        [
            "pytorch_model.bin",
            "model.pkl",
            "passage_stage/recipe.toml",
            "adapter_model.bin",
            "sitecustomize.py",
        ]
    )
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"cos\nsystem\n(S'touch /tmp/genir-evil'\ntR.")
    if rng.random() < 0.5:
        sign(folder)


STAGE = '\n[passage_stage]\n[[passage_stage.tasks]]\ntask = "queries"\n'


def first_stage_elsewhere(folder, rng):
    """Name a first stage whose folder is not there, or is a name on the hub."""
    path = folder / "recipe.toml"
    path.write_text(
        path.read_text() + '\n[passage_stage]\n[[passage_stage.tasks]]\ntask = "queries"\n'
    )
    if rng.random() < 0.5:
        (folder / "passage_stage").mkdir()
    sign(folder)


CRAFTS = (change_json, change_json, nest_json, not_json, change_recipe, remote_code, change_array,
          change_array, change_array, flip_bytes, flip_keys, flip_keys, cut_file, change_store,
          change_store, craft_journal, craft_journal, sign_less, sign_elsewhere, link_file,
          add_pipe, extra_file, first_stage_elsewhere)  # fmt: skip


def craft(source, target, number):
    """Copy a model folder and change it, alike for one number; return the name of the change."""
    rng = random.Random(number)
    shutil.copytree(source, target)
    make = CRAFTS[number % len(CRAFTS)]
    make(target, rng)
    return make.__name__
