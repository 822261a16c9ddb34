import errno
import json
import os
import resource
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import set_index
from transformers import AutoTokenizer

from genir.config import Recipe
from genir.corpus.readers import (
    read_corpus,
    read_qrels,
    read_queries,
    read_train_queries,
)
from genir.corpus.store import DocumentStore
from genir.decoding.row_mask import RowMask
from genir.errors import InputError
from genir.identifiers.table import IdentifierTable
from genir.manifest import write_manifest
from genir.models.tokenization import encode_texts, pad_batch
from genir.retriever import Retriever
from genir.training.build import build_retriever
from genir.types import Selection
from genir.updates.updates import Updates

SCHEMES = {
    "atomic": {},
    "residual": {"levels": 2, "codes": 8},
    "product": {"levels": 4, "codes": 8},
    "hierarchical": {"branches": 3, "leaf": 5},
    "url": {},
    "title": {},
}
SCRATCH = {"kind": "seq2seq", "source": "scratch", "vocabulary_size": 400, "width": 16} | {
    "heads": 2,
    "layers": 1,
    "feedforward": 32,
    "dropout": 0.0,
}
QUERIES = ["clone a text", "how do i monitor a drive?", "erase", "", "☃"]


@pytest.fixture(scope="module")
def assembled(tiny_encoder, tiny_corpus, tmp_path_factory):
    """Assemble a scheme's model on the tiny corpus, with the given `[decoding]`."""
    path = tmp_path_factory.mktemp("store") / "documents.sqlite"
    documents = DocumentStore.create(path, read_corpus(tiny_corpus))
    queries = read_train_queries(
        tiny_corpus / "queries.jsonl", tiny_corpus / "qrels" / "train.tsv", set(documents.keys())
    )

    def assembled(scheme, **decoding):
        words = 8 if scheme == "atomic" else 0
        bridge = {"kind": "encoder-head", "encoder": str(tiny_encoder), "word_set_size": words}
        recipe = {
            "name": "tiny",
            "identifiers": {"scheme": scheme} | SCHEMES[scheme],
            "tasks": [{"task": "queries"}],
            "model": SCRATCH if scheme in ("url", "title") else bridge,
            "training": {"precision": "fp32"},
            "decoding": {"beams": 4} | decoding,
        }
        torch.manual_seed(0)
        retriever = build_retriever(Recipe.model_validate(recipe), documents, queries, None)
        retriever.model.eval()
        return retriever

    yield assembled
    documents.close()


@pytest.fixture(scope="module", params=SCHEMES)
def retriever(request, assembled):
    return assembled(request.param)


@pytest.fixture(scope="module")
def atomic(assembled):
    return assembled("atomic")


def check_hits(retriever, hits, k, matching):
    """Check the decoding contract for one query's hits; `matching`: keys that pass the filter."""
    keys = [hit.key for hit in hits]
    assert len(set(keys)) == len(keys) == min(k, len(matching))
    assert set(keys) <= set(matching)
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    assert [(-hit.score, hit.key) for hit in hits] == sorted((-h.score, h.key) for h in hits)
    for hit in hits:
        document = retriever.documents.find(hit.key)
        assert (hit.title, hit.url) == (document.title, document.url)
        assert hit.snippet
        own = retriever.table.identifiers_of(retriever.table.number(hit.key))
        assert hit.identifier in [
            retriever.decoder.stage.scheme.to_text(identifier) for identifier in own
        ]
        assert np.isfinite(hit.score) and hit.score <= 1e-6


# --- answering ---------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 7, 40, 1000])
def test_hits_keep_the_contract(retriever, k):
    for hits in retriever.search(QUERIES, k):
        check_hits(retriever, hits, k, retriever.table.keys)


@pytest.mark.parametrize(
    ("where", "passes"),
    [
        ({"section": 2}, lambda d: d["section"] == 2),
        ({"verb": ["copy", "watch"]}, lambda d: d["verb"] in ("copy", "watch")),
        ({"tags": "disk"}, lambda d: "disk" in d["tags"]),
        ({"tags": "disk", "verb": "copy"}, lambda d: (d["verb"], d["section"]) == ("copy", 2)),
        ({"verb": "fly"}, lambda d: False),
        ({"verb": []}, lambda d: False),
        ({}, lambda d: True),
    ],
)
@pytest.mark.parametrize("k", [3, 50])
def test_every_hit_passes_the_filter(retriever, where, passes, k):
    matching = [d.key for d in retriever.documents if passes(d.metadata)]
    for hits in retriever.search(QUERIES[:2], k, where):
        check_hits(retriever, hits, k, matching)


