"""Optimizers, schedules, accumulation, checkpointing and averages of `[training]`."""

import math
from contextlib import closing
from itertools import islice

import pytest
import torch
from interruptions import interrupted, killed
from nets import make
from safetensors.torch import load_file
from tiny import SCRATCH
from transformers import Adafactor

from genir.config import Recipe, TrainingSection, dump_recipe
from genir.errors import InputError
from genir.training import loop
from genir.training.optimization import (
    WeightAverage,
    build_optimizer,
    build_schedule,
    enable_gradient_checkpointing,
)
from genir.training.pipeline import train

SHORT = ("training.max_steps=6", "training.num_dev_evals=1", "training.precision=fp32")
SEQ2SEQ = {"name": "title", "tasks": [{"task": "queries"}], "identifiers": {"scheme": "title"},
           "model": SCRATCH, "training": {"epochs": 9, "batch_size": 16}}  # fmt: skip


@pytest.fixture
def seq2seq_job(make_job, tmp_path):
    """Return a factory of jobs of an encoder-decoder from scratch."""
    path = tmp_path / "title.toml"
    path.write_text(dump_recipe(Recipe.model_validate(SEQ2SEQ)))
    return lambda *settings, **fields: make_job(*settings, recipe=str(path), **fields)


def groups(net):
    return [{"params": list(net.parameters()), "lr": 0.25, "weight_decay": 0.0}]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adamw", torch.optim.AdamW), ("adafactor", Adafactor), ("rmsprop", torch.optim.RMSprop)],
)
def test_the_first_step_has_the_size_of_the_rate(name, kind):
    """With one element, all three divide the gradient by its own size."""
    net = torch.nn.Linear(1, 1, bias=False)
    optimizer = build_optimizer(TrainingSection(optimizer=name), groups(net))
    assert type(optimizer) is kind
    before = net.weight.item()
    net.weight.grad = torch.full((1, 1), 3.0)
    optimizer.step()
    share = 10 if name == "rmsprop" else 1  # torch's alpha = .99: g / sqrt(.01 g^2)
    assert before - net.weight.item() == pytest.approx(0.25 * share, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("cosine", [0, 0.5, 1, *(0.5 * (1 + math.cos(math.pi * n / 8)) for n in range(1, 8))]),
        ("linear", [0, 0.5, 1, *(1 - n / 8 for n in range(1, 8))]),
        ("inverse-square-root", [0, 0.5, 1, *(math.sqrt(2 / (2 + n)) for n in range(1, 8))]),
        ("constant", [0, 0.5] + [1] * 8),
    ],
)
def test_rates_rise_to_the_recipes_and_follow_the_schedule(name, rates):
    """Ten steps, of which two are the warmup."""
    settings = TrainingSection(schedule=name, warmup=0.2)
    net = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD([{"params": net.parameters(), "lr": 1.0}])
    schedule, found = build_schedule(settings, optimizer, 10), []
    for _ in range(10):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert found == pytest.approx(rates)


def test_the_inverse_square_root_falls_without_warmup():
    settings = TrainingSection(schedule="inverse-square-root", warmup=0)
    net = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD([{"params": net.parameters(), "lr": 1.0}])
    schedule = build_schedule(settings, optimizer, 10)
    for _ in range(9):
        optimizer.step()
        schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1 / 3)  # step 9


def test_an_average_follows_the_weights_and_is_only_lent_to_them(tmp_path):
    net = torch.nn.Linear(1, 1, bias=False)
    average = WeightAverage(net, 0.9)
    with average.applied():
        pass  # nothing to apply before the first step
    for value in (1.0, 2.0, 4.0):
        torch.nn.init.constant_(net.weight, value)
        average.update()
    wanted = (1 * 0.9 + 0.1 * 2) * 0.9 + 0.1 * 4
    with average.applied():
        assert net.weight.item() == pytest.approx(wanted)
    assert net.weight.item() == 4
    average.save(tmp_path / "average.safetensors")
    again = WeightAverage(net, 0.9)
    again.load(tmp_path / "average.safetensors")
    with again.applied():
        assert net.weight.item() == pytest.approx(wanted)
    with pytest.raises(ValueError, match="holds other parameters"):
        WeightAverage(torch.nn.Linear(2, 1), 0.9).load(tmp_path / "average.safetensors")


def test_the_average_is_measured_and_kept(seq2seq_job, monkeypatch):
    taken, real = [], WeightAverage.update

    def update(self):
        taken.append({name: one.detach().clone() for name, one in self._parameters.items()})
        real(self)

    monkeypatch.setattr(WeightAverage, "update", update)
    job = seq2seq_job(*SHORT, "training.ema_decay=0.5", "training.dev_queries=0")
    kept = dict(train(job).model.named_parameters())
    name = max(taken[0], key=lambda one: float((taken[0][one] - taken[-1][one]).abs().max()))
    wanted = taken[0][name]
    for weights in taken[1:]:
        wanted = 0.5 * wanted + 0.5 * weights[name]
    assert len(taken) == 6
    torch.testing.assert_close(kept[name].detach().cpu(), wanted)
    assert not torch.allclose(kept[name].detach().cpu(), taken[-1][name])


