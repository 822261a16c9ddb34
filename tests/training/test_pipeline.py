"""Training from files to a model folder: outputs, bit-equal resuming, errors."""

import json
import os
import shutil
from dataclasses import replace

import pytest
from interruptions import crash, ctrl_c, interrupted

from genir.atomic_dirs import exclusive_lock, new_folder
from genir.config import load_recipe
from genir.corpus.query_digests import known_among
from genir.errors import InputError
from genir.manifest import sha256
from genir.retriever import Retriever
from genir.tasks.registry import build_mixture
from genir.training import publish
from genir.training.checkpoints import LOCK, WorkFolder
from genir.training.loop import Trainer
from genir.training.pipeline import train
from genir.training.recipe_checks import parent_overrides
from genir.updates.model_folder import TRAIN_QUERIES

BRIEF = "training.max_steps=4"


def test_the_model_folder_tells_how_it_was_trained(whole):
    names = {path.name for path in whole.iterdir()}
    assert {"recipe.toml", "model.safetensors", "model.json", "config.json", "tokenizer.json",
            "identifiers", "documents.sqlite", "queries.safetensors", "metrics.json",
            "training.png", "MODEL_CARD.md", "manifest.json"} <= names  # fmt: skip
    metrics = json.loads((whole / "metrics.json").read_text())
    assert metrics["recipe"] == "tiny" and metrics["steps"] == metrics["history"][-1]["step"] == 28
    assert metrics["dev"]["questions"] == 8 and metrics["dev"]["made_up"] is False
    assert (whole / "training.png").read_bytes().startswith(b"\x89PNG")
    card = (whole / "MODEL_CARD.md").read_text()
    assert card.startswith("---\nlibrary_name: genir") and "| documents | 40 |" in card
    assert 'scheme = "atomic"' in card and "8 questions (train queries held out)" in card
    assert (
        Retriever.load(whole).index.query_counts.sum() == 72
    )  # 80 train queries, 8 of them in dev
    assert sorted(os.listdir(whole.parent)) == ["model", "tiny.toml"]


def test_a_prepared_run_trains_to_the_same_bits(whole, make_job):
    job = make_job()
    prepared = train(job, prepare_only=True)
    assert not job.out.exists() and prepared.folder == WorkFolder(job.out).prepared
    assert not (WorkFolder(job.out).path / "checkpoint").exists()
    train(replace(job, resume=True))
    assert weights_of(job.out) == weights_of(whole)


def test_the_test_split_is_never_read(whole, make_job, tiny_corpus, tmp_path):
    corpus = tmp_path / "corpus"
    shutil.copytree(tiny_corpus, corpus)
    (corpus / "qrels" / "test.tsv").write_text("no qrels at all")
    asked = [json.loads(line) for line in (corpus / "queries.jsonl").read_text().splitlines()]
    asked = [query | {"text": "?"} if "test" in query["_id"] else query for query in asked]
    (corpus / "queries.jsonl").write_text("".join(json.dumps(query) + "\n" for query in asked))
    job = make_job(corpus=corpus)
    train(job)
    assert weights_of(job.out) == weights_of(whole)


def weights_of(folder):
    return sha256(folder / "model.safetensors")


def test_a_corpus_without_queries_trains_and_describes_dev(make_job, tiny_corpus):
    job = make_job(BRIEF, corpus=tiny_corpus / "corpus.jsonl")
    train(job)
    assert json.loads((job.out / "metrics.json").read_text())["dev"]["made_up"] is True
    assert "spans cut from the documents" in (job.out / "MODEL_CARD.md").read_text()


def test_another_seed_is_another_training(whole, make_job):
    job = make_job("training.seed=1")
    train(job)
    assert weights_of(job.out) != weights_of(whole)


EVERY_STEP, LATER = "training.checkpoint_seconds=0", "training.checkpoint_seconds=60"


@pytest.mark.parametrize(
    ("steps", "how", "saved"),
    [
        ([1], ctrl_c, LATER),
        ([9, 12], ctrl_c, LATER),  # in the second and in the third epoch
        ([20], crash, LATER),  # before the first checkpoint
        ([2, 20], crash, EVERY_STEP),
    ],
)
def test_a_resumed_training_ends_at_the_same_bits(whole, make_job, steps, how, saved):
    job = make_job(saved)
    for count in steps:
        interrupted(job, count, how)
        assert not job.out.exists()
        job = replace(job, resume=True)
    train(job)
    assert weights_of(job.out) == weights_of(whole)
    assert figures(job.out) == figures(whole)


