import tomllib
from difflib import get_close_matches

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from genir import errors
from genir.config import Recipe, StrictModel, dump_recipe, load_recipe, recipe_names, validate
from genir.decoding.strategies.registry import check_strategy
from genir.errors import InputError, did_you_mean
from genir.identifiers.registry import SCHEMES, build_scheme
from genir.models.registry import MODELS
from genir.tasks.registry import TASKS
from genir.training.losses.registry import check_losses

TINY = """
name = "tiny"
[identifiers]
scheme = "residual"
levels = 4
[[tasks]]
task = "queries"
[[tasks]]
task = "spans"
weight = 0.5
lengths = [3, 8]
[model]
kind = "encoder-head"
[training]
epochs = 3
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def loaded(path, *settings):
    return load_recipe(path, settings)


def test_a_recipe_is_read_by_path(file):
    recipe = loaded(file)
    assert (recipe.name, recipe.training.epochs) == ("tiny", 3.0)
    assert recipe.identifiers.options == {"levels": 4}
    assert [(task.task, task.weight) for task in recipe.tasks] == [("queries", 1), ("spans", 0.5)]
    assert recipe.tasks[1].options == {"lengths": [3, 8]}
    assert recipe.model.options == {}
    assert recipe.decoding.softmax == "vocabulary"
    assert loaded(str(file)) == recipe


def test_a_recipe_without_a_name_is_called_after_its_file(tmp_path):
    (tmp_path / "short.toml").write_text('[[tasks]]\ntask = "queries"\n')
    assert loaded(tmp_path / "short.toml").name == "short"


# --- built-in recipes --------------------------------------------------------------------------


@pytest.mark.parametrize("name", recipe_names())
def test_built_in_recipes_are_valid(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description
    scheme = SCHEMES.find(recipe.identifiers.scheme)
    if not scheme.needs_tokenizer:
        build_scheme(recipe.identifiers)
    validate(scheme.Options, recipe.identifiers.options, name)
    validate(MODELS.find(recipe.model.kind).Options, recipe.model.options, name)
    for task in recipe.tasks:
        validate(TASKS[task.task].Options, task.options, name)
    check_losses(recipe)
    assert recipe.model.init_from in ("", *recipe_names())
    if recipe.passage_stage is not None:
        first = SCHEMES.find(recipe.passage_stage.identifiers.scheme)
        validate(first.Options, recipe.passage_stage.identifiers.options, name)
        validate(
            MODELS.find(recipe.passage_stage.model.kind).Options,
            recipe.passage_stage.model.options,
            name,
        )
        for task in recipe.passage_stage.tasks:
            validate(TASKS[task.task].Options, task.options, name)
    if recipe.pseudo_queries.source:
        assert (
            load_recipe(
                recipe.pseudo_queries.source, recipe.pseudo_queries.settings
            ).decoding.strategy
            == "text"
        )


@pytest.mark.parametrize("name", recipe_names())
def test_an_own_recipe_is_written_and_read_back(name, tmp_path):
    recipe = load_recipe(name)
    (tmp_path / "again.toml").write_text(dump_recipe(recipe))
    assert load_recipe(tmp_path / "again.toml") == recipe


def test_there_is_a_default():
    assert "default" in recipe_names()


# --- writing -----------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
numbers = st.one_of(st.integers(-(2**62), 2**62), st.floats(allow_nan=False, allow_infinity=False))
values = st.recursive(
    st.one_of(texts, numbers, st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
options = st.dictionaries(texts.filter(lambda key: key not in NAMED), values, max_size=3)
NAMED = ("scheme", "task", "weight", "kind", "init_from", "options", "model_extra")


@given(texts, options, st.lists(options, min_size=1, max_size=3), st.floats(1e-9, 1e9))
def test_any_recipe_is_written_and_read_back(text, some, tasks, rate):
    recipe = Recipe.model_validate(
        {
            "name": text,
            "paper": text,
            "identifiers": {"scheme": text, **some},
            "tasks": [{"task": text, "weight": rate, **others} for others in tasks],
            "model": some,
            "training": {"learning_rate": rate, "seed": 7},
        }
    )
    again = Recipe.model_validate(tomllib.loads(dump_recipe(recipe)))
    assert again == recipe
    assert dump_recipe(again) == dump_recipe(recipe)


# --- two stages --------------------------------------------------------------------------------

TWO = (
    TINY.replace("[model]", "[model]\nwidth = 8")
    + """
