"""A plan of rows that take a second each."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

SCRATCH = """
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
evaluations = 1
precision = "fp32"
"""
WRITER = '[identifiers]\nscheme = "passage"\nwords = 2\n[[tasks]]\ntask = "write-queries"\n'
WRITER += '[decoding]\nmode = "free"\n' + SCRATCH
TWO = """
[pseudo]
source = {writer}
count = 2
length = 6
[first.identifiers]
scheme = "passage"
words = 5
[[first.tasks]]
task = "queries"
[first.decoding]
beams = 2
[identifiers]
scheme = "url"
[[tasks]]
task = "written-passages"
words = 5
[decoding]
beams = 4
"""
BRIDGE = """
[identifiers]
scheme = "{scheme}"
{options}
[[tasks]]
task = "queries"
[[tasks]]
task = "title-lead"
[model]
encoder = {encoder}
lexical = 8
{start}
[training]
batch_size = 16
learning_rate = 0.01
head_learning_rate = 0.05
evaluations = 2
dev_queries = 8
"""
PLAN = """
[budget]
minutes = 0.004
timed = 2

[[collections]]
name = "small-unseen"
source = "small"
unseen = 0.25
queries = 12

[[rows]]
recipe = "{folder}/rows.toml"
collections = ["small-unseen"]
groups = ["table", "tasks"]

[[rows]]
recipe = "{folder}/rows.toml"
name = "rows-queries"
collections = ["small-unseen"]
settings = ['tasks=[{{task="queries"}}]']
groups = ["tasks"]

[[rows]]
recipe = "yet-to-come"
collections = ["small-unseen"]

[[ablations]]
group = "tasks"
title = "With and without the lead"

[[ablations.claims]]
text = "the lead helps"
better = "rows"
worse = "rows-queries"
measure = "Success@10"

[[ablations.claims]]
text = "it scales to the web"
not_testable = "the corpus has 40 documents"
"""


@pytest.fixture
def data(tiny_corpus, tmp_path):
    """A folder of collections that holds one, `small`."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "small").symlink_to(tiny_corpus)
    return folder


@pytest.fixture
def recipes(tiny_encoder, tmp_path):
    """A folder of tiny recipes: of rows, of codes that start from them, of two stages."""
    encoder = json.dumps(str(tiny_encoder))
    rows, writer = tmp_path / "rows.toml", tmp_path / "writer.toml"
    rows.write_text(BRIDGE.format(scheme="atomic", options="", encoder=encoder, start=""))
    start = f"start = {json.dumps(str(rows))}"
    codes = BRIDGE.format(scheme="residual", options="levels = 2\ncodes = 8", encoder=encoder,
                          start=start)  # fmt: skip
    (tmp_path / "codes.toml").write_text(codes)
    writer.write_text(WRITER)
    (tmp_path / "two.toml").write_text(TWO.format(writer=json.dumps(str(writer))) + SCRATCH)
    return tmp_path


@pytest.fixture
def plan_file(recipes):
    path = recipes / "plan.toml"
    path.write_text(PLAN.format(folder=recipes))
    return path


@pytest.fixture
def like_file(plan_file):
    """A plan in which `rows-queries` takes the steps of `rows`."""
    plan_file.write_text(
        plan_file.read_text().replace('-queries"\n', '-queries"\nlike = "rows"\n', 1)
    )
    return plan_file