@pytest.mark.parametrize("k", [3, 50])
def test_every_query_may_have_a_filter_of_its_own(retriever, k):
    filters = [{"section": 2}, None, {"verb": "fly"}, {"section": 2}, {"tags": "disk"}, {}] * 6
    queries = [QUERIES[n % 4] for n in range(len(filters))]  # more than one decoding batch
    found = retriever.search(queries, k, filters)
    for query, where, hits in list(zip(queries, filters, found, strict=True))[::5]:
        (alone,) = retriever.search([query], k, where)
        assert [hit.key for hit in hits] == [hit.key for hit in alone]
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in alone], abs=1e-4)


def test_a_filter_compiled_ahead_is_not_compiled_again(assembled, monkeypatch):
    retriever, where = assembled("atomic"), Selection(({"section": 2},))
    expected = assembled("atomic").search(["erase"], 40, where)
    with ThreadPoolExecutor(1) as other:
        other.submit(retriever.prepare, where).result()
    monkeypatch.setattr(DocumentStore, "matching", None)  # fails if it is called
    assert retriever.search(["erase"], 40, where) == expected
    set_index(retriever, table=retriever.table.with_live([3], False))  # a new version
    with pytest.raises(TypeError):
        retriever.search(["erase"], 40, where)


def test_a_search_walks_no_modules_where_the_mode_is_right(retriever, monkeypatch):
    before = retriever.search(QUERIES, 5)
    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.Module, "train", None)  # fails if it is called
        assert retriever.search(QUERIES, 5) == before
    retriever.model.train()
    assert retriever.search(QUERIES, 5) == before
    assert all(part.training for part in retriever.model.modules())
    retriever.model.eval()


def test_filters_are_one_for_each_query_or_one_for_all(atomic):
    with pytest.raises(InputError, match=r"2 filters for 1 query; give one \(or None\) for each"):
        atomic.search(["copy"], 3, [None, {"section": 2}])
    assert atomic.search([], 3, []) == []


def test_keys_may_be_allowed_or_denied(retriever):
    table, (first, second, third) = retriever.table, retriever.table.keys[:3]
    retriever = retriever.with_recipe(retriever.recipe)

    def passing(*where, **keys):
        (mask,) = retriever.row_mask(Selection(where, **keys)).masks
        return {retriever.table.key_of(row) for row in np.flatnonzero(mask)}

    assert retriever.row_mask().masks[0] is table.live
    assert passing(allow=(frozenset([first, second, "absent-key"]),)) == {first, second}
    assert passing(allow=(frozenset(),)) == set()
    assert passing(deny=frozenset([first, "absent-key"])) == set(table.keys) - {first}
    allowed = (frozenset([first, second]),)
    assert passing(allow=allowed, deny=frozenset([second, third])) == {first}
    two = {key for key in table.keys if retriever.documents.find(key).metadata["section"] == 2}
    assert passing({"section": 2}, deny=frozenset([min(two)])) == two - {min(two)}
    set_index(retriever, table=table.with_live([table.number(first)], False))
    assert passing(allow=(frozenset([first, third]),)) == {third}


def test_deleted_documents_are_never_found(retriever):
    retriever = retriever.with_recipe(retriever.recipe)  # does not change the shared one
    live = np.random.default_rng(0).random(len(retriever.table)) < 0.3
    gone = retriever.table.documents[~live].tolist()
    set_index(retriever, table=retriever.table.with_live(gone, False))
    alive = [retriever.table.key_of(row) for row in np.flatnonzero(retriever.table.live)]
    assert 0 < len(alive) < 40
    for hits in retriever.search(QUERIES[:2], 40):
        check_hits(retriever, hits, 40, alive)
    matching = [key for key in alive if key.endswith("-disk")]
    for hits in retriever.search(QUERIES[:2], 5, {"tags": "disk"}):
        check_hits(retriever, hits, 5, matching)


def test_a_batch_answers_as_its_queries_alone(retriever):
    queries = [f"{QUERIES[n % 3]} {n}" for n in range(35)]  # more than one decoding batch
    together = retriever.search(queries, 5)
    for query, hits in list(zip(queries, together, strict=True))[::8]:
        (alone,) = retriever.search([query], 5)
        assert [hit.key for hit in alone] == [hit.key for hit in hits]
        assert [hit.score for hit in alone] == pytest.approx([hit.score for hit in hits], abs=1e-4)


