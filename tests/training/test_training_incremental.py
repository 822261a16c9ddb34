"""Refresh: incremental training of a model on its added documents."""

import json
import os
import shutil

import pytest
import torch
from in_process import run
from interruptions import at_step, crash

from genir.corpus.serialization import document_of
from genir.errors import InputError
from genir.models.tokenization import encode_texts, pad_batch
from genir.retriever import Retriever
from genir.tasks.registry import build_mixture
from genir.training.adapters import add_adapters, merge_adapters
from genir.training.incremental import RefreshRequest, Replay, refresh
from genir.training.loop import Trainer

THINGS = ("wire", "cloud", "queue", "panel", "ledger", "beacon", "vault", "mirror")


def new_documents():
    return [
        document_of({"_id": f"new-{n}", "title": f"{thing} one", "text": f"polish the {thing}"}, "")
        for n, thing in enumerate(THINGS)
    ]


@pytest.fixture
def files(tiny_corpus, tmp_path):
    """Queries of the old documents and three of each new one, with their judgements."""
    lines = (tiny_corpus / "queries.jsonl").read_text()
    rows = (tiny_corpus / "qrels" / "train.tsv").read_text().rstrip() + "\n"
    for n, thing in enumerate(THINGS):
        for m, verb in enumerate(("shine", "brush", "scrub")):
            lines += json.dumps({"_id": f"new-{n}-{m}", "text": f"{verb} a {thing}"}) + "\n"
            rows += f"new-{n}-{m}\tnew-{n}\t1\n"
    queries, qrels = tmp_path / "q.jsonl", tmp_path / "q.tsv"
    queries.write_text(lines)
    qrels.write_text(rows)
    return {"queries": queries, "qrels": qrels}


@pytest.fixture
def model(whole, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "model")
    Retriever.load(folder, "cpu").add(new_documents())
    return folder


def request(model, files, *settings, **fields):
    fields = {"tolerance": 1.0} | fields
    return RefreshRequest(
        model, **files, settings=("training.learning_rate=0.002", *settings), **fields
    )


def places(folder, text="scrub a vault"):
    return [hit.key for hit in Retriever.load(folder, "cpu").search([text], 48)[0]]


def test_new_documents_are_learned_and_the_folder_says_so(model, files):
    before = places(model).index("new-6")
    found = refresh(request(model, files, "training.epochs=8"))
    after = Retriever.load(model, "cpu")
    assert places(model).index("new-6") <= before
    assert (found.version, found.documents) == (2, 8) and found.steps > 8
    assert found.old.questions == 8 and found.new.after >= found.new.before
    assert after.version == 2 and not after.index.untrained.any() and len(after.table.keys) == 48
    assert [(v.kind, v.kept) for v in after.versions()] == [
        ("trained", False), ("add", False), ("refresh", True)]  # fmt: skip
    noted = json.loads(after.attachments["metrics.json"])["refreshes"][0]
    assert noted["documents"] == 8 and noted["precision"]["device"] == "cpu"
    assert after.recipe == Retriever.load(model).recipe and after.recipe.training.epochs == 4
    assert sorted(os.listdir(model.parent)) == ["model", "q.jsonl", "q.tsv"]
    with pytest.raises(InputError, match="no document was added since training"):
        refresh(request(model, files))


def test_changes_during_a_refresh_are_in_the_refreshed_model(model, files):
    def change():
        other = Retriever.load(model, "cpu")
        other.add([document_of({"_id": "late", "text": "a late cloud", "lang": "fr"}, "")])
        other.delete(["new-1", "copy-file"])
        other.replace([document_of({"_id": "new-2", "text": "another queue"}, "")])
        other.compact()  # removes the journal with their record

    refresh(request(model, files, "training.epochs=1", on_step=[at_step(1, change)]))
    after = Retriever.load(model, "cpu")
    keys = {key for key in after.table.keys if after.table.is_live(key)}
    assert "late" in keys and not {"new-1", "copy-file"} & keys and len(keys) == 47
    assert after.documents.find("new-2").text == "another queue"
    assert [hit.key for hit in after.search(["cloud"], 47, {"lang": "fr"})[0]] == ["late"]
    unlearned = {
        key for key, late in zip(after.table.keys, after.index.untrained, strict=True) if late
    }
    assert unlearned == {"late", "new-2"} and after.version == 5


