import json
import os
import re
import shutil

import pytest
import torch
from accelerate import Accelerator

from genir.errors import InputError
from genir.manifest import sha256
from genir.training.checkpoints import Progress, WorkFolder


@pytest.fixture
def work(tmp_path):
    return WorkFolder(tmp_path / "model")


class Run:
    """A small network under accelerate, as in the training loop."""

    def __init__(self):
        torch.manual_seed(0)
        self.accelerator = Accelerator(mixed_precision="no")
        net = torch.nn.Linear(4, 3)
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
        self.net, self.optimizer = self.accelerator.prepare(net, optimizer)

    def step(self):
        self.net(torch.randn(2, 4)).sum().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return self.net.weight.detach().clone()


def test_a_checkpoint_brings_back_weights_optimiser_and_random_numbers(work):
    run = Run()
    with work.open(resume=False, overwrite=False):
        run.step()
        work.keep_best(run.net)
        work.save(run.accelerator, Progress(1, 2.5, 0.25, [{"step": 1}]))
        expected = [run.step() for _ in range(3)]
        assert work.load(run.accelerator) == Progress(1, 2.5, 0.25, [{"step": 1}])
        found = [run.step() for _ in range(3)]
    assert all(map(torch.equal, expected, found))


def test_without_a_checkpoint_it_begins_at_the_beginning(work):
    assert work.load(Accelerator(mixed_precision="no")) == Progress()


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(work, monkeypatch):
    run = Run()
    with work.open(resume=False, overwrite=False):
        work.save(run.accelerator, Progress(1))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", no_room)
            with pytest.raises(
                InputError, match=r"checkpoint: cannot be written: the disk is full"
            ):
                work.save(run.accelerator, Progress(2))
        assert work.load(run.accelerator).step == 1
        work.save(run.accelerator, Progress(3))
        assert work.load(run.accelerator).step == 3


def no_room(descriptor):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    "damage",
    [
        "progress.json",
        "model.safetensors",
        "optimizer.bin",
        "random_states_0.pkl",
        "checksums.json",
    ],
)
def test_a_damaged_checkpoint_is_named(work, damage):
    run = Run()
    with work.open(resume=False, overwrite=False):
        work.save(run.accelerator, Progress(1))
        path = work.checkpoint / damage
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        message = f"{re.escape(str(work.checkpoint))}: .*cannot be read.*--overwrite starts again"
        with pytest.raises(InputError, match=message):
            work.load(run.accelerator)


def test_the_best_weights_come_back(work):
    run = Run()
    with work.open(resume=False, overwrite=False):
        work.restore_best(run.net, Progress())  # nothing is saved yet, so nothing changes
        best = run.step()
        work.keep_best(run.net)
        run.step()
        work.restore_best(run.net, Progress(history=[{"step": 1}]))
    assert torch.equal(run.net.weight, best)


@pytest.mark.parametrize("name", ["random_states_0.pkl", "optimizer.bin", "scheduler.bin"])
def test_a_missing_part_of_a_checkpoint_is_named(work, name):
    run = Run()
    with work.open(resume=False, overwrite=False):
        work.save(run.accelerator, Progress(1))
        path = work.checkpoint / name
        if not path.exists():
            path = work.checkpoint / "progress.json"
        path.unlink()
        with pytest.raises(InputError, match=f"cannot be read .{path.name} is missing"):
            work.load(run.accelerator)


def zero_half(path):
    """Zero the second half of the tensors: the file stays readable."""
    content = path.read_bytes()
    path.write_bytes(content[:-24] + bytes(24))


@pytest.mark.parametrize(
    "damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"x"), zero_half]
)
def test_missing_or_damaged_best_weights_are_named(work, damage):
    run = Run()
    message = r"best/model\.safetensors: .*--overwrite starts again"
    measured = Progress(1, history=[{"step": 1}])
    with work.open(resume=False, overwrite=False):
        work.keep_best(run.net)
        work.save(run.accelerator, measured)
        damage(work.best / "model.safetensors")
        with pytest.raises(InputError, match=message):
            work.restore_best(run.net, measured)
        # The remaining steps are not trained in vain.
        with pytest.raises(InputError, match=message):
            work.load(run.accelerator)


