"""Front matter of pages: fields before the text, as in Jekyll, Hugo and MkDocs.

YAML between `---` lines, TOML between `+++` lines, or a JSON object. Values are kept as written: a
number or boolean is converted only if JSON writes it in the same way (`10`, `true`), so `007`,
`1.10`, `yes` and dates stay strings. Integers of TOML are typed: `0x10` and `1_000` are numbers.
"""

import json
import re
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date, datetime, time
from typing import Any, ClassVar

import yaml

from genir.corpus.json_lines import shorten, string_advice
from genir.corpus.metadata_values import MAX_VALUES
from genir.errors import InputError
from genir.json_parser import unique_fields
from genir.toml_parser import parse_toml

YAML = re.compile(r"\A---[ \t]*\n(?P<fields>(?:.*\n)*?)(?:---|\.\.\.)[ \t]*(?:\n|\Z)")
TOML = re.compile(r"\A\+\+\+[ \t]*\n(?P<fields>(?:.*\n)*?)\+\+\+[ \t]*(?:\n|\Z)")
JSON = re.compile(r'\A\{[ \t]*(?:\n|"[^"\n]*"[ \t]*:)')
JSON_FIELD = re.compile(r'\A\{\s*"[^"\n]*"\s*:')
"""Start of an object; other braces, for example of a template, start a text."""
LINE_END = re.compile(r"[ \t]*(?:\n|\Z)")
OPENED = re.compile(r"\A(?:---[ \t]*\n[\w \"'-]+:|\+\+\+[ \t]*\n[\w \"'.-]+=)")
"""Start of front matter with a first field."""
INTEGER = re.compile(r"-?[1-9][0-9]*")
MAX_DIGITS = 309
"""Maximum number of characters of an integer; a double holds no longer ones."""
MAX_CHARS = 2**18
"""Maximum number of characters; the YAML parser takes 10 seconds for a million."""
MAX_DEPTH = 100
"""Maximum nesting depth of YAML lists and mappings."""
_TIME = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
DATES: dict[type[datetime] | type[time], re.Pattern[str]] = {
    datetime: re.compile(
        rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[Tt ]{_TIME}(?:[Zz]|[+-][0-9]{{2}}:[0-9]{{2}})?"
    ),
    time: re.compile(_TIME),
}
NUMBER = "tag:genir,2026:number"
STANDARD = "tag:yaml.org,2002:"


def split_front_matter(source: str) -> tuple[dict[str, Any], str]:
    """Return the fields of a page's front matter, and the text after it.

    Raises:
        ValueError: The front matter is malformed; the message names the line.
    """
    for shape, parse in ((YAML, _yaml), (TOML, _toml)):
        found = shape.match(source)
        if found:
            _refuse_long(found["fields"])
            try:
                # The opening line is kept, so that line numbers in messages match the page.
                fields = parse("\n" + found["fields"])
            except RecursionError:
                raise ValueError("front matter nested too deeply; write it flatter") from None
            if isinstance(fields, dict):
                return _named(fields), source[found.end() :]
            return {}, source  # a rule (`---`) and text below it
    return _json(source) if JSON.match(source) else ({}, source)


def _refuse_long(fields: str) -> None:
    if len(fields) > MAX_CHARS:
        raise ValueError(f"front matter of more than {MAX_CHARS:,} characters; shorten it")


def _named(fields: dict[Any, Any]) -> dict[str, Any]:
    for name in fields:
        if not isinstance(_text(name), str):
            raise ValueError(f"front matter: the name {name!r:.60} is not text; write it in quotes")
    return {str(_text(name)): value for name, value in fields.items()}


def never_ends(text: str) -> bool:
    """Return whether the text after front matter starts with unterminated front matter."""
    return OPENED.match(text) is not None


def _text(value: Any) -> Any:
    """Return a number or boolean as it was written."""
    return json.dumps(value) if isinstance(value, bool | int | float) else value


def title_of(fields: Mapping[str, Any]) -> str:
    """Return the title field as written, "" without one.

    Raises:
        ValueError: The title is a list or a mapping.
    """
    title = _text(fields.get(title_name(fields)))
    if title is None:
        return ""
    if not isinstance(title, str):
        raise ValueError(f"the title {shorten(title)} is not text; {string_advice(title)}")
    return " ".join(title.split())


def title_name(fields: Mapping[str, Any]) -> str:
    """Return the name of the title field: `title`, else a variant in upper case, e.g. `Title`."""
    names = [name for name in fields if name.lower() == "title"]
    return "title" if "title" in names else next(iter(names), "title")


