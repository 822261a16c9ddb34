"""Every loss after a kill: its state outside of the weights is restored bit-equal."""

import json
from dataclasses import replace

import pytest
from interruptions import killed
from safetensors.numpy import load_file
from tiny import SCRATCH

from genir.errors import InputError
from genir.training.pipeline import TrainingJob, train

CODES = {"scheme": "residual", "levels": 2, "codes": 8}
LISTS = {"count": 3}
CASES = {
    "legal codes": (CODES, "encoder-head", [{"loss": "cross-entropy", "softmax": "trie"}]),
    "legal text": ({"scheme": "url"}, "seq2seq", [{"loss": "cross-entropy", "softmax": "trie"}]),
    "margin": (
        {"scheme": "atomic"},
        "encoder-head",
        [{"loss": "cross-entropy"}, {"loss": "margin"}],
    ),
    "margin of text": ({"scheme": "url"}, "seq2seq", [{"loss": "margin"} | LISTS]),
    "prefix margin": (CODES, "encoder-head", [{"loss": "prefix-margin", "teacher": "rrf"} | LISTS]),
    "preference": (CODES, "encoder-head", [{"loss": "preference"} | LISTS]),
    "distillation": (CODES, "seq2seq", [{"loss": "distillation", "teacher": "dense"} | LISTS]),
    "prefix distillation": ({"scheme": "url"}, "seq2seq", [{"loss": "prefix-distillation"}]),
}
TEACHERS = ("prefix-margin", "preference", "distillation", "prefix-distillation")


def recipe_of(case, encoder):
    """Return a recipe as TOML: eight steps with dropout, a checkpoint after each."""
    identifiers, kind, losses = CASES[case]
    model = (
        {"kind": "encoder-head", "word_set_size": 8 if identifiers["scheme"] == "atomic" else 0}
        if kind == "encoder-head"
        else SCRATCH | {"dropout": 0.1}
    )
    sections = {
        "[identifiers]": identifiers,
        "[[tasks]]": {"task": "queries"},
        "[model]": model | {"encoder": str(encoder)},
        "[training]": {"batch_size": 16, "max_steps": 8, "learning_rate": 0.01, "num_dev_evals": 1}
        | {"dev_queries": 4, "checkpoint_seconds": 0},
    }
    own = {"encoder": str(encoder)}
    parts = [*sections.items()]
    parts += [("[[losses]]", one | (own if one["loss"] in TEACHERS else {})) for one in losses]
    return "\n".join(
        "\n".join([head, *(f"{key} = {json.dumps(value)}" for key, value in values.items())])
        for head, values in parts
    )


def weights_of(folder):
    return {name: t.tobytes() for name, t in load_file(folder / "model.safetensors").items()}


@pytest.mark.parametrize("case", CASES)
def test_a_killed_training_ends_at_the_same_bits(case, tiny_encoder, tiny_corpus, tmp_path):
    file = tmp_path / "tiny.toml"
    file.write_text(recipe_of(case, tiny_encoder))
    whole = TrainingJob(str(file), tiny_corpus, tmp_path / "whole")
    train(whole)
    job = replace(whole, out=tmp_path / "model", resume=True)
    killed(job, 3)
    killed(job, 5)  # in the second epoch
    train(job)
    assert weights_of(job.out) == weights_of(whole.out)


def test_another_run_file_is_not_resumed_with(tiny_encoder, tiny_corpus, tmp_path):
    run, file = tmp_path / "teacher.run", tmp_path / "tiny.toml"
    run.write_text("train-0-0 Q0 copy-file 1 2.0 x\ntrain-0-0 Q0 copy-disk 2 1.0 x\n")
    given = {"teacher": str(run), "queries": str(tiny_corpus / "queries.jsonl")}
    text = recipe_of("preference", tiny_encoder)
    text += "".join(f"\n{key} = {json.dumps(value)}" for key, value in given.items())
    file.write_text(text)
    job = TrainingJob(str(file), tiny_corpus, tmp_path / "model", resume=True)
    killed(job, 3)
    before = run.read_text()
    run.write_text(before.replace("2.0", "3.0"))
    with pytest.raises(InputError, match=r"other inputs \(file .*teacher.run: sha256"):
        train(job)
    run.write_text(before)
    train(job)
