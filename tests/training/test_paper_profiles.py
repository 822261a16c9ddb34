"""Paper profiles: the authors' values, on random networks of their architecture in small sizes."""

import json
import re

import pytest
from published import genre, t5_tokenizer
from transformers import T5Config, T5ForConditionalGeneration
from typer.testing import CliRunner

from genir.cli import app
from genir.config import dump_recipe, is_recipe, load_recipe, profile_names, recipe_names
from genir.errors import InputError
from genir.retriever import Retriever
from genir.training.losses.registry import LOSSES
from genir.training.pipeline import TrainingJob, train

METHODS = ["dsi", "dsi-qg", "nci", "seal", "genre", "corpusbrain", "minder", "ultron-url"]
METHODS += ["ultron-pq", "ltrgr", "ripor", "pag", "tome", "dynamic-retriever-vanilla", "ddro"]
SIZES = {
    "hierarchical": ("identifiers.branches=3", "identifiers.leaf=5"),
    "residual": ("identifiers.levels=2", "identifiers.codes=8"),
    "product": ("identifiers.levels=4", "identifiers.codes=8"),
}
STEPS = [
    f"training.{setting}"
    for setting in ("max_steps=2", "batch_size=8", "source_length=32", "num_dev_evals=1",
                    "precision=fp32", "dev_queries=2")
]  # fmt: skip
KEPT = ("optimizer", "schedule", "learning_rate", "weight_decay", "warmup", "dropout",
        "label_smoothing", "max_norm", "gradient_accumulation_steps", "epochs")  # fmt: skip


@pytest.fixture(scope="session")
def networks(tiny_encoder, tmp_path_factory):
    """Folders of random networks by the names of the profiles' sources."""
    folder = tmp_path_factory.mktemp("networks")
    tokenizer = t5_tokenizer()
    shape = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    config = T5Config(vocab_size=len(tokenizer) + 5, decoder_start_token_id=0, **shape)
    T5ForConditionalGeneration(config).save_pretrained(folder / "t5")
    tokenizer.save_pretrained(folder / "t5")
    t5, bart = str(folder / "t5"), str(genre(folder / "bart"))
    return {
        "t5-base": t5,
        "t5-large": t5,
        "facebook/bart-large": bart,
        "bert-base-uncased": str(tiny_encoder),
        "minilm": str(tiny_encoder),
    }


def small(name, networks, folder):
    """Return the settings that give a profile small networks, and its parent by a file."""
    recipe = load_recipe(name)
    options = recipe.model.options
    encoder = networks[options.get("encoder", "minilm")]
    settings = [*STEPS, *SIZES.get(recipe.identifiers.scheme, ()), f"model.encoder={encoder}"]
    if "source" in options:
        settings.append(f"model.source={networks[options['source']]}")
    if "term_set_size" in options:
        settings.append("model.term_set_size=4")
    for number, loss in enumerate(recipe.losses):
        chosen = LOSSES.find(loss.loss).Options.model_validate(loss.options)
        if getattr(chosen, "teacher", "") in ("dense", "rrf"):
            settings.append(f"losses.{number}.encoder={networks['minilm']}")
    if recipe.pseudo_queries.source:
        (folder / "made.jsonl").write_text('{"document": "copy-file", "text": "made up"}\n')
        settings.append(f"pseudo_queries.source={folder / 'made.jsonl'}")
    if recipe.model.init_from:
        own = [*small(recipe.model.init_from, networks, folder), "model.init_from="]
        path = folder / "parent.toml"
        path.write_text(dump_recipe(load_recipe(recipe.model.init_from, own)))
        settings.append(f"model.init_from={path}")
    return settings


@pytest.fixture
def long_corpus(tiny_corpus, tmp_path):
    """The tiny corpus with pages of three paragraphs, which CorpusBrain's tasks need."""
    folder = tmp_path / "long"
    folder.mkdir()
    (folder / "qrels").mkdir()
    records = [json.loads(line) for line in (tiny_corpus / "corpus.jsonl").read_text().splitlines()]
    for record in records:
        record["text"] = "\n".join([" ".join([record["text"]] * 6)] * 3)
    (folder / "corpus.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    for name in ("queries.jsonl", "qrels/train.tsv"):
        (folder / name).write_text((tiny_corpus / name).read_text())
    return folder


def test_every_method_has_a_profile():
    assert {f"papers/{name}" for name in METHODS} <= set(profile_names())
    assert not set(profile_names()) & set(recipe_names())


@pytest.mark.parametrize("name", profile_names())
def test_a_profile_trains_two_steps_and_answers(name, networks, long_corpus, tmp_path):
    settings = small(name, networks, tmp_path)
    retriever = train(TrainingJob(name, long_corpus, tmp_path / "model", settings=settings))
    assert retriever.recipe.name == name
    assert json.loads(retriever.attachments["metrics.json"])["steps"] == 2
    for key in KEPT:  # the test changes sizes, not the method
        own = getattr(load_recipe(name).training, key)
        assert getattr(retriever.recipe.training, key) == own
    found = Retriever.load(tmp_path / "model").search(["clone a text"], k=3)[0]
    assert len({hit.key for hit in found}) == 3


@pytest.mark.parametrize("name", profile_names())
def test_a_profile_states_sources_and_parents_that_exist(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description and "arXiv" in recipe.paper
    assert load_recipe(name) == recipe.model_validate(recipe.model_dump())
    assert recipe.model.init_from in ("", *profile_names())
    assert is_recipe(name)


def test_every_value_of_a_profiles_training_has_a_source():
    """A value without a comment repeats the one above it, or only stops at `max_steps`."""
    from importlib import resources

    free = ("head_learning_rate", "source_length", "target_length", "epochs", "dropout",
            "label_smoothing", "weight_decay", "learning_rate")  # fmt: skip
    for name in profile_names():
        text = (resources.files("genir") / "recipes" / f"{name}.toml").read_text("utf-8")
        section = text.split("\n[training]\n")[1].split("\n[")[0]
        for line in filter(None, section.splitlines()):
            key = line.split(" = ")[0]
            assert "#" in line or key in free, f"{name}: {line}"
        assert re.search(r"^# .", text, re.MULTILINE), name


def test_the_command_lists_the_profiles():
    listed = CliRunner().invoke(app, ["recipes", "--papers"]).output
    assert all(name in listed for name in profile_names())
    assert "papers/" not in CliRunner().invoke(app, ["recipes"]).output


def test_an_unknown_profile_is_named():
    with pytest.raises(InputError, match="unknown recipe 'papers/dsj'; did you mean 'papers/dsi'"):
        load_recipe("papers/dsj")
    with pytest.raises(InputError, match=r"other/dsi: no such recipe file"):
        load_recipe("other/dsi")
