"""Demo corpus: the documentation of the running Python, read from its docstrings.

Nothing is downloaded, and no code runs except the import of modules known to be safe.
"""

import contextlib
import importlib
import inspect
import io
import pkgutil
import platform
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from genir.arguments import as_texts
from genir.corpus.sentence_queries import SentenceQueries, make_sentence_queries
from genir.corpus.writer import check_target, write_corpus
from genir.errors import InputError
from genir.types import Document

MIN_DOC_CHARS = 40
"""Minimum number of characters of a docstring."""

# Skipped: imports with side effects (open a browser, print, use the terminal or need a display),
# modules that are not libraries (tests, demos, the editor), private halves of public modules, and
# modules that may belong to another package (distutils). `encodings` has one codec per file.
EXCLUDED_MODULES = frozenset(
    {"antigravity", "this", "idlelib", "test", "tkinter", "turtle", "turtledemo", "lib2to3",
     "readline", "rlcompleter", "distutils", "ensurepip", "pydoc_data", "encodings", "msilib",
     "posix", "nt", "posixpath", "ntpath", "genericpath", "nturl2path", "opcode", "pyexpat",
     "sre_compile", "sre_constants", "sre_parse"}
)  # fmt: skip
TEST_FOLDERS = frozenset({"test", "tests", "testing", "conftest"})
ALIASES = ("os.path",)  # public names of skipped modules
IMPORT_FAILURES = (ImportError, AttributeError, OSError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Modules:
    """Imported modules in name order, and the reason for each skipped one."""

    imported: dict[str, ModuleType]
    skipped: dict[str, str]


def import_modules(packages: Sequence[str] = ()) -> Modules:
    """Import the public modules of the standard library and of `packages`.

    A module that cannot be imported here (other platform, missing dependency) is skipped with its
    reason.

    Raises:
        InputError: A package of `packages` cannot be imported.
    """
    modules = Modules({}, {})
    roots = [name for name in sys.stdlib_module_names if name not in EXCLUDED_MODULES]
    for name in sorted({*roots, *ALIASES, *packages}):
        if not name.startswith("_"):
            _import(name, modules)
    for name in packages:
        if name in modules.skipped:
            raise InputError(
                f"package {name!r} cannot be imported ({modules.skipped[name]}); install it, or "
                "leave it out of --packages"
            )
    return modules


def _import(name: str, modules: Modules) -> None:
    try:
        with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
            module = importlib.import_module(name)
    except IMPORT_FAILURES as error:
        modules.skipped[name] = f"{type(error).__name__}: {error}"
        return
    modules.imported[name] = module
    for part in sorted(m.name for m in pkgutil.iter_modules(getattr(module, "__path__", []))):
        if not part.startswith("_") and part not in TEST_FOLDERS:
            _import(f"{name}.{part}", modules)


def documents_of(modules: Modules) -> list[Document]:
    """Return the modules, classes, functions and methods that have a docstring, sorted by key.

    Of objects with the same text, the one with the shortest name is kept.
    """
    with warnings.catch_warnings(action="ignore"):  # e.g. deprecations
        entries = [e for name, module in modules.imported.items() for e in _entries(name, module)]
    entries.sort(key=lambda entry: entry[0])
    by_text: dict[str, Document] = {}
    by_key: dict[str, Document] = {}
    for _, document in entries:
        if document.key not in by_key and document.text not in by_text:
            by_key[document.key] = by_text[document.text] = document
    return [by_key[key] for key in sorted(by_key)]


Rank = tuple[int, bool, str]
"""Sort key among the names of one object: length, foreign module, name. The lowest is kept."""


def _entries(name: str, module: ModuleType) -> Iterator[tuple[Rank, Document]]:
    yield from _entry(name, name, module, "module")
    for member, value in _members(name, module):
        key = member if name == "builtins" else f"{name}.{member}"
        if not inspect.isclass(value):
            yield from _entry(key, name, value, "function")
            continue
        yield from _entry(key, name, value, "class")
        for method, own in _methods(value):
            yield from _entry(f"{key}.{method}", name, own, "method")


def _members(name: str, module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield a module's public members: its `__all__`, and public names that it defines itself."""
    listed = getattr(module, "__all__", ())
    homes = (name, f"_{name}")  # `_bisect` is the C part of `bisect`
    for member, value in sorted(vars(module).items()):
        if member.startswith("_") or not (inspect.isclass(value) or inspect.isroutine(value)):
            continue
        home = getattr(value, "__module__", None) or name
        if member in listed or home in homes or name == "builtins":
            yield member, value


def _methods(cls: type) -> list[tuple[str, Any]]:
    """Return a class's public members, including members of private bases (`_socket.socket`)."""
    members: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base is cls or base.__module__.startswith("_") or base.__name__.startswith("_"):
            members |= vars(base)
    return [
        (name, value.__func__ if isinstance(value, classmethod | staticmethod) else value)
        for name, value in sorted(members.items())
        if not name.startswith("_")
    ]


def _entry(key: str, module: str, value: Any, kind: str) -> Iterator[tuple[Rank, Document]]:
    text = _docstring(value)
    if len(text) >= MIN_DOC_CHARS:
        alias = not key.endswith(getattr(value, "__qualname__", None) or key)
        document = Document(
            key=key,
            text=text,
            title=key + ("" if kind == "module" else _signature(value)),
            url=_url(key, module, value, kind),
            metadata=MappingProxyType({"module": module, "kind": kind}),
        )
        yield (key.count("."), alias, key), document


def _docstring(value: Any) -> str:
    """Return an object's docstring, but not that of its type.

    A plain value, for example a class constant, returns the docstring of its type.
    """
    text = getattr(value, "__doc__", None)
    if not isinstance(text, str) or text == type(value).__doc__:
        return ""
    return inspect.cleandoc(text).strip()


def _signature(value: Any) -> str:
    """Return `(src, dst, *, follow_symlinks)`, without defaults, which may show local paths."""
    if not callable(value):
        return ""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (ValueError, TypeError, AttributeError):  # many built-in functions have no signature
        return ""
    marks: dict[Any, str] = {
        inspect.Parameter.VAR_POSITIONAL: "*",
        inspect.Parameter.VAR_KEYWORD: "**",
    }
    return f"({', '.join(marks.get(p.kind, '') + p.name for p in parameters)})"


def _url(key: str, module: str, value: Any, kind: str) -> str:
    """Return the URL in the library reference, "" for other packages."""
    if module.partition(".")[0] not in sys.stdlib_module_names:
        return ""
    page, anchor = module.lower(), f"module-{module}" if kind == "module" else key
    if module == "builtins" and kind != "module":
        error = inspect.isclass(value) and issubclass(value, BaseException)
        page = "exceptions" if error else "functions" if kind == "function" else "stdtypes"
    return f"https://docs.python.org/3/library/{page}.html#{anchor}"


TEST_SHARE = 0.4
"""Share of documents whose sentences become test queries."""
SEED = 0
CARD = """# Python documentation

{documents:,} docstrings of the standard library of Python {version}{packages}: modules, classes,
functions and methods. Key: the qualified name. URL: its place in the library reference.
Licence: that of the running Python (PSF) and of the packages.

## Where the queries come from

**From the documentation itself.** Each query is a whole sentence cut out of the docstring that it
is judged to find; it stands in no document any more. So the queries are in the words of the
documents' authors, not of people who search: compare systems on them, and expect other figures
from real users. A sentence of a docstring may fit others too; only its own counts.

- `train`: {train:,} queries. `test`: {test:,} queries.
- Made by `genir corpus python-docs` (seed {seed}).

## Modules that did not import here

{skipped}
"""


def make_python_docs(
    out: Path, packages: str | Sequence[str] = (), overwrite: bool = False
) -> tuple[SentenceQueries, Modules]:
    """Write the demo corpus with queries and a card; return it and the imported modules.

    Raises:
        InputError: The folder exists, or a package cannot be imported.
    """
    check_target(out, overwrite)
    packages = as_texts(packages, "packages")
    modules = import_modules(packages)
    made = make_sentence_queries(documents_of(modules), TEST_SHARE, SEED)
    card = _card(made, modules, packages)
    write_corpus(out, made.documents, made.queries, made.qrels, card, overwrite)
    return made, modules


def _card(made: SentenceQueries, modules: Modules, packages: Sequence[str]) -> str:
    skipped = [f"- `{name}`: {reason}" for name, reason in modules.skipped.items()]
    return CARD.format(
        documents=len(made.documents),
        version=platform.python_version(),
        packages=f" and of {', '.join(packages)}" if packages else "",
        train=len(made.qrels["train"]),
        test=len(made.qrels["test"]),
        seed=SEED,
        skipped="\n".join(skipped) or "None.",
    )
