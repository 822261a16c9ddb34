"""The training loop on the tiny corpus: it learns, keeps the best weights, and stops on errors."""

import json
import signal
import threading
from dataclasses import replace

import pytest
import torch
from nets import FAST, GENERAL, make
from safetensors.torch import load_file

from genir.errors import InputError
from genir.retriever import Retriever
from genir.training.batches import Batcher
from genir.training.loop import Trainer, set_dropout
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
    job = make_job("training.epochs=20", "training.dropout=0", "model.lexical_dim=0")
    train(job)
    rows = history(job.out)
    assert [rows[0]["step"], rows[-1]["step"]] == [0, 140]
    assert rows[0]["loss"] is None and rows[-1]["loss"] < 0.5 * rows[1]["loss"]
    assert rows[-1]["RR@10"] > rows[0]["RR@10"] + 0.2


def test_the_weights_that_did_best_on_dev_are_kept(make_job):
    job = make_job(
        *WILD, "model.document_vector_weight=0"
    )  # the best weights are not changed after the loop
    retriever = train(job)
    rows = history(job.out)
    best = max(rows, key=lambda row: (row["RR@10"], row["step"]))
    assert 0 < best["step"] < rows[-1]["step"], "the high learning rate must make the end worse"
    assert json.loads((job.out / "metrics.json").read_text())["dev"]["step"] == best["step"]
    short = make_job(*job.settings, out=job.out.with_name("short"))
    again = stop_at(best["step"], short)
    for name, weights in again.items():
        assert torch.equal(retriever.model.state_dict()[name], weights), name


def stop_at(step, job):
    """Return the weights of a training after a number of steps."""
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(step, patch)
        with pytest.raises(Stopped):
            train(job)
    return load_file(job.out.with_name("short.training") / "checkpoint" / "model.safetensors")


def interrupt_after(steps, patch):
    """Press Ctrl-C in the middle of a step."""
    real, taken = Trainer._step, []

    def step(self, batch):
        taken.append(None)
        if len(taken) == steps:
            signal.raise_signal(signal.SIGINT)
        return real(self, batch)

    patch.setattr(Trainer, "_step", step)


def test_without_dev_questions_the_last_weights_are_kept(make_job):
    job = make_job("training.dev_queries=0")
    retriever = train(job)
    metrics = json.loads((job.out / "metrics.json").read_text())
    assert metrics["dev"]["questions"] == 0 and metrics["dev"]["step"] == metrics["steps"] == 30
    prepared = make_job("training.dev_queries=0", "training.max_steps=1", *STILL)
    start = train(replace(prepared, out=job.out.with_name("start"))).model.encoder.state_dict()
    now = retriever.model.encoder.state_dict()
    assert any(not torch.allclose(now[name], start[name]) for name in start)


@pytest.mark.parametrize("rate", ["1e30", "1e12"])
def test_a_loss_that_is_no_number_stops_with_what_to_do(make_job, rate):
    job = make_job(f"training.learning_rate={rate}", "training.checkpoint_seconds=0")
    with pytest.raises(InputError, match=r"at step \d+; lower training\.learning_rate"):
        train(job)
    assert not job.out.exists()


def test_the_last_good_checkpoint_stays(make_job, monkeypatch):
    ruin_after(5, monkeypatch)
    job = make_job("training.checkpoint_seconds=0")
    with pytest.raises(InputError, match=r"is nan at step 6; .*model\.training/checkpoint$"):
        train(job)
    checkpoint = job.out.with_name("model.training") / "checkpoint"
    assert json.loads((checkpoint / "progress.json").read_text())["step"] == 5
    weights = load_file(checkpoint / "model.safetensors")
    assert all(tensor.isfinite().all() for tensor in weights.values())


def ruin_after(steps, patch):
    """Set a weight to NaN before the next step."""
    real, taken = Trainer._step, []

    def step(self, batch):
        taken.append(None)
        if len(taken) > steps:
            with torch.no_grad():
                next(iter(self.retriever.model.head_parameters())).fill_(torch.nan)
        return real(self, batch)

    patch.setattr(Trainer, "_step", step)


def test_a_gradient_that_is_no_number_is_caught_although_the_loss_was_one(make_job, monkeypatch):
    real = Trainer._step

    def step(self, batch):
        parameter = self.retriever.model.head_parameters()[0]
        handle = parameter.register_hook(lambda gradient: gradient * torch.nan)
        try:
            return real(self, batch)
        finally:
            handle.remove()

    monkeypatch.setattr(Trainer, "_step", step)
    with pytest.raises(InputError, match="some weights are not finite at step 1;"):
        train(make_job("training.checkpoint_seconds=0"))


def test_max_steps_cuts_any_recipe_short(make_job):
    job = make_job("training.max_steps=3")
    train(job)
    assert history(job.out)[-1]["step"] == 3


@pytest.mark.parametrize("precision", ["fp32", "bf16", "auto"])
def test_every_precision_trains_in_one_process(make_job, precision):
    job = make_job(*QUICK, f"training.precision={precision}")
    assert len(train(job).search(["copy a file"], 5)[0]) == 5


def test_ctrl_c_saves_and_afterwards_belongs_to_the_caller_again(make_job, monkeypatch):
    interrupt_after(4, monkeypatch)
    job, before = make_job(), signal.getsignal(signal.SIGINT)
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
def test_the_signal_is_told(number):
    with pytest.raises(Stopped) as result, stop_request():
        signal.raise_signal(number)
    assert result.value.number == number


def test_bad_input_comes_before_a_wish_to_stop():
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
    rows = []
    real = Batcher._batch

    def watch(self, examples, ids):
        rows.extend(example.source for example in examples)
        return real(self, examples, ids)

    monkeypatch.setattr(Batcher, "_batch", watch)
    train(make_job("training.epochs=1"))
    assert len(rows) == len(set(rows)) == 40 + 72  # title-lead of each, and the queries not in dev
