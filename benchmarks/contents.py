"""The contents of a recipe and of its parent recipes: the inputs that a result depends on."""

import hashlib
import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from genir.config import Recipe, load_recipe, recipe_names
from genir.settings import apply_settings
from genir.text_files import read_text
from genir.toml_text import parse_toml

UNREAD = ("description", "paper")
"""Keys of a recipe that change nothing."""


def exists(recipe: str) -> bool:
    """Tell whether there is such a recipe yet."""
    return recipe.endswith(".toml") or recipe in recipe_names()


def raw_recipe(name: str, settings: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return what stands in a recipe's file, with settings, but without any default.

    So that a new key of the toolkit, which changes nothing by default, makes no result stale.
    """
    if name.endswith(".toml"):
        text = read_text(Path(name))
    else:
        file = resources.files("genir") / "recipes" / f"{name}.toml"
        text = file.read_text(encoding="utf-8")
    values = parse_toml(text)
    apply_settings(values, settings, Recipe)
    return values


def source_of(values: dict[str, Any]) -> str:
    """Return the recipe that makes queries up for a recipe; "" where there is none."""
    return _recipe(values.get("pseudo", {}).get("source", ""))


def start_of(values: dict[str, Any]) -> str:
    """Return the recipe that a recipe starts from; "" where there is none."""
    return _recipe(values.get("model", {}).get("start", ""))


def _recipe(name: str) -> str:
    return name if exists(name) else ""


def recipe_facts(name: str, settings: tuple[str, ...] = ()) -> list[Any]:
    """Return the contents of a recipe and of its parent recipes."""
    values = raw_recipe(name, settings)
    facts = [{key: value for key, value in values.items() if key not in UNREAD}]
    return [*facts, *(recipe_facts(*part) for part in _parts(values, name, settings))]


def _parts(
    values: dict[str, Any], name: str, settings: tuple[str, ...]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the parent recipes, each with its settings."""
    if source_of(values):
        yield source_of(values), ()
    if start_of(values):
        yield start_of(values), held_out_alike(name, settings)


def earlier(name: str, settings: tuple[str, ...] = ()) -> set[str]:
    """Return the names of all recipes that are trained before a recipe."""
    parts = list(_parts(raw_recipe(name, settings), name, settings))
    return {part for part, _ in parts}.union(*(earlier(*part) for part in parts))


def held_out_alike(name: str, settings: tuple[str, ...]) -> tuple[str, ...]:
    """Return the settings with which a parent recipe holds out the same dev questions as its child.

    Empty where the parent does so without them.
    """
    own = load_recipe(name, settings)
    start = load_recipe(own.model.start).training
    pairs = (
        (key, getattr(own.training, key), getattr(start, key)) for key in ("dev_queries", "seed")
    )
    return tuple(f"training.{key}={mine}" for key, mine, other in pairs if mine != other)


def digest_of(facts: Any) -> str:
    """Return a digest of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
