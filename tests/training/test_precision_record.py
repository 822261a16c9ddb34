"""A training records its precision, and keeps it when it is resumed."""

import json
from dataclasses import replace

import pytest
import torch
from interruptions import killed
from test_pipeline import EVERY_STEP, figures, weights_of

from genir.errors import InputError
from genir.manifest import sha256
from genir.models import precision
from genir.models.encoder import TextEncoder
from genir.training.checkpoints import WorkFolder
from genir.training.losses.cross_entropy import CrossEntropy
from genir.training.pipeline import train
from genir.training.precision_record import recorded_precision

FASTER, SLOWER = 0.5, 2.0


@pytest.fixture
def dtypes(monkeypatch):
    """Precisions of training steps and of embedded texts."""
    seen = {"training": set(), "embedding": set()}

    def note(kind, owner, name):
        real = getattr(owner, name)

        def noting(self, *given, **named):
            there = torch.is_autocast_enabled("cpu")
            seen[kind].add("bf16" if there else "fp32")
            return real(self, *given, **named)

        monkeypatch.setattr(owner, name, noting)

    monkeypatch.setattr(TextEncoder, "try_out", lambda *_: None)  # no measurement
    note("embedding", TextEncoder, "forward")
    note("training", CrossEntropy, "compute")
    return seen


@pytest.mark.parametrize(("share", "taken"), [(FASTER, "bf16"), (SLOWER, "fp32")])
def test_a_training_uses_and_reports_the_measured_precision(
    make_job, measured, dtypes, capsys, share, taken
):
    measured(share)
    job = make_job("training.max_steps=2", "training.dev_queries=0")
    train(job)
    assert dtypes == {"training": {taken}, "embedding": {taken}}
    output = json.loads((job.out / "metrics.json").read_text())["precision"]
    assert output == {"device": "cpu"} | dict.fromkeys(precision.WORKLOADS, taken)
    works = ", ".join(f"{work} {taken}" for work in precision.WORKLOADS)
    assert f"precision on cpu: {works} (measured: bf16 takes {share:.2f}" in capsys.readouterr().err
    assert f"| precision | {works} (cpu) |" in (job.out / "MODEL_CARD.md").read_text()
    assert precision._fixed == {}


@pytest.mark.parametrize(("before", "after"), [(FASTER, SLOWER), (SLOWER, FASTER)])
def test_going_on_under_another_measurement_ends_at_the_same_bits(
    make_job, measured, tmp_path, capsys, before, after
):
    measured(before)
    whole = make_job(out=tmp_path / "whole")
    train(whole)
    job = make_job(EVERY_STEP, out=tmp_path / "other")
    killed(job, 9)
    asked = measured(after)
    capsys.readouterr()
    train(replace(job, resume=True))
    assert asked == []
    assert "(recorded at the start)" in capsys.readouterr().err
    assert weights_of(job.out) == weights_of(whole.out) and figures(job.out) == figures(whole.out)
    assert precision_of(job.out) == precision_of(whole.out)


def precision_of(folder):
    return json.loads((folder / "metrics.json").read_text())["precision"]


def test_a_prepared_run_keeps_its_precision(make_job, measured, tmp_path):
    measured(FASTER)
    job = make_job("training.max_steps=2")
    train(job, prepare_only=True)
    measured(SLOWER)
    train(replace(job, resume=True))
    measured(FASTER)
    whole = make_job("training.max_steps=2", out=tmp_path / "whole")
    train(whole)
    assert weights_of(job.out) == weights_of(whole.out)


def test_the_measurement_matters_to_the_bits(make_job, measured, tmp_path):
    digests = set()
    for share in (FASTER, SLOWER):
        measured(share)
        job = make_job("training.max_steps=2", out=tmp_path / str(share))
        train(job)
        digests.add(weights_of(job.out))
    assert len(digests) == 2


def test_a_recipe_s_own_precision_is_not_measured(make_job, measured, dtypes):
    asked = measured(SLOWER)
    job = make_job("training.max_steps=2", "training.precision=bf16")
    train(job)
    assert asked == [] and dtypes == {"training": {"bf16"}, "embedding": {"bf16"}}
    assert precision_of(job.out)["training"] == "bf16"


def test_a_model_trained_on_the_way_takes_the_same(make_job, measured, tmp_path):
    """A precision in a recipe applies to this recipe only."""
    path = tmp_path / "precision.json"
    measured(FASTER)
    with recorded_precision(path, "auto") as outer:
        measured(SLOWER)
        with recorded_precision(tmp_path / "inner.json", "auto") as inner:
            assert inner == outer and set(inner.values()) == {"cpu", "bf16"}
        with recorded_precision(tmp_path / "own.json", "fp32") as own:
            assert set(own.values()) == {"cpu", "fp32"}
        assert precision.choose("training", "cpu") == "bf16"


@pytest.mark.parametrize("text", ["", "{", '{"cpu": {"training": "fp8"}}', "[]", '{"cpu": {}}'])
def test_a_damaged_record_is_refused_by_name(make_job, measured, text):
    measured(FASTER)
    job = make_job("training.max_steps=4", EVERY_STEP)
    killed(job, 3)
    WorkFolder(job.out).precision.write_text(text)
    with pytest.raises(InputError, match=r"precision.json: damaged; --overwrite starts"):
        train(replace(job, resume=True))


def test_a_record_of_another_device_stays_and_this_one_joins_it(tmp_path, measured):
    path = tmp_path / "precision.json"
    gpu = {work: "bf16" for work in precision.WORKLOADS}
    path.write_text(json.dumps({"cuda": gpu}))
    measured(SLOWER)
    with recorded_precision(path, "auto") as taken:
        assert taken == {"device": "cpu"} | dict.fromkeys(precision.WORKLOADS, "fp32")
        assert precision.choose("training", "cuda") == "bf16"
    assert json.loads(path.read_text())["cuda"] == gpu
    digest = sha256(path)
    with recorded_precision(path, "auto"):
        assert sha256(path) == digest
