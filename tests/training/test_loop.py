"""The training loop on the tiny corpus: it learns, keeps the best weights, and stops on errors."""

import json
import signal
import threading
from dataclasses import replace
from shutil import copy

import pytest
import torch
from interruptions import at_step, ctrl_c, interrupted
from nets import FAST, GENERAL, make
from safetensors.torch import load_file

from genir.errors import InputError
from genir.retriever import Retriever
from genir.training.loop import set_dropout
from genir.training.losses.cross_entropy import CrossEntropy
from genir.training.pipeline import train
from genir.training.stop_request import Stopped, stop_request

WILD = ("training.epochs=6", "training.head_learning_rate=0.3", "training.learning_rate=0.05")
STILL = ("training.learning_rate=1e-9", "training.head_learning_rate=1e-9")
QUICK = ("training.epochs=1", "training.num_dev_evals=1")


@pytest.mark.parametrize("name", FAST | GENERAL)
def test_dropout_is_that_of_the_recipe_wherever_a_network_has_some(name):
    net, ids = make(name).train(), torch.arange(3, 15).view(2, 6)

    def passes(share):
        set_dropout(net, share)
        return [net(input_ids=ids, decoder_input_ids=ids).logits for _ in range(2)]

    assert torch.equal(*passes(0.0))
    assert not torch.equal(*passes(0.5))


def history(folder):
    return json.loads((folder / "metrics.json").read_text())["history"]


def test_the_loss_goes_down_and_dev_retrieval_up(make_job):
    job = make_job("training.epochs=20", "training.dropout=0", "model.word_set_size=0")
    train(job)
    rows = history(job.out)
    assert [rows[0]["step"], rows[-1]["step"]] == [0, 140]
    assert rows[0]["loss"] is None and rows[-1]["loss"] < 0.5 * rows[1]["loss"]
    assert rows[-1]["RR@10"] > rows[0]["RR@10"] + 0.2


def test_the_weights_that_did_best_on_dev_are_kept(make_job):
    # The best weights are not changed after the loop.
    job = make_job(*WILD, "model.document_vector_weight=0", "model.word_weight=1.8")
    retriever = train(job)
    rows = history(job.out)
    best = max(rows, key=lambda row: (row["RR@10"], row["step"]))
    assert 0 < best["step"] < rows[-1]["step"], "the high learning rate must make the end worse"
    assert json.loads((job.out / "metrics.json").read_text())["dev"]["step"] == best["step"]
    short = make_job(*job.settings, out=job.out.with_name("short"))
    again = stop_at(best["step"], short)
    again.pop("unrelated_similarity")  # measured after the loop
    for name, weights in again.items():
        assert torch.equal(retriever.model.state_dict()[name], weights), name


def stop_at(step, job):
    """Return the weights of a training after a number of steps."""
    interrupted(job, step)
    return load_file(job.out.with_name("short.training") / "checkpoint" / "model.safetensors")


def test_without_dev_questions_the_last_weights_are_kept(make_job):
    job = make_job("training.dev_queries=0")
    retriever = train(job)
    metrics = json.loads((job.out / "metrics.json").read_text())
    assert metrics["dev"]["questions"] == 0 and metrics["dev"]["step"] == metrics["steps"] == 30
    assert metrics["dev"]["RR@10"] is None
    assert "| dev RR@10 / Success@10 | not measured |" in (job.out / "MODEL_CARD.md").read_text()
    prepared = make_job("training.dev_queries=0", "training.max_steps=1", *STILL)
    start = train(replace(prepared, out=job.out.with_name("start"))).model.encoder.state_dict()
    now = retriever.model.encoder.state_dict()
    assert any(not torch.allclose(now[name], start[name]) for name in start)


@pytest.mark.parametrize("rate", ["1e30", "1e12"])
def test_a_nan_loss_stops_with_a_remedy(make_job, rate):
    job = make_job(f"training.learning_rate={rate}", "training.checkpoint_seconds=0")
    with pytest.raises(InputError, match=r"at step \d+; lower training\.learning_rate"):
        train(job)
    assert not job.out.exists()


@pytest.fixture
def loss_becomes(monkeypatch):
    """Return a function that replaces the loss of a step, by a function of it."""
    real = CrossEntropy.compute

    def at(step, change):
        losses = []

        def compute(self, model, batch):
            losses.append(real(self, model, batch))
            return change(losses[-1]) if len(losses) == step else losses[-1]

        monkeypatch.setattr(CrossEntropy, "compute", compute)

    return at


