"""Fingerprints of the inputs of a result: a recipe, its prerequisites, their settings."""

import hashlib
import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from genir.config import Recipe, load_recipe, recipe_names
from genir.overrides import apply_settings
from genir.text_files import read_text
from genir.toml_parser import parse_toml

Settings = tuple[str, ...]
DESCRIPTIVE_KEYS = ("description", "paper")


def digest_of(value: Any) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def raw_recipe(name: str, settings: Settings = ()) -> dict[str, Any]:
    """Return a recipe file with settings but without defaults, so new keys change no digest."""
    if name.endswith(".toml"):
        text = read_text(Path(name))
    else:
        file = resources.files("genir") / "recipes" / f"{name}.toml"
        text = file.read_text(encoding="utf-8")
    values = parse_toml(text)
    apply_settings(values, settings, Recipe)
    return values


def generator_of(values: dict[str, Any]) -> str:
    """Return the recipe that generates a recipe's pseudo-queries, or ""."""
    return _recipe(values.get("pseudo_queries", {}).get("source", ""))


def parent_of(values: dict[str, Any]) -> str:
    """Return the recipe whose model a recipe starts from, or ""."""
    return _recipe(values.get("model", {}).get("init_from", ""))


def _recipe(name: str) -> str:
    return name if name.endswith(".toml") or name in recipe_names() else ""


def recipe_inputs(name: str, settings: Settings = ()) -> list[Any]:
    """Return the contents of a recipe and, nested, of its prerequisites."""
    values = raw_recipe(name, settings)
    own = {key: value for key, value in values.items() if key not in DESCRIPTIVE_KEYS}
    return [own, *(recipe_inputs(*each) for each in _prerequisites(values, name, settings))]


def count_stages(name: str, settings: Settings = ()) -> int:
    """Return the number of training stages of a recipe and its prerequisites."""
    values = raw_recipe(name, settings)
    before = sum(count_stages(*each) for each in _prerequisites(values, name, settings))
    return before + (2 if "passage_stage" in values else 1)


def _prerequisites(
    values: dict[str, Any], name: str, settings: Settings
) -> Iterator[tuple[str, Settings]]:
    if generator_of(values):
        yield generator_of(values), ()
    if parent_of(values):
        yield parent_of(values), dev_split_settings(name, settings)


def dev_split_settings(name: str, settings: Settings) -> Settings:
    """Return settings that give a parent recipe the same dev questions as its child."""
    child = load_recipe(name, settings)
    parent = load_recipe(child.model.init_from).training
    keys = ("dev_queries", "seed")
    return tuple(
        f"training.{key}={getattr(child.training, key)}"
        for key in keys
        if getattr(child.training, key) != getattr(parent, key)
    )
