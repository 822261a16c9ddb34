"""Values of --set: parsed by the type of their key."""

import subprocess
import sys
from typing import Literal

import pytest
from pydantic import BaseModel

from genir.config import PseudoQueriesSection, load_recipe
from genir.errors import InputError
from genir.overrides import apply_settings, read_value
from genir.serving.cli import new
from genir.serving.settings import Settings
from genir.tasks import registry as tasks  # noqa: F401  the registries know the keys of variants
from genir.training.losses import registry as losses  # noqa: F401


@pytest.mark.parametrize("text", ["007", "true", "1.10", "1e5", "2024-01-02", "null", "nan", "[x]"])
def test_a_key_of_text_keeps_the_text(text):
    recipe = load_recipe(
        "default",
        [
            f"name={text}",
            f"description={text}",
            f"model.encoder={text}",
            f"pseudo_queries.source={text}",
            f"model.init_from={text}",
        ],
    )
    assert (
        recipe.name
        == recipe.description
        == recipe.pseudo_queries.source
        == recipe.model.init_from
        == text
    )
    assert recipe.model.options["encoder"] == text


@pytest.mark.parametrize(
    ("setting", "section", "key", "value"),
    [
        ("identifiers.levels=8", "identifiers", "levels", 8),
        ("model.word_set_size=0", "model", "word_set_size", 0),
        ("model.scale=5", "model", "scale", 5),
        ("model.row_init=random", "model", "row_init", "random"),
        ('model.encoder="a b"', "model", "encoder", "a b"),
        ("model.encoder=a b", "model", "encoder", "a b"),
    ],
)
def test_a_variant_s_keys_have_its_types(setting, section, key, value):
    recipe = load_recipe("default", [setting, "identifiers.scheme=residual"])
    found = getattr(recipe, section).options[key]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("order", [1, -1])
def test_the_variant_may_be_named_later(order):
    settings = ["losses.0.loss=distillation", "losses.0.teacher=007"][::order]
    (section,) = load_recipe("default", ["losses=[{}]", *settings]).losses
    assert section.options == {"teacher": "007"}


def test_lists_and_tables_are_toml():
    values = {}
    apply_settings(
        values, ['settings=["a=1", "b=2"]', "count=7", "drop=5e-1"], PseudoQueriesSection
    )
    assert values == {"settings": ["a=1", "b=2"], "count": 7, "drop": 0.5}
    settings = ["tasks=[{task = 'queries', weight = 2}]", "tasks.0.weight=3"]
    (task,) = load_recipe("default", settings).tasks
    assert (task.task, task.weight) == ("queries", 3.0)


class Section(BaseModel):
    maybe: int | None = None
    either: str | float = ""
    one: Literal["a", 1] = "a"


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("maybe", "7", 7), ("maybe", "true", "true"), ("maybe", "1.5", 1.5),
        ("either", "1.5", 1.5), ("either", "true", "true"), ("either", "2024-01-02", "2024-01-02"),
        ("one", "1", 1), ("one", "a", "a"), ("unknown", "7", 7), ("unknown", "x", "x"),
        ("maybe", "1\nother = 2", "1\nother = 2"),
    ],
)  # fmt: skip
def test_a_value_is_toml_only_if_the_key_takes_its_type(key, text, value):
    values = {}
    apply_settings(values, [f"{key}={text}"], Section)
    assert values == {key: value} and type(values[key]) is type(value)


def test_without_a_type_a_value_is_toml():
    assert [read_value(text) for text in ("7", "x", "true")] == [7, "x", True]


def test_a_value_of_another_type_is_refused_with_the_type():
    with pytest.raises(InputError, match=r"training\.epochs = 'true': .*valid number"):
        load_recipe("default", ["training.epochs=true"])
    with pytest.raises(InputError, match=r"training\.max_steps = 1\.5: .*valid integer"):
        load_recipe("default", ["training.max_steps=1.5"])


@pytest.mark.parametrize("name", ["pre_drain_s", "drain_s", "max_wait_ms"])
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_numbers_of_a_server_are_finite(name, value):
    flag = "--" + name.replace("_", "-")
    with pytest.raises(InputError, match=rf"^{flag} {value}: .*"):
        Settings.of({name: value})


DIGITS = "1" * 5000
DEEP = "[" * 5000


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (f"training.max_steps={DIGITS}", r"training\.max_steps = '1+: Unable to parse"),
        (f"training.max_steps={DEEP}", r"training\.max_steps = '\[+: Input should be"),
        (f"tasks.{DIGITS}.weight=1", "1' is not an index below"),
        ("tasks.\u0660.weight=2", "is not an index below"),
        ("tasks.00.weight=2", "'00' is not an index below"),
        ("training.seed=99999999999999999999", r"training\.seed = 9+: Input should be less than"),
        (".=1", r"--set '\.=1': a part of the key is empty; write section\.key=value"),
        ("training.=1", r"--set 'training\.=1': a part of the key is empty"),
    ],
)
def test_settings_beyond_pythons_limits_are_refused(setting, message):
    with pytest.raises(InputError, match=message):
        load_recipe("default", [setting])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (DIGITS, "line 2: an integer of more than 308 digits; write fewer"),
        (f"0x{'f' * 300}", "line 2: an integer of more than 308 digits"),
        (DEEP, "nested too deeply; write it flatter"),
        ("3 3", r"not valid TOML \(.*line 2"),
    ],
)
def test_recipe_files_beyond_pythons_limits_are_refused(tmp_path, value, message):
    path = tmp_path / "r.toml"
    path.write_text(f"[training]\nmax_steps = {value}")
    with pytest.raises(InputError, match=rf"r\.toml: {message}"):
        load_recipe(path)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (DEEP, "write it as JSON"),
        ('{"a": 1, "a": 2}', "the field 'a' is given twice; write it as JSON"),
    ],
)
def test_the_scope_of_a_token_loses_no_condition(tmp_path, where, message):
    with pytest.raises(InputError, match=message):
        new("shop", tmp_path / "tokens.json", where=where)
    assert not (tmp_path / "tokens.json").exists()


def test_types_do_not_depend_on_what_is_imported():
    """In a fresh process: no registry has been imported."""
    code = (
        "from genir import load_recipe; "
        "print(load_recipe('default', ['model.encoder=2024']).model.options)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{'encoder': '2024'}"