def figures(folder):
    """Return the metrics of a training without its duration."""
    metrics = json.loads((folder / "metrics.json").read_text())
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in metrics["history"]]
    return metrics["steps"], metrics["dev"]["RR@10"], rows


@pytest.mark.parametrize(
    "place", ["pipeline.build_retriever", "publish.draw_curve", "publish.move_folder"]
)
def test_a_kill_before_or_after_the_steps_costs_none(make_job, monkeypatch, tmp_path, place):
    job = make_job(BRIEF)
    with monkeypatch.context() as patch:
        patch.setattr(f"genir.training.{place}", lambda *arguments: crash())
        with pytest.raises(KeyboardInterrupt):
            train(job)
    assert not job.out.exists()
    train(replace(job, resume=True))
    assert json.loads((job.out / "metrics.json").read_text())["steps"] == 4
    assert sorted(os.listdir(tmp_path)) == ["model", "tiny.toml"]


def test_a_kill_between_the_last_two_acts_leaves_nothing_to_do(make_job, monkeypatch, tmp_path):
    job = make_job(BRIEF)
    with monkeypatch.context() as patch:
        patch.setattr(WorkFolder, "close", lambda self: crash())
        with pytest.raises(KeyboardInterrupt):
            train(job)
    stamp = (job.out / "manifest.json").stat().st_mtime_ns
    train(replace(job, resume=True))
    assert (job.out / "manifest.json").stat().st_mtime_ns == stamp
    assert sorted(os.listdir(tmp_path)) == ["model", "tiny.toml"]


def test_ctrl_c_in_the_last_step_stops_before_the_model_is_finished(make_job):
    interrupted(make_job(BRIEF), 4)
    assert not make_job().out.exists()
    assert len(train(make_job(BRIEF, resume=True)).documents) == 40


# --- errors --------------------------------------------------------------------------------------


def test_resuming_with_other_settings_is_refused(make_job):
    interrupted(make_job(BRIEF), 2)
    other = make_job("training.learning_rate=0.001", resume=True)
    message = r"setting training.max_steps: 4 then, 0 now\); restore .* --overwrite"
    with pytest.raises(InputError, match=rf"model.training: was made from .*{message}"):
        train(other)
    train(make_job(BRIEF, resume=True))
    with pytest.raises(InputError, match=rf"model: was made from other inputs .*{message}"):
        train(other)


def test_resuming_with_other_queries_is_refused(make_job, tiny_corpus, tmp_path):
    interrupted(make_job(BRIEF), 2)
    lines = (tiny_corpus / "qrels" / "train.tsv").read_text().splitlines(keepends=True)
    (tmp_path / "fewer.tsv").write_text("".join(lines[:-1]))
    other = make_job(BRIEF, queries=tiny_corpus / "queries.jsonl", qrels=tmp_path / "fewer.tsv")
    message = r"train queries: 80 queries, sha256 \w{12} then, 79 queries, sha256 \w{12} now"
    with pytest.raises(InputError, match=message):
        train(replace(other, resume=True))
    train(make_job(BRIEF, resume=True))


def test_an_interrupted_training_is_not_overwritten_by_accident(make_job):
    interrupted(make_job(BRIEF), 2)
    with pytest.raises(InputError, match=r"interrupted training; --resume .* --overwrite"):
        train(make_job(BRIEF))
    train(make_job(BRIEF, overwrite=True))


def test_the_old_model_is_kept_until_the_new_one_is_complete(make_job):
    job = make_job("training.max_steps=2")
    train(job)
    before = weights_of(job.out)
    with pytest.raises(InputError, match=r"model: exists already; .* --overwrite"):
        train(make_job("training.max_steps=3"))
    longer = make_job("training.max_steps=3", overwrite=True)
    interrupted(longer, 2)
    assert weights_of(job.out) == before
    train(replace(longer, resume=True))
    assert json.loads((job.out / "metrics.json").read_text())["steps"] == 3