def test_all_beams_give_the_scores_of_fewer_ones_or_better(retriever):
    few, all_ = (retriever.search(QUERIES, 5, beams=beams) for beams in (1, 1000))
    for some, best in zip(few, all_, strict=True):
        assert all(s.score <= b.score + 1e-5 for s, b in zip(some, best, strict=True))


def test_no_queries_give_no_answers(retriever):
    assert retriever.search([], 3) == []


def test_asking_is_safe_while_training(retriever):
    expected = retriever.search(QUERIES, 3)
    retriever.model.train()
    assert retriever.search(QUERIES, 3) == expected
    assert retriever.model.training
    retriever.model.eval()


@pytest.mark.parametrize("k", [0, -1])
def test_zero_hits_cannot_be_requested(atomic, k):
    with pytest.raises(InputError, match=f"k = {k}: give at least 1"):
        atomic.search(["copy"], k)


def test_an_unknown_field_is_answered_with_the_nearest(atomic):
    with pytest.raises(InputError, match=r"field 'sektion'; did you mean 'section'\?"):
        atomic.search(["copy"], 3, {"sektion": 2})


def test_atomic_hits_equal_a_softmax_over_all(atomic):
    with torch.no_grad():
        rows, words = atomic.model.head.row_vectors(), atomic.model.words
        asked = atomic.model.word_inputs(QUERIES)
        weight = float(atomic.model.word_weight)
        weights = weight * words(asked) / (asked > 0).sum(dim=1, keepdim=True).clamp(min=1).sqrt()
        word_scores = weights[:, atomic.model.head.codes[:, 0].long()]
        scores = (query_vectors(atomic.model) @ rows.T + word_scores).log_softmax(dim=1)
        assert (word_scores > 0).any(dim=1).tolist() == [True, True, True, False, False]
    for found, row in zip(atomic.search(QUERIES, 6), scores.tolist(), strict=True):
        best = sorted(zip(row, map(atomic.table.key_of, range(40)), strict=True), reverse=True)[:6]
        assert [hit.key for hit in found] == [key for _, key in best]
        assert [hit.score for hit in found] == pytest.approx([s for s, _ in best], abs=1e-4)


@pytest.mark.parametrize(
    ("aggregate", "join"), [("max", np.max), ("logsumexp", np.logaddexp.reduce)]
)
def test_several_identifiers_of_a_document_take_no_one_s_place(assembled, aggregate, join):
    retriever, rng = assembled("residual", aggregate=aggregate), np.random.default_rng(0)
    keys = retriever.table.keys[:20]
    # Three codes per document: two levels of 8 codes and the tie-breaker.
    codes = [[(*rng.integers(0, 8, 2).tolist(), 3 * n + i) for i in range(3)] for n in range(20)]
    table = IdentifierTable.build(codes, keys)
    retriever.model.build_head(retriever.decoder.stage.scheme, table, None)
    loaded = retriever.updates.loaded
    several = Retriever(Updates(loaded.with_index(replace(loaded.index, table=table))))
    with torch.no_grad():
        query, head = query_vectors(several.model), several.model.head
        levels = [head.scores(query, level).log_softmax(dim=1).numpy() for level in range(3)]
    live = RowMask.build([table.live])
    for width in (1, len(table)):  # a beam of one is doubled until there are enough hits
        for number, ranked in enumerate(several.decoder.rank(QUERIES, 20, live, width)):
            scores = {
                key: join([sum(levels[n][number, s] for n, s in enumerate(c)) for c in own])
                for key, own in zip(keys, codes, strict=True)
            }
            found = {keys[item.document]: item.score for item in ranked}
            assert list(found) == sorted(found, key=lambda key: (-found[key], key))
            assert set(found) == set(keys)
            if width > 1:
                assert found == pytest.approx(scores, abs=1e-4)


def query_vectors(model):
    ids = encode_texts(model.tokenizer, QUERIES, 64)
    return model.query_vectors(*pad_batch(ids, model.tokenizer.pad_token_id))


