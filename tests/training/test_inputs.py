"""What a training is given, and that it is the same when the training goes on."""

import pytest

from genir.config import load_recipe
from genir.errors import InputError
from genir.training.inputs import changed, given
from genir.training.job import train
from genir.training.loop import Trainer

LINE = '{"document": "copy-file", "text": "made up"}\n'


@pytest.fixture
def made(tmp_path):
    path = tmp_path / "made.jsonl"
    path.write_text(LINE)
    return path


@pytest.mark.parametrize("typos", [0, 0.5])
def test_files_of_tasks_are_known_by_their_contents(made, typos):
    task = f"{{task='pseudo-queries', file='{made}', typos={typos}}}"
    recipe = load_recipe("default", [f"tasks=[{{task='lead'}}, {task}]"])
    known = given(recipe, {"a": ["one"]})
    assert list(known["files"]) == [str(made)]
    assert changed(known, given(recipe, {"a": ["one"]})) == ""
    assert changed(known, given(recipe, {"a": ["two"]})) == "train queries"
    made.write_text(LINE * 2)
    assert changed(known, given(recipe, {"a": ["one"]})) == f"contents of {made}"


def test_another_file_of_a_task_is_not_resumed_with(make_job, made, monkeypatch):
    tasks = f"tasks=[{{task='queries'}}, {{task='pseudo-queries', file='{made}'}}]"
    job = make_job(tasks, "training.max_steps=3", resume=True)
    monkeypatch.setattr(Trainer, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(job)
    monkeypatch.undo()
    made.write_text(LINE * 2)
    with pytest.raises(InputError, match=r"begun with other contents of .*made.jsonl than these"):
        train(job)
    made.write_text(LINE)
    assert len(train(job).search(["clone a text"], 3)[0]) == 3


def interrupted(self):
    raise KeyboardInterrupt
