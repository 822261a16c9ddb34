"""Training in two processes on one machine writes the same files, once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from genir.retriever import Retriever

TOP = Path(__file__).parents[2]


@pytest.mark.skipif(
    not torch.distributed.is_gloo_available(), reason="torch was built without gloo"
)
def test_two_processes_train_one_model(recipe_file, tiny_corpus, tiny_encoder, tmp_path):
    losses = [{"loss": "cross-entropy"}, {"loss": "margin"}, {"loss": "preference"}]
    losses.append({"loss": "distillation", "teacher": "dense", "encoder": str(tiny_encoder)})
    parts = ["\n".join(f"{k} = {json.dumps(v)}" for k, v in own.items()) for own in losses]
    recipe_file.write_text("\n[[losses]]\n".join([recipe_file.read_text(), *parts]))
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
               "train.py", recipe_file, "--corpus", tiny_corpus, "--out", tmp_path / "model",
               "--set", "training.epochs=2"]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=TOP,
        env=os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        output, errors = process.communicate(timeout=120)
    finally:
        process.terminate()  # also ends its children if they hang
    assert process.returncode == 0, errors
    assert output.count("genir search") == 1
    metrics = json.loads((tmp_path / "model" / "metrics.json").read_text())
    assert metrics["steps"] == 7  # 2 epochs of 112 examples, batch size 32
    assert len(Retriever.load(tmp_path / "model").search(["copy a file"], 5)[0]) == 5
    assert sorted(os.listdir(tmp_path)) == ["model", "tiny.toml"]
