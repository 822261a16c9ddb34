"""`key=value` overrides of nested values, parsed by the field types of a pydantic model."""

from collections.abc import Iterator, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from genir.errors import InputError
from genir.toml_parser import parse_toml

SCALARS = (str, bool, int, float)


def apply_settings(
    values: dict[str, Any], settings: Sequence[str], model: type[BaseModel] | None = None
) -> None:
    """Apply overrides `a.b=c` to nested values; lists are indexed (`tasks.0.weight=2`).

    A value is TOML if the field accepts its type, otherwise text: a text field keeps `007` and
    `true`. For a section class with `variant_options`, further keys belong to the variant's model.

    Args:
        values: Modified in place.
        model: Class that validates the values later.

    Raises:
        InputError: an override is malformed or has no valid target.
    """
    for _ in range(2):  # a later override may choose the variant, and so a key's type
        for setting in settings:
            _apply(values, setting, model)


def _apply(values: dict[str, Any], setting: str, kind: Any) -> None:
    path, equals, raw = setting.partition("=")
    if not equals or not path.strip():
        raise InputError(f"--set {setting!r}: write it as key=value, e.g. training.epochs=1")
    node: Any = values
    *parents, last = parts = path.strip().split(".")
    if not all(parts):
        raise InputError(f"--set {setting!r}: a part of the key is empty; write section.key=value")
    for part in parents:
        kind = _type_of(kind, part, node)
        node = _child(node, part, setting)
    node[_place(node, last, setting)] = read_value(raw, _type_of(kind, last, node))


def _place(node: Any, part: str, setting: str) -> Any:
    if not isinstance(node, list):
        return part
    places = {str(place): place for place in range(len(node))}
    if part not in places:
        raise InputError(f"--set {setting!r}: {part!r} is not an index below {len(node)}")
    return places[part]


def _child(node: Any, part: str, setting: str) -> Any:
    place = _place(node, part, setting)
    child = node[place] if isinstance(node, list) else node.setdefault(place, {})
    if not isinstance(child, dict | list):
        raise InputError(f"--set {setting!r}: {part!r} holds a value, not a section")
    return child


def _type_of(kind: Any, part: str, node: Any) -> Any:
    """Return the annotation of a part of an annotation; Any if unknown."""
    for option in _alternatives(kind):
        if get_origin(option) in (tuple, list):
            return get_args(option)[0]
        if isinstance(option, type) and issubclass(option, BaseModel):
            return _field_type(option, part, node)
    return Any


def _field_type(model: type[BaseModel], part: str, node: Any) -> Any:
    if part in model.model_fields:
        return model.model_fields[part].annotation
    options_of = getattr(model, "variant_options", None)
    options = None if options_of is None else options_of(node)
    return Any if options is None else _type_of(options, part, {})


def _alternatives(kind: Any) -> Iterator[Any]:
    """Yield the members of a union, or the annotation itself."""
    if get_origin(kind) in (Union, UnionType):
        for option in get_args(kind):
            yield from _alternatives(option)
    else:
        yield kind


def read_value(raw: str, kind: Any = Any) -> Any:
    """Parse the right-hand side as TOML if the field accepts the type, otherwise return text."""
    read = _toml(raw)
    taken = set[type]()
    for option in _alternatives(kind):
        if get_origin(option) is Literal:
            taken |= {type(value) for value in get_args(option)}
        elif option in SCALARS:
            taken.add(option)
        elif option is not NoneType:
            return read  # a list, section or unknown type
    if taken & {int, float}:  # a fraction for an integer field: validation refuses it
        taken |= {int, float}
    return read if type(read) in taken else raw


def _toml(raw: str) -> Any:
    """Return a TOML value; anything else stays text."""
    try:
        read = parse_toml(f"value = {raw}")
    except ValueError:  # not TOML, too many digits, or too deep
        return raw
    return read["value"] if set(read) == {"value"} else raw