class _Loader(yaml.SafeLoader):
    """Safe YAML loader; plain scalars are strings, null, or numbers that JSON writes alike.

    Tags of other scalars (`!!int`, `!!timestamp`) are ignored; a tag without a constructor here
    (`!!binary`, `!!set`) is an error that names its line. PyYAML's own constructors raise internal
    errors for malformed scalars, and take quadratic time for base 60.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own attribute
    yaml_constructors: ClassVar[dict[str | None, Callable[..., Any]]] = {}

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._values = 0  # so far, aliases expanded
        self._sizes: dict[int, int] = {}  # of anchored nodes, by id

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Build a node.

        Raises:
            ComposerError: Aliases expand to too many values.
            RecursionError: The node is nested too deeply; the scanner takes time quadratic in the
                depth, up to a second.
        """
        before = self._values
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise RecursionError
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent):
            # No size yet: an alias inside its own value.
            self._values += self._sizes.get(id(node), MAX_VALUES)
        else:
            self._values += 1
            self._sizes[id(node)] = self._values - before
        if self._values > MAX_VALUES:
            problem = f"more than {MAX_VALUES:,} values, including aliases"
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping. Raises ConstructorError for a duplicate key."""
        known: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode) and key.value in known:
                problem = f"the key {key.value!r} is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            known.add(key.value if isinstance(key, yaml.ScalarNode) else "")
        return super().construct_mapping(node, deep)


def _number(loader: _Loader, node: yaml.ScalarNode) -> Any:
    try:
        return _scalar(str(loader.construct_scalar(node)))
    except LongInteger as error:
        raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from None


def _refuse_tag(loader: _Loader, node: yaml.Node) -> None:
    problem = f"the tag {node.tag.replace(STANDARD, '!!'):.60} is not read; leave it out"
    raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


class LongInteger(ValueError):
    """An integer has too many digits for a field; `written`: its digits."""

    def __init__(self, written: str) -> None:
        super().__init__("an integer of more than 308 digits; write it in quotes")
        self.written = written


def _scalar(written: str) -> Any:
    """Return the number or boolean that JSON writes as `written`, else the string itself.

    Raises LongInteger for an integer with too many digits.
    """
    if len(written) > MAX_DIGITS and INTEGER.fullmatch(written):
        raise LongInteger(written)
    try:
        value = json.loads(written)
    except ValueError:
        return written
    return value if json.dumps(value) == written else written


_Loader.add_implicit_resolver(STANDARD + "null", re.compile(r"(?:~|null|Null|NULL|)\Z"),
                              ["~", "n", "N", ""])  # fmt: skip
_Loader.add_implicit_resolver(STANDARD + "merge", re.compile(r"<<\Z"), ["<"])
_Loader.add_implicit_resolver(NUMBER, re.compile(r"(?:-?[0-9][0-9.eE+-]*|true|false)\Z"),
                              [*"-0123456789tf"])  # fmt: skip
_Loader.yaml_constructors = {
    NUMBER: _number,
    None: _refuse_tag,
    **{STANDARD + name: _number for name in ("int", "float", "bool")},
    **{STANDARD + name: yaml.SafeLoader.construct_yaml_str for name in ("str", "timestamp")},
    **{STANDARD + tag: yaml.SafeLoader.yaml_constructors[STANDARD + tag]
       for tag in ("null", "map", "seq")},
}  # fmt: skip


class _ConfigLoader(_Loader):
    """Loader of configurations: an unknown tag, e.g. `!ENV` or `!!python/name:`, is left out."""

    yaml_constructors: ClassVar[dict[str | None, Callable[..., Any]]] = {}


def _untagged(loader: _ConfigLoader, node: yaml.Node) -> Any:
    """Return the value of a node without its tag; the tag itself for an empty one."""
    if isinstance(node, yaml.ScalarNode):
        return node.value or node.tag
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.MappingNode)
    return {"": node.tag, **loader.construct_mapping(node, deep=True)}


_ConfigLoader.yaml_constructors = {**_Loader.yaml_constructors, None: _untagged}


def load_yaml(text: str, where: str) -> Any:
    """Return the values of a configuration in YAML, as data: no tag constructs an object.

    Raises:
        InputError: It is not valid YAML; the message names `where`.
    """
    try:
        return yaml.load(text, _ConfigLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{where}:{line}: not valid YAML ({error.problem}); correct it") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{where}: not valid YAML ({reason}); correct it") from None


def _yaml(text: str) -> Any:
    try:
        fields = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ValueError(f"line {line}: front matter is not valid YAML ({error.problem})") from None
    except (yaml.YAMLError, ValueError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"front matter is not valid YAML ({reason})") from None
    return {} if fields is None else fields


def _toml(text: str) -> Any:
    try:
        return _plain(parse_toml(text, parse_float=_scalar), _dates(text))
    except ValueError as error:
        raise ValueError(f"front matter: {error}") from None


def _dates(text: str) -> dict[str, deque[str]]:
    """Return the times of a TOML text in order: ISO form -> as written, e.g. with a `Z`."""
    found: dict[str, deque[str]] = {}
    for kind, shape in DATES.items():
        for written in shape.findall(text):
            with suppress(ValueError):
                iso = kind.fromisoformat(written.upper()).isoformat()
                found.setdefault(iso, deque()).append(written)
    return found


def _plain(value: Any, dates: Mapping[str, deque[str]]) -> Any:
    """Return a value with dates as strings, as they are written."""
    if isinstance(value, dict):
        return {name: _plain(inner, dates) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner, dates) for inner in value]
    if not isinstance(value, datetime | date | time):
        return value
    written = dates.get(value.isoformat(), deque([value.isoformat()]))
    return written.popleft() if len(written) > 1 else written[0]


def _json(source: str) -> tuple[dict[str, Any], str]:
    decoder = json.JSONDecoder(
        object_pairs_hook=unique_fields, parse_float=_scalar, parse_int=_scalar
    )
    try:
        fields, end = decoder.raw_decode(source)
    except json.JSONDecodeError as error:
        if JSON_FIELD.match(source) is None:
            return {}, source
        raise ValueError(
            f"line {error.lineno}: front matter is not valid JSON ({error.msg})"
        ) from None
    except RecursionError:
        raise ValueError("front matter nested too deeply; write it flatter") from None
    except LongInteger as error:
        line = source.count("\n", 0, source.find(error.written)) + 1
        raise ValueError(f"line {line}: front matter: {error}") from None
    except ValueError as error:
        raise ValueError(f"front matter: {error}; keep one") from None
    _refuse_long(source[:end])
    if "\n" not in source[:end] and LINE_END.match(source, end) is None:
        return {}, source  # a text that begins with an object
    return fields, source[end:]