def test_the_last_good_checkpoint_stays(make_job, loss_becomes):
    loss_becomes(6, lambda loss: loss * torch.nan)
    job = make_job("training.checkpoint_seconds=0")
    with pytest.raises(InputError, match=r"is nan at step 6; .*model\.training/checkpoint$"):
        train(job)
    checkpoint = job.out.with_name("model.training") / "checkpoint"
    assert json.loads((checkpoint / "progress.json").read_text())["step"] == 5
    weights = load_file(checkpoint / "model.safetensors")
    assert all(tensor.isfinite().all() for tensor in weights.values())


def test_a_gradient_that_is_no_number_is_caught_although_the_loss_was_one(make_job, loss_becomes):
    loss_becomes(1, lambda loss: loss + (loss * 0).sqrt())
    with pytest.raises(InputError, match="some weights are not finite at step 1;"):
        train(make_job("training.checkpoint_seconds=0"))


def test_each_step_is_reported_with_its_loss(make_job):
    reports = []
    job = make_job("training.max_steps=3", on_step=[lambda *report: reports.append(report)])
    train(job)
    assert [step for step, _ in reports] == [1, 2, 3]
    assert round(float(reports[-1][1]), 4) == history(job.out)[-1]["loss"]


def test_max_steps_cuts_any_recipe_short(make_job):
    job = make_job("training.max_steps=3")
    train(job)
    assert history(job.out)[-1]["step"] == 3


def test_a_recipe_for_queries_is_not_trained_without_any(make_job, tiny_corpus, tmp_path, capfd):
    folder = tmp_path / "documents"
    folder.mkdir()
    copy(tiny_corpus / "corpus.jsonl", folder)
    skip = "training.without_queries=skip"
    retriever = train(make_job(skip, corpus=folder))
    assert [row["step"] for row in history(tmp_path / "model")] == [0]
    assert "no train queries: the model keeps its initial weights" in capfd.readouterr().err
    prepared = train(make_job(out=tmp_path / "prepared", corpus=folder), prepare_only=True)
    weights = retriever.model.state_dict()
    assert all(torch.equal(own, weights[name]) for name, own in prepared.model.state_dict().items())
    assert len(retriever.search("copy a file", 5)[0]) == 5
    train(make_job(skip, out=tmp_path / "asked"))
    assert history(tmp_path / "asked")[-1]["step"] > 0
    train(make_job("training.max_steps=2", out=tmp_path / "trained", corpus=folder))
    assert history(tmp_path / "trained")[-1]["step"] == 2


@pytest.mark.parametrize("precision", ["fp32", "bf16", "auto"])
def test_every_precision_trains_in_one_process(make_job, precision):
    job = make_job(*QUICK, f"training.precision={precision}")
    assert len(train(job).search(["copy a file"], 5)[0]) == 5


def test_ctrl_c_saves_and_afterwards_belongs_to_the_caller_again(make_job):
    job, before = make_job(on_step=[at_step(4, ctrl_c)]), signal.getsignal(signal.SIGINT)
    with pytest.raises(Stopped):
        train(job)
    assert signal.getsignal(signal.SIGINT) is before
    checkpoint = job.out.with_name("model.training") / "checkpoint"
    assert json.loads((checkpoint / "progress.json").read_text())["step"] == 4
    assert not job.out.exists()


def test_a_second_ctrl_c_does_not_wait():
    with pytest.raises(Stopped), stop_request() as wish:
        signal.raise_signal(signal.SIGINT)
        assert wish.is_set
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_signal_is_named(number):
    with pytest.raises(Stopped) as result, stop_request():
        signal.raise_signal(number)
    assert result.value.number == number


def test_bad_input_takes_precedence_over_a_stop_request():
    with pytest.raises(InputError, match="bad"), stop_request():
        signal.raise_signal(signal.SIGINT)
        raise InputError("bad")


def test_training_in_another_thread_works_and_listens_to_nothing(make_job):
    job = make_job(*QUICK)
    thread = threading.Thread(target=train, args=[job])
    thread.start()
    thread.join()
    assert Retriever.load(job.out).recipe.name == "tiny"


def test_every_example_of_an_epoch_is_read_once_an_epoch(make_job, monkeypatch):
    sources, real = [], CrossEntropy.compute

    def compute(self, model, batch):
        pairs = zip(batch.input_ids, batch.attention_mask.bool(), strict=True)
        sources.extend(tuple(ids[mask].tolist()) for ids, mask in pairs)
        return real(self, model, batch)

    monkeypatch.setattr(CrossEntropy, "compute", compute)
    train(make_job("training.epochs=1"))
    # title-lead of each document, and the queries that are not in dev
    assert len(sources) == len(set(sources)) == 40 + 72