def test_a_model_that_would_forget_is_not_replaced(model, files):
    before = places(model)
    with pytest.raises(InputError, match=r"old documents would fall .* nothing has changed"):
        refresh(request(model, files, "training.learning_rate=1", tolerance=-1.0))
    assert places(model) == before and Retriever.load(model).version == 1


@pytest.mark.parametrize("name", ["tolerance", "replay"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_of_a_refresh_are_finite(tmp_path, name, value):
    with pytest.raises(InputError, match=rf"{name} {value} is not a finite number; give e.g."):
        refresh(RefreshRequest(tmp_path, **{name: value}))


@pytest.mark.parametrize("adapters", [0, 2])
def test_a_killed_refresh_resumes_to_the_same_result(model, files, tmp_path, adapters):
    other = shutil.copytree(model, tmp_path / "whole" / "model")
    settings = ("training.epochs=2", "training.checkpoint_seconds=0")
    refresh(request(other, files, *settings, adapters=adapters))
    stopping = request(model, files, *settings, adapters=adapters, on_step=[at_step(4, crash)])
    with pytest.raises(KeyboardInterrupt):
        refresh(stopping)
    assert Retriever.load(model).version == 1
    with pytest.raises(InputError, match=r"--resume continues it"):
        refresh(request(model, files, *settings, adapters=adapters))
    with pytest.raises(InputError, match=r"setting replay: 2.0 then, 1.0 now"):
        refresh(request(model, files, *settings, adapters=adapters, replay=1.0, resume=True))
    refresh(request(model, files, *settings, adapters=adapters, resume=True))
    weights = [(one / "model.safetensors").read_bytes() for one in (model, other)]
    assert weights[0] == weights[1]


@pytest.fixture
def teacher(tiny_corpus, tmp_path):
    """A run file, and the settings of a refresh with it as the teacher."""
    run = tmp_path / "teacher.run"
    run.write_text("train-0-0 Q0 copy-file 1 2.0 x\ntrain-0-0 Q0 copy-disk 2 1.0 x\n")
    queries = tiny_corpus / "queries.jsonl"
    loss = f"{{loss='distillation', teacher='{run}', queries='{queries}', count=2}}"
    return run, (f"losses=[{{loss='cross-entropy'}}, {loss}]", "training.max_steps=3")


def test_a_teacher_s_file_must_be_there_before_a_refresh_costs_anything(model, files, teacher):
    run, settings = teacher
    run.unlink()
    with pytest.raises(InputError, match=r"teacher.run' is not a run file"):
        refresh(request(model, files, *settings))
    assert not model.with_name("model.refresh").exists()


def test_a_refresh_does_not_go_on_with_another_run_file(model, files, teacher):
    run, settings = teacher
    settings = (*settings, "training.checkpoint_seconds=0")
    with pytest.raises(KeyboardInterrupt):
        refresh(request(model, files, *settings, on_step=[at_step(2, crash)]))
    before = run.read_text()
    run.write_text(before.replace("2.0", "3.0"))
    with pytest.raises(InputError, match=r"other inputs \(file .*teacher.run: sha256"):
        refresh(request(model, files, *settings, resume=True))
    run.write_text(before)
    assert refresh(request(model, files, *settings, resume=True)).steps == 3


def test_a_refresh_without_a_record_of_its_inputs_does_not_go_on(model, files):
    settings = ("training.max_steps=3", "training.checkpoint_seconds=0")
    with pytest.raises(KeyboardInterrupt):
        refresh(request(model, files, *settings, on_step=[at_step(2, crash)]))
    (model.with_name("model.refresh") / "inputs.json").unlink()
    with pytest.raises(InputError, match=r"inputs.*--overwrite"):
        refresh(request(model, files, *settings, replay=5.0, resume=True))


@pytest.mark.parametrize("changed", ["q.tsv", "made.jsonl"])
def test_a_file_that_changes_while_a_refresh_prepares(model, files, tmp_path, monkeypatch, changed):
    made, line = tmp_path / "made.jsonl", '{"document": "new-1", "text": "a cloud to shine"}\n'
    made.write_text(line)
    real, path = Trainer.__init__, tmp_path / changed

    def init(self, *args):
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(lines + lines[-1:]).replace("to shine", "to brush"))
        path.write_text(path.read_text().replace("new-7-2\tnew-7", "new-7-2\tnew-6"))
        real(self, *args)

    monkeypatch.setattr(Trainer, "__init__", init)
    with pytest.raises(InputError, match=r"made from other inputs \("):
        refresh(request(model, files, "training.epochs=1", pseudo=made))


def test_rows_of_old_documents_stay_as_they_are(model, files):
    before = Retriever.load(model, "cpu").model.head.normalized_codebook(0).detach().clone()
    refresh(request(model, files, "training.epochs=1", "training.dev_queries=0"))
    after = Retriever.load(model, "cpu").model.head.normalized_codebook(0).detach()
    torch.testing.assert_close(after[:40], before[:40])
    assert not torch.allclose(after[40:], before[40:], atol=0.01)


def test_new_documents_without_an_example_are_refused(model, tiny_corpus):
    files = (tiny_corpus / "queries.jsonl", tiny_corpus / "qrels" / "train.tsv")
    with pytest.raises(InputError, match="no example of the new documents; give --queries"):
        refresh(RefreshRequest(model, *files, settings=("tasks=[{task='queries'}]",)))
    assert Retriever.load(model).version == 1
    assert sorted(os.listdir(model.parent)) == ["model"]


def test_a_refresh_without_queries_trains_nothing_and_says_so(model, files):
    queries = "training.without_queries=skip"
    with pytest.raises(InputError, match="trained on queries only, and there are none; give"):
        refresh(RefreshRequest(model, settings=(queries,)))
    assert Retriever.load(model).index.untrained.sum() == len(THINGS)
    assert refresh(request(model, files, queries, "training.max_steps=1")).documents == len(THINGS)


def test_a_refresh_without_dev_queries_reports_no_scores(model, files, capsys):
    settings = ["--set=training.dev_queries=0", "--set=training.max_steps=1"]
    paths = [f"--queries={files['queries']}", f"--qrels={files['qrels']}"]
    assert run("refresh", model, *paths, *settings) == 0
    shown = "dev RR@10 of old documents not measured -> not measured, of new ones not measured"
    assert shown in " ".join(capsys.readouterr().out.split())


def test_a_refresh_that_was_killed_after_the_exchange_is_over(model, files, monkeypatch):
    monkeypatch.setattr("genir.training.incremental.WorkFolder.close", lambda self: None)
    refresh(request(model, files, "training.max_steps=1"))
    monkeypatch.undo()
    assert model.with_name("model.refresh").is_dir()
    with pytest.raises(InputError, match="no document was added"):
        refresh(request(model, files, resume=True))
    assert not model.with_name("model.refresh").exists()


def test_old_documents_are_replayed_in_the_requested_share(model, documents, queries):
    retriever = Retriever.load(model, "cpu")
    mixture = build_mixture(retriever.recipe.tasks, 0)
    examples = mixture.epoch(0, list(retriever.documents), retriever.table, queries)
    chosen = Replay(retriever, 2.0)(0, examples)
    new = [one for one in chosen if one.target[0] >= 40]
    assert len(new) == 8 and len(chosen) == 24
    assert chosen == Replay(retriever, 2.0)(0, examples) != Replay(retriever, 2.0)(1, examples)


def test_adapters_train_beside_frozen_weights_and_leave_nothing(model):
    bridge = Retriever.load(model, "cpu").model
    names = set(bridge.state_dict())
    ids, mask = pad_batch(encode_texts(bridge.tokenizer, ["a text"], 8), 0)
    add_adapters(bridge, 2)
    trained = [name for name, p in bridge.encoder.named_parameters() if p.requires_grad]
    assert trained and all("lora_" in name for name in trained)
    with torch.no_grad():
        for name, weights in bridge.encoder.named_parameters():
            if "lora_B" in name:
                weights.normal_()
    adapted = bridge.eval().encoder(ids, mask)
    merge_adapters(bridge)
    assert set(bridge.state_dict()) == names
    torch.testing.assert_close(bridge.encoder(ids, mask), adapted, rtol=1e-4, atol=1e-5)
    assert all(weights.requires_grad for weights in bridge.encoder.parameters())
