"""A plan of rows that train in a second each, on the tiny corpus."""

import json

import pytest

GENERATOR = """
[identifiers]
scheme = "passage"
words = 2
[[tasks]]
task = "write-queries"
[decoding]
strategy = "text"
"""
TWO_STAGES = """
[pseudo_queries]
source = "FOLDER/generator.toml"
count = 2
length = 6
[passage_stage.identifiers]
scheme = "passage"
words = 5
[[passage_stage.tasks]]
task = "queries"
[passage_stage.decoding]
beams = 2
[identifiers]
scheme = "url"
[[tasks]]
task = "written-passages"
words = 5
[decoding]
strategy = "tome"
beams = 4
"""
SEQ2SEQ = """
[model]
kind = "seq2seq"
source = "scratch"
vocabulary_size = 400
width = 16
heads = 2
layers = 1
feedforward = 32
[training]
batch_size = 16
learning_rate = 0.01
source_length = 24
dev_queries = 4
num_dev_evals = 1
precision = "fp32"
"""
ENCODER = """
[identifiers]
scheme = SCHEME
[[tasks]]
task = "queries"
[[tasks]]
task = "title-lead"
[model]
encoder = ENCODER
[training]
batch_size = 16
learning_rate = 0.01
head_learning_rate = 0.05
num_dev_evals = 2
dev_queries = 8
"""
PLAN = """
settings = ["training.weight_decay=0.02"]
[[collections]]
name = "small-unseen"
source = "small"
unseen = 0.25
queries = 12
[[rows]]
recipe = "FOLDER/rows.toml"
steps = { small-unseen = [3] }
groups = ["table", "tasks"]
[[rows]]
name = "rows-queries"
recipe = "FOLDER/rows.toml"
steps = { small-unseen = [3] }
settings = ['tasks=[{task="queries"}]']
groups = ["tasks"]
[[ablations]]
group = "tasks"
title = "With and without the lead"
[[ablations.claims]]
text = "the lead helps"
better = "rows"
worse = "rows-queries"
measure = "Success@10"
"""


@pytest.fixture
def data(tiny_corpus, tmp_path):
    """A folder of collections that contains one, `small`."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "small").symlink_to(tiny_corpus)
    return tmp_path / "data"


@pytest.fixture
def recipes(tiny_encoder, tmp_path):
    """A folder of tiny recipes: `rows`, `codes` that start from it, `two` stages, a generator."""
    rows = ENCODER.replace("ENCODER", json.dumps(str(tiny_encoder)))
    codes = rows.replace("[training]", f'init_from = "{tmp_path}/rows.toml"\n[training]')
    for name, text in {
        "rows": rows.replace("SCHEME", '"atomic"'),
        "codes": codes.replace("SCHEME", '"residual"\nlevels = 2\ncodes = 8'),
        "two": TWO_STAGES.replace("FOLDER", str(tmp_path)) + SEQ2SEQ,
        "generator": GENERATOR + SEQ2SEQ,
    }.items():
        (tmp_path / f"{name}.toml").write_text(text)
    return tmp_path


@pytest.fixture
def plan_file(recipes):
    path = recipes / "plan.toml"
    path.write_text(PLAN.replace("FOLDER", str(recipes)))
    return path