def test_a_checkpoint_without_an_evaluation_needs_no_best_weights(work):
    run = Run()
    with work.open(resume=False, overwrite=False):
        work.save(run.accelerator, Progress(1))
        assert work.load(run.accelerator).step == 1


def test_a_folder_at_work_is_left_alone(work):
    message = "model.training: another process uses it; wait for it, or stop it"
    with work.open(resume=False, overwrite=False):
        work.prepared.mkdir()
        for resume, overwrite in ((True, False), (False, True)):
            with (
                pytest.raises(InputError, match=message),
                WorkFolder(work.target).open(resume, overwrite),
            ):
                pytest.fail("opened")
        assert work.prepared.is_dir()
    with work.open(resume=True, overwrite=False):
        assert work.prepared.is_dir()


def test_an_interrupted_training_blocks_until_resume_or_overwrite(work):
    with work.open(resume=False, overwrite=False):
        work.prepared.mkdir()
    refused = r"contains an interrupted training; --resume continues it, --overwrite starts again"
    with pytest.raises(InputError, match=refused), work.open(resume=False, overwrite=False):
        pytest.fail("opened")
    with work.open(resume=True, overwrite=False):
        assert work.prepared.is_dir()
    with work.open(resume=True, overwrite=True):
        assert work.prepared.is_dir()
    with work.open(resume=False, overwrite=True):
        assert not work.prepared.exists()


@pytest.mark.parametrize("resume", [False, True])
def test_an_unfinished_preparation_does_not_block(work, resume):
    (work.path / "genir-abcd1234").mkdir(parents=True)
    with work.open(resume=resume, overwrite=False):
        assert [path.name for path in work.path.iterdir()] == [".lock"]


def test_bad_input_leaves_no_folder_but_does_not_undo_a_checkpoint(work):
    with pytest.raises(InputError), work.open(resume=False, overwrite=False):
        raise InputError("no such corpus")
    assert not work.path.exists()
    with pytest.raises(InputError), work.open(resume=False, overwrite=False):
        work.prepared.mkdir()
        work.checkpoint.mkdir()
        raise InputError("the loss is nan")
    assert work.checkpoint.is_dir()
    shutil.rmtree(work.checkpoint)
    with pytest.raises(InputError), work.open(resume=True, overwrite=False):
        raise InputError("another recipe")
    assert work.prepared.is_dir()


def test_a_place_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    work = WorkFolder(tmp_path / "file" / "model")
    with (
        pytest.raises(InputError, match=r"cannot be created .*another --out"),
        work.open(False, False),
    ):
        pytest.fail("opened")


def test_progress_is_plain_json(work):
    run = Run()
    with work.open(resume=False, overwrite=False):
        work.save(run.accelerator, Progress(7, 1.0, 0.5, []))
        output = json.loads((work.checkpoint / "progress.json").read_text())
    assert output == {
        "step": 7, "seconds": 1.0, "best": 0.5, "history": [], "schedule": {}, "processes": 1
    }  # fmt: skip


def test_another_number_of_processes_is_refused(work):
    run = Run()
    with work.open(resume=False, overwrite=False):
        work.save(run.accelerator, Progress(1))
        written = work.checkpoint / "progress.json"
        written.write_text(written.read_text().replace('"processes": 1', '"processes": 2'))
        checksums = work.checkpoint / "checksums.json"
        signed = json.loads(checksums.read_text()) | {"progress.json": sha256(written)}
        checksums.write_text(json.dumps(signed))
        with pytest.raises(InputError, match="written by 2 processes, not 1"):
            work.load(run.accelerator)


def test_tied_weights_are_kept_without_a_warning(work, caplog):
    accelerator = Accelerator(mixed_precision="no")
    net = torch.nn.ModuleList([torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)])
    net[1].weight = net[0].weight
    net = accelerator.prepare(net)
    with work.open(resume=False, overwrite=False):
        work.save(accelerator, Progress(1))
        kept = net[0].weight.detach().clone()
        net[0].weight.data.zero_()
        work.load(accelerator)
    assert torch.equal(net[1].weight, kept)
    assert not caplog.records