seed = 3
[passage_stage.identifiers]
scheme = "passage"
[[passage_stage.tasks]]
task = "spans"
lengths = [3, 8]
[passage_stage.training]
epochs = 1
"""
)


def test_a_first_stage_inherits_missing_keys(tmp_path):
    path = tmp_path / "two.toml"
    path.write_text(TWO)
    recipe = loaded(path, "training.max_steps=5", "passage_stage.decoding.beams=2", "model.depth=1")
    first = recipe.passage_stage
    assert (first.training.epochs, first.training.seed, first.training.max_steps) == (1, 3, 5)
    assert first.model.options == recipe.model.options == {"width": 8, "depth": 1}
    assert (first.decoding.beams, recipe.decoding.beams) == (2, 20)
    path.write_text(dump_recipe(recipe))
    assert loaded(path) == recipe
    assert loaded(path, "passage_stage.model.width=4").passage_stage.model.options == {
        "width": 4,
        "depth": 1,
    }


def test_a_first_stage_of_another_kind_takes_over_no_model(tmp_path):
    path = tmp_path / "two.toml"
    path.write_text(TWO + '[passage_stage.model]\nkind = "seq2seq"\n')
    assert loaded(path).passage_stage.model.options == {}


def test_only_a_second_stage_shares_its_answer_with_the_query(tmp_path):
    path = tmp_path / "two.toml"
    path.write_text(TWO)
    tome = "decoding.strategy=tome"
    check_strategy(loaded(path, tome, "decoding.query_weight=0.5"))
    with pytest.raises(InputError, match=r"query_weight = 1\.0"):
        check_strategy(loaded(path, tome, "decoding.query_weight=1.0"))
    with pytest.raises(InputError, match=r"\[passage_stage\.decoding\].* set only beams"):
        check_strategy(loaded(path, tome, "passage_stage.decoding.query_weight=0.5"))
    with pytest.raises(InputError, match=r"strategy = 'beam': unknown key 'query_weight'"):
        check_strategy(load_recipe("url", ["decoding.query_weight=0.5"]))
    with pytest.raises(InputError, match=r"strategy = 'beam': unknown key 'beam'; .* 'beams'"):
        check_strategy(load_recipe("url", ["decoding.beam=5"]))


def test_a_bad_first_stage_is_named(tmp_path):
    path = tmp_path / "two.toml"
    path.write_text(TWO)
    with pytest.raises(InputError, match=r"unknown key 'passage_stage\.trainin'"):
        loaded(path, "passage_stage.trainin.epochs=2")
    with pytest.raises(InputError, match=r"passage_stage.training.epochs = 0: .*greater than 0"):
        loaded(path, "passage_stage.training.epochs=0")
    with pytest.raises(InputError, match=r"passage_stage.training = 'fast'"):
        loaded(path, "passage_stage.training=fast")


# --- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "read"),
    [
        ("training.epochs=0.5", lambda r: r.training.epochs == 0.5),
        (" training.seed = 7", lambda r: r.training.seed == 7),
        ("training.learning_rate=1e-3", lambda r: r.training.learning_rate == 1e-3),
        ("training.precision=fp32", lambda r: r.training.precision == "fp32"),
        ('training.precision="fp32"', lambda r: r.training.precision == "fp32"),
        ("decoding.beams=7", lambda r: r.decoding.beams == 7),
        ("model.encoder=some/folder", lambda r: r.model.options == {"encoder": "some/folder"}),
        ("model.encoder=a=b", lambda r: r.model.options == {"encoder": "a=b"}),
        ("model.encoder=", lambda r: r.model.options == {"encoder": ""}),
        ("model.tied=true", lambda r: r.model.options == {"tied": True}),
        ("model.sizes=[1, 2]", lambda r: r.model.options == {"sizes": [1, 2]}),
        ("model.deep.er=1", lambda r: r.model.options == {"deep": {"er": 1}}),
        ("tasks.0.weight=2", lambda r: r.tasks[0].weight == 2),
        ("tasks.1.lengths.0=4", lambda r: r.tasks[1].options == {"lengths": [4, 8]}),
        ("tasks.1={task = 'lead'}", lambda r: r.tasks[1].task == "lead"),
        ("tasks=[{task = 'lead'}]", lambda r: [t.task for t in r.tasks] == ["lead"]),
        ("name=other", lambda r: r.name == "other"),
    ],
)
def test_a_setting_is_applied(file, setting, read):
    assert read(loaded(file, setting))


def test_the_last_setting_wins(file):
    assert loaded(file, "training.seed=1", "training.seed=2").training.seed == 2


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.epochs", r"--set 'training.epochs': write it as key=value"),
        ("=3", r"--set '=3': write it as key=value"),
        ("training.epoch=3", r"unknown key 'training.epoch'; did you mean 'epochs'\?"),
        ("trainin.epochs=3", r"unknown key 'trainin'; did you mean 'training'\?"),
        ("beams=3", r"unknown key 'beams'"),
        ("training.epochs=many", r"training.epochs = 'many': .*valid number"),
        ("training.epochs=0", r"training.epochs = 0: .*greater than 0"),
        ("training.epochs=inf", r"training.epochs = inf: .*finite"),
        ("training.epochs=nan", r"training.epochs = nan"),
        ("tasks.0.weight=inf", r"tasks.0.weight = inf: .*finite"),
        ("training.batch_size=1.5", r"training.batch_size = 1.5"),
        ("training.warmup=1", r"training.warmup = 1: .*less than 1"),
        ("training.precision=fp16", r"training.precision = 'fp16': .*'auto', 'bf16' or 'fp32'"),
        ("training=fast", r"training = 'fast'"),
        ("training.epochs.0=1", r"'epochs' holds a value, not a section"),
        ("tasks.2.weight=1", r"'2' is not an index below 2"),
        ("tasks.first.weight=1", r"'first' is not an index below 2"),
        ("tasks.-1=1", r"'-1' is not an index below 2"),
        ("tasks.1.lengths.0.x=1", r"'0' holds a value, not a section"),
        ("tasks=[]", r"tasks = \[\]: .*at least 1 item"),
        ("tasks.0.weight=true", r"tasks.0.weight = .true.: .*valid number"),
        ("training.seed=true", r"training.seed = .true.: .*valid integer"),
        ("training.seed=2024-01-02", r"training.seed = .2024-01-02.: .*valid integer"),
    ],
)
def test_a_bad_setting_is_named(file, setting, message):
    with pytest.raises(InputError, match=message):
        loaded(file, setting)


# --- invalid files -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = 3 3", "not valid TOML .*line 1"),
        ("a." * 100 + "a = 1", "line 1: a key of more than 64 parts; write tables"),
        ("#" * 2**20 + "\n\n", "more than 1,048,576 characters, unpacked; split it"),
        (
            '[training]\nepochs = 1\n[training]\nseed = 2\n[[tasks]]\ntask = "lead"',
            "not valid TOML",
        ),
        ("[training]\nepochs = 1", "the key 'tasks' is missing; add it"),
        ("[[tasks]]\nweight = 1", "the key 'tasks.0.task' is missing; add it"),
        ('tasks = "lead"', "tasks = 'lead'"),
        ('[[tasks]]\ntask = "lead"\nweight = "high"', "tasks.0.weight = 'high'"),
        ('[[tasks]]\ntask = "lead"\n[identifiers]\nscheme = 3', "identifiers.scheme = 3"),
        (
            '[[tasks]]\ntask = "lead"\n[training]\nepoch = 3\nseed = "x"',
            "'training.epoch'.*; .*training.seed = 'x'|training.seed = 'x'.*; .*'training.epoch'",
        ),
    ],
)
def test_a_bad_recipe_is_named_with_its_file(text, message, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"^{path}: .*({message})"):
        loaded(path)


def test_a_recipe_of_other_bytes_is_refused(tmp_path):
    path = tmp_path / "latin.toml"
    path.write_bytes('name = "café recipes"'.encode("latin-1"))
    with pytest.raises(InputError, match=f"{path}:1: not UTF-8 .*iconv -f ENCODING"):
        loaded(path)


@pytest.mark.parametrize("name", ["nothing.toml", "some/where", "/"])
def test_a_missing_file_is_named(name):
    with pytest.raises(InputError, match=rf"{name}: no such recipe file; .*default"):
        loaded(name)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(InputError, match=r"unknown recipe 'defualt'; did you mean 'default'\?"):
        loaded("defualt")


def test_few_of_many_known_names_are_compared_letter_by_letter(monkeypatch):
    compared = []

    def count(name, known, **options):
        compared.append((len(name), len(known)))
        return get_close_matches(name, known, **options)

    monkeypatch.setattr(errors, "get_close_matches", count)
    names = [f"field-{n}-{m}" for n in range(100) for m in range(200)] + ["f" * 100_000]
    assert "did you mean 'field-3-7'?" in did_you_mean("fiedl-3-7", names)
    did_you_mean("x" * 100_000, names)
    assert "did you mean" not in did_you_mean("f" * 100_000, ["f" * 100_000])
    assert max(compared) <= (errors.MAX_NAME_CHARS, errors.MAX_COMPARED_NAMES)


def test_of_many_known_names_the_ten_nearest_are_listed():
    """An error over 22,500 metadata fields had 304 kB."""
    hint = did_you_mean("k7x", [f"k{n}" for n in range(22_500)])
    assert hint.startswith("; did you mean 'k7'? Known: k7, ") and hint.endswith(" and 22,490 more")
    assert hint.count(", ") == 9 and len(hint) < 150
    assert did_you_mean("b", ["c", "a"]) == "; Known: a, c"


# --- validate ----------------------------------------------------------------------------------


class Inner(StrictModel):
    depth: int = 1


class Outer(StrictModel):
    inner: Inner = Inner()
    size: float = Field(default=1.0, gt=0)


def test_a_nested_unknown_key_is_answered_from_its_own_section():
    with pytest.raises(InputError, match=r"^here: unknown key 'inner.dpeth'; did you mean 'depth'"):
        validate(Outer, {"inner": {"dpeth": 3}}, "here")


def test_a_section_cannot_be_changed_later():
    with pytest.raises(ValueError, match="frozen"):
        validate(Outer, {}, "here").size = 2.0