def test_a_link_to_a_model_folder_stays_a_link(make_job, tmp_path):
    (tmp_path / "disk").mkdir()
    train(make_job("training.max_steps=1", out=tmp_path / "disk" / "real"))
    (tmp_path / "model").symlink_to(tmp_path / "disk" / "real")
    train(make_job("training.max_steps=2", overwrite=True))
    assert (tmp_path / "model").is_symlink()
    output = json.loads((tmp_path / "disk" / "real" / "metrics.json").read_text())
    assert output["steps"] == 2 and os.listdir(tmp_path / "disk") == ["real"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("tasks.0.task=query",), "unknown task 'query'; did you mean 'queries'"),
        (("model.kind=encoder-hea",), "unknown kind 'encoder-hea'; did you mean 'encoder-head'"),
        (("identifiers.scheme=atom",), "unknown scheme 'atom'; did you mean 'atomic'"),
        (("model.encoder=/not/there/model",), "cannot load '/not/there/model'"),
        (("model.init_from=/not/there/model",), "/not/there/model: no such model folder"),
    ],
)
def test_a_bad_recipe_leaves_no_trace(make_job, tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        train(make_job(*settings))
    assert sorted(os.listdir(tmp_path)) == ["tiny.toml"]


def test_tasks_with_nothing_to_say_leave_no_trace(make_job, tiny_corpus, recipe_file, tmp_path):
    tasks = recipe_file.read_text().replace('[[tasks]]\ntask = "title-lead"', "")
    recipe_file.write_text(tasks)
    with pytest.raises(InputError, match="queries make no example of this corpus"):
        train(make_job(corpus=tiny_corpus / "corpus.jsonl"))
    assert sorted(os.listdir(tmp_path)) == ["tiny.toml"]


# --- a recipe that starts from another -----------------------------------------------------------


@pytest.fixture
def codes_file(recipe_file):
    """A recipe of residual codes that starts from the tiny one; 7 steps each."""
    recipe_file.write_text(recipe_file.read_text().replace("epochs = 4", "epochs = 1"))
    path = recipe_file.with_name("codes.toml")
    text = recipe_file.read_text().replace('name = "tiny"', 'name = "codes"')
    text = text.replace("word_set_size = 8\n", "")
    text = text.replace("[model]", f"[model]\ninit_from = {json.dumps(str(recipe_file))}")
    path.write_text(text.replace('scheme = "atomic"', 'scheme = "residual"\nlevels = 2\ncodes = 8'))
    return path


def test_a_recipe_trains_the_one_it_starts_from_first(make_job, codes_file, tmp_path):
    parent = make_job(out=tmp_path / "parent")
    train(parent)
    job = make_job(recipe=str(codes_file))
    assert len({hit.key for hit in train(job).search(["copy a file"], 40)[0]}) == 40
    assert sorted(os.listdir(tmp_path)) == ["codes.toml", "model", "parent", "tiny.toml"]
    ready = make_job(
        f"model.init_from={parent.out}", recipe=str(codes_file), out=tmp_path / "ready"
    )
    train(ready)
    assert weights_of(ready.out) == weights_of(job.out)


def test_a_parent_with_other_dev_queries_is_reported(make_job, codes_file, tmp_path, capsys):
    parent = make_job("training.max_steps=2", out=tmp_path / "parent")
    train(parent)
    start = f"model.init_from={parent.out}"
    # 300 is another number, but a tenth of the queries is held out in both trainings.
    for seed, count, output in ((0, 500, False), (0, 300, False), (0, 1, True), (5, 500, True)):
        given = (start, f"training.seed={seed}", f"training.dev_queries={count}",
                 "training.max_steps=2", "model.word_set_size=0")  # fmt: skip
        train(make_job(*given, recipe=str(codes_file), out=tmp_path / f"{seed} {count}"))
        found = capsys.readouterr().err
        assert ("parent: held out other queries" in found) == output
    assert "--set training.dev_queries=500 --set training.seed=0 holds out the same" in found


def test_a_start_from_other_queries_is_noted_and_its_queries_count_as_known(
    make_job, codes_file, tiny_corpus, tmp_path, capsys
):
    other = tmp_path / "other.tsv"
    rows = (tiny_corpus / "qrels" / "test.tsv").read_text()
    other.write_text(rows)
    files = {"queries": tiny_corpus / "queries.jsonl", "qrels": other}
    parent = make_job("training.max_steps=2", out=tmp_path / "parent", **files)
    train(parent)
    start = f"model.init_from={parent.out}"
    child = train(make_job(start, "training.max_steps=2", recipe=str(codes_file)))
    assert "parent: was trained on other queries" in capsys.readouterr().err
    texts = [json.loads(line)["text"] for line in files["queries"].read_text().splitlines()]
    assert known_among(texts, child.attachments[TRAIN_QUERIES]) == set(texts)


def test_queries_of_a_task_s_file_count_as_known_and_dev_questions_are_left_out(
    make_job, tiny_corpus, tmp_path
):
    first = json.loads((tiny_corpus / "queries.jsonl").read_text().splitlines()[0])["text"]
    made = tmp_path / "made.jsonl"
    lines = [{"document": "copy-file", "text": text} for text in (first.upper(), "made up")]
    made.write_text("".join(json.dumps(line) + "\n" for line in lines))
    tasks = f"tasks=[{{task='queries'}}, {{task='pseudo-queries', file='{made}'}}]"
    retriever = train(make_job(tasks, "training.max_steps=2"))
    known = known_among([first, "made up", "no one asked"], retriever.attachments[TRAIN_QUERIES])
    assert known == {first, "made up"}
    (task, _), *_ = build_mixture(retriever.recipe.tasks[1:], 0).tasks
    task.leave_out({first: frozenset({"copy-file"})})
    assert list(task.own_queries()) == ["made up"]


@pytest.mark.parametrize("steps", [4, 10])
def test_a_kill_in_either_training_is_resumed(make_job, codes_file, tmp_path, steps):
    job = make_job(recipe=str(codes_file))
    train(replace(job, out=tmp_path / "whole"))
    interrupted(job, steps)
    train(replace(job, resume=True))
    assert weights_of(job.out) == weights_of(tmp_path / "whole")
    assert sorted(os.listdir(tmp_path)) == ["codes.toml", "model", "tiny.toml", "whole"]


def test_held_out_queries_are_unseen(make_job, codes_file, monkeypatch):
    seen, real = [], Trainer.__init__

    def note(self, retriever, split, *rest, **named):
        seen.append((retriever.recipe.training, split))
        real(self, retriever, split, *rest, **named)

    monkeypatch.setattr(Trainer, "__init__", note)
    given = ("training.dev_queries=5", "training.seed=3", "training.max_steps=2")
    train(make_job(*given, recipe=str(codes_file)))
    (parent, before), (_, split) = seen
    assert (parent.seed, parent.max_steps) == (3, 2)
    assert before.questions == split.questions and len(split.questions) == 5
    learned = {text for texts in before.train.values() for text in texts}
    assert not learned & split.questions.keys()


def test_a_start_of_another_kind_is_refused_before_it_is_trained(make_job, tmp_path):
    with pytest.raises(InputError, match=r"'title' makes a 'seq2seq' model.* a 'encoder-head' one"):
        train(make_job("model.init_from=title"))
    assert sorted(os.listdir(tmp_path)) == ["tiny.toml"]


def test_settings_shared_with_the_parent_are_passed_to_it(
    make_job, codes_file, recipe_file, tiny_encoder
):
    recipe_file.write_text(recipe_file.read_text().replace(str(tiny_encoder), "no such encoder"))
    train(make_job(BRIEF, f"model.encoder={tiny_encoder}", recipe=str(codes_file)))


def test_a_start_reads_no_more_tokens_than_the_encoder_that_is_handed_down(
    make_job, codes_file, recipe_file, tiny_encoder
):
    text = recipe_file.read_text().replace("[model]", "[model]\nlength = 5000")
    recipe_file.write_text(text.replace("[training]", "[training]\nsource_length = 5000"))
    own = (f"model.encoder={tiny_encoder}", "model.length=16", "training.source_length=12")
    train(make_job(BRIEF, *own, recipe=str(codes_file)))
    recipe = load_recipe(str(codes_file), own)
    assert parent_overrides(recipe)[1:] == ["model.length=16", "training.source_length=12"]
    recipe_file.write_text(text.replace("[training]", "[training]\nsource_length = 8"))
    assert parent_overrides(recipe)[2] == "training.source_length=8"


def test_a_target_created_during_training_stays(make_job, monkeypatch):
    job = make_job(BRIEF, overwrite=True)
    theirs = job.out / "notes.txt"
    draw = publish.draw_curve

    def draw_late(*arguments):
        theirs.parent.mkdir()
        theirs.write_text("mine")
        draw(*arguments)

    monkeypatch.setattr(publish, "draw_curve", draw_late)
    with pytest.raises(InputError, match="not a model folder"):
        train(job)
    assert theirs.read_text() == "mine"


def test_a_recipe_cannot_start_from_itself(make_job, recipe_file):
    with pytest.raises(InputError, match="a recipe cannot start from itself"):
        train(make_job(f"model.init_from={recipe_file}"))


def test_overwriting_replaces_nothing_but_a_model(make_job):
    job = make_job(overwrite=True)
    job.out.mkdir()
    (job.out / "corpus.jsonl").write_text("mine")
    with pytest.raises(InputError, match=r"not a model folder.*another path"):
        train(job)
    assert (job.out / "corpus.jsonl").read_text() == "mine"


@pytest.mark.parametrize("name", ["notes.txt", ".env", "tmp.txt", ".best.previous", ".x.part"])
def test_a_folder_that_has_the_work_folders_name_by_chance_is_left_alone(name, make_job):
    job = make_job(overwrite=True)
    theirs = job.out.with_name(f"{job.out.name}.training") / name
    theirs.parent.mkdir()
    theirs.write_text("mine")
    with pytest.raises(InputError, match=f"{name}: was not written by genir"):
        train(job)
    assert theirs.read_text() == "mine"


def test_files_that_a_killed_training_left_are_its_own(make_job):
    work = WorkFolder(make_job().out)
    work.path.mkdir()
    for name in (".lock", ".corpus.sqlite.123.part-journal", "precision.json.partial"):
        (work.path / name).touch()
    killed = new_folder(work.finished)
    killed.__enter__()  # and the block is never left
    work.refuse_foreign()
    work.remove()
    assert not work.path.exists()


def test_pages_with_queries_of_their_own_and_a_base_url(make_job, tmp_path):
    site = tmp_path / "site"
    (site / "qrels").mkdir(parents=True)
    for number in range(6):
        (site / f"p{number}.md").write_text(f"---\ntitle: 00{number}\n---\nPage {number} on disks.")
    (site / "queries.tsv").write_text("q0\twhich disk?\nq1\tanother disk\n")
    (site / "qrels/train.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq0\tp0.md\t1\nq1\tp0.md\t1\n"
    )
    retriever = train(make_job(BRIEF, corpus=site, base_url="https://x.org/docs"))
    assert retriever.index.query_counts.tolist() == [2, 0, 0, 0, 0, 0]
    assert retriever.index.base_url == "https://x.org/docs"
    found = retriever.documents.find("p3.md")
    assert (found.url, found.title) == ("https://x.org/docs/p3", "003")


def test_resuming_a_finished_training_leaves_foreign_files(make_job, whole):
    job = make_job(resume=True)
    shutil.copytree(whole, job.out)
    work = WorkFolder(job.out)
    work.path.mkdir()
    (work.path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt: was not written by genir"):
        train(job)
    assert (work.path / "notes.txt").read_text() == "mine"


def test_resuming_a_finished_training_leaves_the_work_of_another(make_job, whole, capfd):
    interrupted(make_job("training.max_steps=3"), 2)
    job = make_job(resume=True)
    shutil.copytree(whole, job.out)
    train(job)
    assert "contains an interrupted training of other inputs" in capfd.readouterr().err
    assert WorkFolder(job.out).checkpoint.is_dir()
    train(make_job("training.max_steps=3", resume=True, overwrite=True))


def test_resuming_a_finished_training_leaves_the_work_of_a_process(make_job, whole):
    job = make_job(resume=True)
    shutil.copytree(whole, job.out)
    work = WorkFolder(job.out)
    work.path.mkdir()
    with exclusive_lock(work.path / LOCK, "it"), pytest.raises(InputError, match="another process"):
        train(job)
    assert (work.path / LOCK).exists()
    train(job)
    assert not work.path.exists()


@pytest.mark.parametrize("field", ["corpus", "queries", "recipe"])
def test_a_training_does_not_replace_its_inputs(make_job, whole, field):
    job = make_job(BRIEF, overwrite=True)
    shutil.copytree(whole, job.out)
    source = {"corpus": job.corpus / "corpus.jsonl", "recipe": job.recipe,
              "queries": job.corpus / "queries.jsonl"}[field]  # fmt: skip
    inside = job.out / (".in.toml" if field == "recipe" else ".hidden.jsonl")
    shutil.copy(source, inside)
    given = {field: str(inside) if field == "recipe" else inside}
    if field == "queries":
        given["qrels"] = job.corpus / "qrels" / "train.tsv"
    with pytest.raises(
        InputError, match=r"would be removed (when --out|with the model).* is replaced; move it"
    ):
        train(replace(job, **given))
    shutil.move(inside, job.out / "own.txt")
    with pytest.raises(InputError, match=r"own\.txt: not listed in manifest\.json; remove it"):
        train(job)
    assert (job.out / "own.txt").is_file()


def test_a_training_does_not_remove_its_queries_with_its_working_folder(make_job):
    interrupted(make_job(BRIEF), 2)
    job = make_job(BRIEF)
    work = WorkFolder(job.out)
    work.pseudo.write_text('{"query": "a", "document": "b"}\n')
    job = make_job(BRIEF, f"pseudo_queries.source={json.dumps(str(work.pseudo))}", overwrite=True)
    with pytest.raises(InputError, match=r"pseudo_queries\.source: .* would be removed"):
        train(job)
    assert work.pseudo.is_file()
