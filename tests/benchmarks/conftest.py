"""A plan of rows that train in a second each, on the tiny corpus."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

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
GENERATOR = f"""
[identifiers]
scheme = "passage"
words = 2
[[tasks]]
task = "write-queries"
[decoding]
mode = "text"
{SEQ2SEQ}"""
TWO_STAGES = f"""
[pseudo_queries]
source = GENERATOR
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
beams = 4
{SEQ2SEQ}"""
ENCODER = """
[identifiers]
SCHEME
[[tasks]]
task = "queries"
[[tasks]]
task = "title-lead"
[model]
encoder = ENCODER
lexical_dim = 8
START
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
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "small").symlink_to(tiny_corpus)
    return folder


@pytest.fixture
def recipes(tiny_encoder, tmp_path):
    """A folder of tiny recipes: `rows`, `codes` that start from it, `two` stages, a generator."""

    def write(name, text, **values):
        for key, value in values.items():
            text = text.replace(key, value)
        (tmp_path / f"{name}.toml").write_text(text)
        return json.dumps(str(tmp_path / f"{name}.toml"))

    encoder = json.dumps(str(tiny_encoder))
    rows = write("rows", ENCODER, SCHEME='scheme = "atomic"', ENCODER=encoder, START="")
    codes = 'scheme = "residual"\nlevels = 2\ncodes = 8'
    write("codes", ENCODER, SCHEME=codes, ENCODER=encoder, START=f"init_from = {rows}")
    write("two", TWO_STAGES, GENERATOR=write("generator", GENERATOR))
    return tmp_path


@pytest.fixture
def plan_file(recipes):
    path = recipes / "plan.toml"
    path.write_text(PLAN.replace("FOLDER", str(recipes)))
    return path