def test_scores_that_are_no_numbers_are_a_damaged_model(assembled):
    retriever = assembled("atomic")
    torch.nn.init.constant_(retriever.model.head.codebooks[0], torch.nan)
    with pytest.raises(InputError, match="the model is damaged"):
        retriever.search(["copy"], 3)


def test_train_queries_are_counted(retriever):
    assert retriever.index.query_counts.tolist() == [2] * 40


def test_bytes_per_document(atomic):
    # One symbol of 2 bytes, the root's child list (its first row, and where each child begins), 16
    # float32 columns, and the words of all sets with their weights, and where each set begins.
    assert atomic.decoder.stage.trie.bytes == 40 * 2 + 4 + 41 * 2
    words = len(atomic.model.words.columns)
    assert atomic.bytes_per_document == (40 * 2 + 4 + 41 * 2 + 4 * (40 * 16 + 2 * words + 41)) / 40


def test_text_identifiers_do_not_fit_a_bridge(assembled, monkeypatch, tiny_encoder):
    monkeypatch.setitem(SCRATCH, "kind", "encoder-head")
    for name in set(SCRATCH) - {"kind"}:
        monkeypatch.delitem(SCRATCH, name)
    monkeypatch.setitem(SCRATCH, "encoder", str(tiny_encoder))
    with pytest.raises(
        InputError, match="an encoder-head model cannot emit text, which scheme 'title' needs"
    ):
        assembled("title")


# --- the model folder --------------------------------------------------------------------------


def test_a_saved_model_answers_alike(retriever, tmp_path):
    expected = retriever.search(QUERIES, 9)
    retriever.attachments["metrics.json"] = b"{}"
    retriever.save(tmp_path / "model")
    assert retriever.search(QUERIES, 9) == expected
    again = Retriever.load(tmp_path / "model", "cpu")
    assert again.search(QUERIES, 9) == expected
    assert again.search(QUERIES, 9, {"section": [1, 3]}) == retriever.search(
        QUERIES, 9, {"section": [1, 3]}
    )
    assert again.recipe == retriever.recipe
    assert again.attachments == {"metrics.json": b"{}"}
    assert again.index.query_counts.tolist() == retriever.index.query_counts.tolist()
    assert again.index.manifest["documents"] == again.index.manifest["identifiers"] == 40
    assert again.index.manifest["vocabulary"] == len(again.model.tokenizer)
    again.save(tmp_path / "model", overwrite=True)
    assert again.search(QUERIES, 9) == expected
    assert Retriever.from_pretrained(str(tmp_path / "model"), "cpu").search(QUERIES, 9) == expected
    assert os.listdir(tmp_path) == ["model"]


@pytest.fixture(scope="module")
def saved(assembled, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    retriever = assembled("residual")
    retriever.attachments["MODEL_CARD.md"] = b"# Tiny\n"
    retriever.save(folder)
    return folder


@pytest.fixture
def model_folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "model")


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}


def test_a_model_is_not_overwritten_unasked(atomic, model_folder):
    before = contents(model_folder)
    with pytest.raises(InputError, match=f"{model_folder}: exists already; .*--overwrite"):
        atomic.save(model_folder)
    assert contents(model_folder) == before


FILES = (
    "MODEL_CARD.md",
    "config.json",
    "documents.sqlite",
    "encoder.json",
    "identifiers/keys.marisa",
    "identifiers/rows.safetensors",
    "identifiers/scheme.json",
    "identifiers/scheme.safetensors",
    "model.json",
    "model.safetensors",
    "queries.safetensors",
    "recipe.toml",
    "tokenizer.json",
    "tokenizer_config.json",
)


def test_these_are_the_files_of_a_model(saved):
    found = {path.relative_to(saved).as_posix() for path in saved.rglob("*") if path.is_file()}
    assert found == {*FILES, "manifest.json"}


def remove(path):
    path.unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def turn_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def swap(path):
    """Write another file's content there: the weights, or the recipe instead of the weights."""
    folder = next(p for p in path.parents if (p / "manifest.json").exists())
    other = "recipe.toml" if path.name == "model.safetensors" else "model.safetensors"
    path.write_bytes((folder / other).read_bytes())


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove, "missing"),
        (cut, r"\d+ bytes instead of \d+"),
        (swap, ".*instead of|not the file that was saved"),
        (turn_a_bit, "not the file that was saved"),
    ],
)
def test_a_damaged_file_is_named(name, damage, message, model_folder):
    damage(model_folder / name)
    with pytest.raises(InputError, match=f"^{model_folder / name}: ({message})"):
        Retriever.load(model_folder)


