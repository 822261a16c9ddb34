"""Reference tables in Markdown, generated from the code: commands, recipe keys, routes, settings."""

import inspect
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

TOP = Path(__file__).parents[2]
RECIPES = TOP / "genir" / "recipes"
RESULTS = TOP / "docs" / "results" / "recipes"
SHOWN = ("Success@10", "RR@10")


def table(heads: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a Markdown table; `|` and line breaks in cells are escaped."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell(one) for one in line) + " |" for line in lines)


def cell(value: Any) -> str:
    """Return the text of a table cell."""
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")


# --- commands ------------------------------------------------------------------------------------


def cli() -> str:
    """Return a section for each command: help text, arguments, options."""
    from genir.cli import app

    program = typer.main.get_command(app)
    return "\n\n".join(_command(name, one) for name, one in _commands(program, "genir"))


def _commands(program: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, one in program.commands.items():
        if hasattr(one, "commands"):
            yield from _commands(one, f"{path} {name}")
        else:
            yield f"{path} {name}", one


def _command(name: str, command: Any) -> str:
    parameters = [one for one in command.params if not getattr(one, "hidden", False)]
    rows = [_parameter(one) for one in parameters]
    text = " ".join(_plain(command.help).split())
    return f"## `{name}`\n\n{text}\n\n" + table(("argument or option", "type", "meaning"), rows)


def _parameter(one: Any) -> tuple[str, str, str]:
    names = [*one.opts, *one.secondary_opts] if one.param_type_name == "option" else [one.name]
    shown = ", ".join(f"`{name}`" for name in names)
    default = one.default() if callable(one.default) else one.default
    note = " (required)" if one.required else ""
    if one.param_type_name == "option" and default not in (None, False, "", [], ()):
        note = f" Default: `{default}`."
    kind = one.display_type(typer.Context(typer.core.TyperCommand("genir")))
    return shown, f"`{str(kind).strip('<>')}`", f"{_plain(one.help)}{note}"


def _plain(text: str | None) -> str:
    """Return a help text without the escapes that it has for the terminal."""
    return (text or "").replace("\\[", "[")


# --- recipe keys ---------------------------------------------------------------------------------


def recipe_keys() -> str:
    """Return the sections of a recipe, then the keys of each scheme, task, loss and model."""
    from genir import config
    from genir.decoding.strategies.registry import STRATEGIES
    from genir.identifiers.registry import SCHEMES
    from genir.models.registry import MODELS
    from genir.tasks.registry import TASKS
    from genir.training.losses.registry import LOSSES

    parts = [
        _section("[identifiers]", config.IdentifierSection),
        _section("[[tasks]]", config.TaskSection),
        _section("[[losses]]", config.LossSection),
        _section("[model]", config.ModelSection),
        _section("[training]", config.TrainingSection),
        _section("[decoding]", config.DecodingSection),
        _section("[pseudo_queries]", config.PseudoQueriesSection),
        _section("[rerank]", config.RerankSection),
    ]
    parts += _variants("Schemes: `[identifiers] scheme`", SCHEMES)
    parts += _variants("Tasks: `[[tasks]] task`", TASKS)
    parts += _variants("Losses: `[[losses]] loss`", LOSSES)
    parts += _variants("Models: `[model] kind`", MODELS)
    parts += _variants("Search strategies: `[decoding] strategy`", STRATEGIES)
    return "\n\n".join(parts)


def schemes() -> str:
    """Return a table of the identifier schemes and their properties."""
    from genir.identifiers.registry import SCHEMES

    rows = [
        (f"`{name}`", _yes(one.unique), _yes(one.multiple_per_document), _yes(one.needs_vectors))
        for name, one in sorted(SCHEMES.items())
    ]
    return table(("scheme", "unique", "several per document", "fitted on vectors"), rows)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _section(name: str, model: type[BaseModel]) -> str:
    return f"## `{name}`\n\n{_fields(model)}"


def _variants(title: str, registry: Mapping[str, Any]) -> list[str]:
    parts = [f"## {title}"]
    for name, variant in sorted(registry.items()):
        parts.append(f"### `{name}`\n\n{_fields(variant.Options)}")
    return parts


def _fields(model: type[BaseModel]) -> str:
    """Return the docstring of a section or of a variant's options, and a table of its keys."""
    if not model.model_fields:
        return "No keys of its own."
    about = inspect.cleandoc(model.__doc__ or "")
    rows = [
        (f"`{name}`", _type(field.annotation), _default(field), field.description or "")
        for name, field in model.model_fields.items()
    ]
    return f"{about}\n\n" + table(("key", "type", "default", "meaning"), rows)


def _type(annotation: Any) -> str:
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return f"`{text.replace('typing.', '')}`"


def _default(field: Any) -> str:
    return "required" if field.is_required() else f"`{field.get_default(call_default_factory=True)!r}`"


# --- recipes -------------------------------------------------------------------------------------


def recipe_list() -> str:
    """Return a table of the recipes that ship with genir, from their files."""
    rows = []
    for name in sorted(path.stem for path in RECIPES.glob("*.toml")):
        recipe = tomllib.loads((RECIPES / f"{name}.toml").read_text(encoding="utf-8"))
        model = recipe.get("model", {})
        rows.append(
            (
                f"`{name}`",
                recipe.get("identifiers", {}).get("scheme", ""),
                model.get("kind", ""),
                f"`{model['init_from']}`" if "init_from" in model else "",
                recipe.get("training", {}).get("dropout", "0.1 (default)"),
            )
        )
    return table(("recipe", "identifiers", "model", "starts from", "dropout"), rows)


def profile_list() -> str:
    """Return a table of the paper profiles: network, optimisation and size of a training."""
    from genir.config import load_recipe, profile_names

    heads = ("profile", "network", "identifiers", "starts from", "optimizer, schedule", "rate",
             "examples a step", "length", "beams")  # fmt: skip
    rows = []
    for name in profile_names():
        one = load_recipe(name)
        training, options = one.training, one.model.options
        steps = training.batch_size * training.gradient_accumulation_steps
        duration = f"{training.max_steps:,} steps" if training.max_steps else f"{training.epochs:g} epochs"
        rows.append(
            (
                f"`{name}`",
                options.get("source", options.get("encoder", "")),
                one.identifiers.scheme,
                f"`{one.model.init_from}`" if one.model.init_from else "",
                f"{training.optimizer}, {training.schedule}",
                f"{training.learning_rate:g}",
                f"{steps:,}, {duration}",
                training.source_length,
                one.decoding.beams,
            )
        )
    return table(heads, rows)


def recipe(name: str) -> str:
    """Return the TOML file of a recipe."""
    return f"```toml\n{(RECIPES / f'{name}.toml').read_text(encoding='utf-8').rstrip()}\n```"


def figures(name: str) -> str:
    """Return a table of a recipe's results on the collections where it was measured."""
    rows = []
    for path in sorted(RESULTS.glob(f"*-{name}.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        if result["row"] != name:
            continue
        own = result["systems"]["genir"]
        steps = " + ".join(f"{part['steps']:,}" for part in result["trained"])
        unseen = [own["unseen"][one] for one in SHOWN] if "unseen" in own else ["", ""]
        shown = [one if one == "" else f"{one:.3f}" for one in (*map(own["all"].get, SHOWN), *unseen)]
        rows.append((result["collection"], *shown, steps))
    heads = ("collection", *SHOWN, *(f"{one}, unseen documents" for one in SHOWN), "training steps")
    if not rows:
        return "Not measured under a common budget."
    return f"`{name}`, from [all recipes under one budget](../results/recipes/index.md):\n\n{table(heads, rows)}"


# --- HTTP ----------------------------------------------------------------------------------------


def routes() -> str:
    """Return a table of the routes below `/v1`, from the server's OpenAPI schema."""
    from genir.serving.app import create_app

    schema = create_app().openapi()
    rows = [
        (f"`{method.upper()} {path}`", _first_line(operation))
        for path, operations in sorted(schema["paths"].items())
        for method, operation in operations.items()
        if path.startswith("/v1/")
    ]
    return table(("route", "description"), rows)


def _first_line(operation: Mapping[str, Any]) -> str:
    return str(operation.get("description", "")).strip().partition("\n\n")[0]


def server_settings() -> str:
    """Return a table of the settings of `genir serve`."""
    from genir.cli import app

    verb = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    return table(("argument or option", "type", "meaning"), [_parameter(one) for one in verb.params])
