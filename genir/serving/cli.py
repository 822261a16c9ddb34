"""The CLI verbs `genir serve` and `genir token`."""

from collections.abc import Callable
from inspect import Parameter, signature
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, get_args, get_origin

import typer

from genir.console import print_line
from genir.errors import InputError
from genir.manifest import require_folder
from genir.process_memory import limit_onednn_cache
from genir.serving.settings import Settings

token_app = typer.Typer(help="Create bearer tokens for a server.", no_args_is_help=True)


def add_settings_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Add a CLI option for each setting to a verb, which receives them as keyword arguments."""
    own = [one for one in signature(verb).parameters.values() if one.kind != Parameter.VAR_KEYWORD]
    options = [_option(name) for name in Settings.model_fields]
    verb.__signature__ = signature(verb).replace(parameters=own + options)  # type: ignore[attr-defined]
    return verb


def _option(name: str) -> Parameter:
    field = Settings.model_fields[name]
    kind, flag = _plain(field.annotation), "--" + name.replace("_", "-")
    text = f"{field.description}" + ("" if field.default in (None, (), False) else
                                     f"; default: {_shown(field.default)}")  # fmt: skip
    names = [f"{flag}/--no-{flag[2:]}"] if kind is bool else [flag]
    option = typer.Option(*names, help=text, show_default=False, rich_help_panel="Settings")
    return Parameter(
        name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _plain(annotation: Any) -> Any:
    """Return the option's type for typer: without None, and a list for a tuple."""
    if isinstance(annotation, UnionType):
        annotation = next(one for one in get_args(annotation) if one is not type(None))
    return list[str] if get_origin(annotation) is tuple else annotation


@add_settings_options
def serve(
    model: Annotated[
        Path, typer.Argument(help="a model folder", metavar="MODEL", show_default=False)
    ],
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen on", min=0, max=65535)] = 8000,
    browse: Annotated[bool, typer.Option(help="open the page in a browser")] = False,
    **settings: Any,
) -> None:
    """Answer queries over HTTP, with a search page at /."""
    require_folder(model)
    limit_onednn_cache()
    from genir.serving.server import serve

    serve(model, host, port, browse, settings=Settings.of(settings))


@token_app.command()
def new(
    name: Annotated[str, typer.Argument(help="name of the token's owner", show_default=False)],
    file: Annotated[Path, typer.Option(help="token file; created if missing")] = Path(
        "tokens.json"
    ),
    role: Annotated[str, typer.Option(help="read, or write (which may read too)")] = "read",
    where: Annotated[
        str | None,
        typer.Option(help='filter on the documents that it may access: {"tenant": "a"}'),
    ] = None,
    allow: Annotated[
        list[str] | None, typer.Option(help="key of a document that it may access; may be repeated")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="name of the only model folder that it may query")
    ] = None,
) -> None:
    """Create a token and print its secret, which is stored nowhere."""
    from genir.serving.tokens import TokenSpec, new_token

    if role not in ("read", "write"):
        raise InputError(f"--role {role!r}: choose read or write")
    spec = TokenSpec(name, role, _filter(where), allow, model)  # type: ignore[arg-type]
    secret = new_token(file, spec)
    print_line(f"Added {name!r} to {file}. The secret, shown only once:", stderr=True)
    print_line(secret)


def _filter(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    from genir.json_parser import JsonError, parse_json

    reason = ""
    try:
        read = parse_json(text)
    except JsonError as error:
        read, reason = None, f"{error.problem}{error.place}; "
    if not isinstance(read, dict):
        raise InputError(
            f'--where {text!r:.200}: {reason}write it as JSON, for example {{"tenant": "a"}}'
        )
    return read