LOADED = [name for name in FILES if name not in ("MODEL_CARD.md", "tokenizer_config.json")]


@pytest.mark.parametrize("name", LOADED)
@pytest.mark.parametrize("damage", [remove, swap, lambda path: path.write_bytes(b"")])
def test_a_wrong_file_is_bad_input_even_if_the_manifest_vouches_for_it(name, damage, model_folder):
    damage(model_folder / name)
    write_manifest(model_folder, {})
    with pytest.raises(InputError, match=str(model_folder)):
        Retriever.load(model_folder)


def test_a_length_beyond_the_positions_of_the_encoder_is_refused(model_folder):
    path = model_folder / "encoder.json"
    values = json.loads(path.read_text())
    for part in values["parts"].values():
        part["length"] = 400_000
    path.write_text(json.dumps(values))
    write_manifest(model_folder, {})
    message = f"^{path}: length = 400000: the encoder takes at most \\d+ tokens"
    with pytest.raises(InputError, match=message):
        Retriever.load(model_folder)


@pytest.mark.parametrize("damage", [remove, lambda path: path.write_bytes(b""), swap])
def test_a_damaged_manifest_is_named(damage, model_folder):
    damage(model_folder / "manifest.json")
    with pytest.raises(InputError, match=f"^{model_folder / 'manifest.json'}: "):
        Retriever.load(model_folder)


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="not a genir model folder"):
        Retriever.load(tmp_path)
    with pytest.raises(InputError, match="no such model folder; train one"):
        Retriever.load(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["/not/there/folder", "./nothing", "a/b/c", "~/x", __file__])
def test_a_path_without_a_model_folder_is_no_name_of_the_hub(name):
    with pytest.raises(InputError, match="no such model folder; train one"):
        Retriever.from_pretrained(name)


@pytest.mark.parametrize("name", ["nobody/absent-model"])
def test_an_unavailable_model_is_refused(name, offline):
    with pytest.raises(InputError, match=f"'{name}': neither a local model folder nor"):
        Retriever.from_pretrained(name)


def test_pushing_needs_a_saved_model_and_the_hub(assembled, tmp_path, offline):
    retriever = assembled("atomic")
    with pytest.raises(InputError, match="save the model to a folder before"):
        retriever.push_to_hub("nobody/model")
    retriever.save(tmp_path / "model")
    with pytest.raises(InputError, match=r"'nobody/model' cannot be pushed to the hub: .+"):
        retriever.push_to_hub("nobody/model")


# --- full disks --------------------------------------------------------------------------------


@contextmanager
def no_file_above(size):
    """Make the system reject writes beyond `size` bytes of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", ["recipe.toml", "model.safetensors", "documents.sqlite"])
def test_a_write_that_fails_leaves_the_old_model(name, assembled, model_folder, saved):
    before, retriever = contents(model_folder), assembled("residual")
    with (
        no_file_above((saved / name).stat().st_size - 1),
        pytest.raises(InputError, match=f"{model_folder}: cannot be written: .*is unchanged"),
    ):
        retriever.save(model_folder, overwrite=True)
    assert contents(model_folder) == before
    assert os.listdir(model_folder.parent) == ["model"]
    assert Retriever.load(model_folder, "cpu").search(["copy"], 3)


def test_a_full_disk_is_named_and_leaves_nothing(assembled, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="the disk is full; free space and run it again"):
        assembled("atomic").save(tmp_path / "model")
    assert os.listdir(tmp_path) == []


def test_a_saved_tokenizer_is_the_model_s(saved, tiny_encoder):
    again, own = (AutoTokenizer.from_pretrained(folder) for folder in (saved, tiny_encoder))
    assert again.get_vocab() == own.get_vocab()


@pytest.mark.parametrize("given", [None, 5, b"m", ["m"]])
def test_a_value_that_is_not_a_path_is_refused(given):
    for read in (Retriever.load, Retriever.from_pretrained, read_queries, read_qrels):
        with pytest.raises(InputError, match=r"(folder|name|queries|qrels): got .*; give a path"):
            read(given)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "", 5.5])
def test_an_unknown_device_is_refused_by_name(tmp_path, device):
    with pytest.raises(InputError, match=rf"device {device!r}: not a torch device; give cpu"):
        Retriever.load(tmp_path, device=device)