@pytest.mark.parametrize("name", ["T5", "BART", "BERT2BERT", "Pegasus"])
def test_checkpointing_computes_layers_twice_and_the_same_gradients(name):
    net, ids = make(name).train(), torch.arange(3, 15).view(2, 6)
    calls = []
    for part in net.modules():
        if isinstance(part, torch.nn.Linear):  # in the layers: hooks of a layer run once
            part.register_forward_pre_hook(lambda *_: calls.append(1))

    def gradients():
        calls.clear()
        torch.manual_seed(1)
        net.zero_grad()
        net(input_ids=ids, decoder_input_ids=ids, use_cache=False).logits.square().sum().backward()
        return len(calls), [p.grad.clone() for p in net.parameters() if p.grad is not None]

    once, expected = gradients()
    enable_gradient_checkpointing(net)
    twice, found = gradients()
    assert twice > 1.5 * once
    for own, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(own, wanted)


def test_a_model_without_layers_of_transformers_cannot_checkpoint():
    with pytest.raises(InputError, match=r"training\.gradient_checkpointing: the model has no net"):
        enable_gradient_checkpointing(torch.nn.Linear(1, 1))


def test_gradients_of_several_batches_are_averaged(make_job, monkeypatch):
    """A step on two batches is one on the mean of their losses; an epoch has half the steps."""
    quiet = ("training.dropout=0", "training.warmup=0", "training.precision=fp32")
    job = make_job("training.gradient_accumulation_steps=2", "training.epochs=1", *quiet)
    seen = []

    class Spy(loop.Trainer):
        def run(self):
            seen.append(self.total)
            with closing(self._batches(0)) as made:
                batches = list(islice(made, 2))
            self.model.train()
            # By hand, on a copy of the weights before the step.
            (sum(self.model(batch, self.losses) for batch in batches) / 2).backward()
            seen.append([None if p.grad is None else p.grad.clone() for p in self._own()])
            self.optimizer.zero_grad()
            monkeypatch.setattr(self.accelerator, "clip_grad_norm_", self._note)
            self._step(batches)
            raise KeyboardInterrupt

        def _own(self):
            return list(self.model.parameters())

        def _note(self, parameters, norm):
            seen.append([None if p.grad is None else p.grad.clone() for p in parameters])

    monkeypatch.setattr("genir.training.pipeline.Trainer", Spy)
    with pytest.raises(KeyboardInterrupt):
        train(job)
    total, wanted, found = seen
    assert total == math.ceil((40 + 72) / 32)
    assert any(one is not None and one.abs().max() > 0 for one in wanted)
    for one, other in zip(wanted, found, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other)


def test_no_clipping_is_possible(make_job, monkeypatch):
    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr("accelerate.Accelerator.clip_grad_norm_", refuse)
    train(make_job(*SHORT, "training.max_steps=1", "training.max_norm=0"))
    with pytest.raises(AssertionError):
        train(make_job(*SHORT, "training.max_steps=1", overwrite=True))


OPTIONS = {
    "adafactor": ("training.optimizer=adafactor", "training.schedule=linear"),
    "rmsprop": ("training.optimizer=rmsprop", "training.schedule=inverse-square-root"),
    "accumulation": ("training.schedule=constant", "training.gradient_accumulation_steps=2"),
}
AVERAGED = ("training.gradient_checkpointing=true", "training.label_smoothing=0.1",
            "training.dropout=0.3", "training.ema_decay=0.7")  # fmt: skip


def check_resume(make, *settings):
    """Interrupt a training, kill it, and compare the result with that of an uninterrupted one."""
    settings = (*SHORT, "training.checkpoint_seconds=0", *settings)
    job = make(*settings)
    train(job)
    whole = load_file(job.out / "model.safetensors")
    out = job.out.with_name("other")
    interrupted(make(*settings, out=out), 2)
    killed(make(*settings, out=out, resume=True), 2)
    train(make(*settings, out=out, resume=True))
    resumed = load_file(out / "model.safetensors")
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_resumed_training_ends_with_the_same_bits(name, make_job):
    check_resume(make_job, *OPTIONS[name])


def test_a_resumed_training_with_checkpointing_and_average_does_so_too(seq2seq_job):
    check_resume(seq2seq_job, *AVERAGED)


def test_a_checkpoint_without_its_average_is_refused(make_job):
    settings = (*SHORT, "training.ema_decay=0.9", "training.checkpoint_seconds=0")
    job = make_job(*settings)
    interrupted(job, 2)
    (job.out.with_name("model.training") / "checkpoint" / "average.safetensors").unlink()
    with pytest.raises(InputError, match=r"average\.safetensors is missing"):
        train(make_job(*settings, resume=True))
