"""Conversion of reStructuredText to HTML by docutils, with the directives and roles of Sphinx.

Nothing is executed or read: raw HTML and docutils' own file inclusion are off, and an included
file is read by the caller's function, which refuses files outside of the project.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, ClassVar, cast

from docutils import nodes
from docutils.core import publish_parts
from docutils.parsers.rst import Directive, directives, roles
from docutils.statemachine import StringList

from genir.corpus.rst.directives import CODE, DROPPED, INCLUDED, role_text

Include = Callable[[str, str], str | None]
"""(directive, path) -> text of a file of the project, or None."""
DIRECTIVE = re.compile(
    r"^[ \t]*\.\.[ \t]+(?:\|[^|\n]+\|[ \t]+)?([A-Za-z][\w:+.-]*)::", re.MULTILINE
)
ROLE = re.compile(r":([A-Za-z][\w:+.-]*):`")
DESCRIBED = re.compile(
    r"(?:(?:py|c|cpp|js|rst|std):)?(?:function|method|class|attribute|data|exception|decorator|"
    r"staticmethod|classmethod|property|option|envvar|confval|describe|object|type|macro|var|"
    r"member|struct|enum|program|role|directive)"
)
"""Directives that describe an object: their argument is its signature."""
DOCUTILS_OWN = frozenset(
    {"replace", "table", "list-table", "csv-table", "container", "compound", "line-block",
     "epigraph", "highlights", "pull-quote", "default-role", "role"}
)  # fmt: skip
"""Directives of docutils that stay; admonitions and all others are read by `_Content`."""
OWN_ROLES = frozenset(
    {"emphasis", "strong", "literal", "code", "subscript", "superscript", "sub", "sup", "math",
     "title-reference", "title", "t"}
)  # fmt: skip
SETTINGS = {
    "file_insertion_enabled": False, "raw_enabled": False, "report_level": 5, "halt_level": 6,
    "doctitle_xform": False, "sectsubtitle_xform": False, "embed_stylesheet": False,
    "stylesheet_path": "", "syntax_highlight": "none", "math_output": "LaTeX",
    "input_encoding": "unicode", "output_encoding": "unicode",
    "toc_backlinks": False, "section_self_link": False,
    "initial_header_level": 1, "warning_stream": False, "auto_id_prefix": "id", "id_prefix": "",
    "smart_quotes": False, "line_length_limit": 1_000_000, "_disable_config": True,
    "cloak_email_addresses": False, "table_style": "", "traceback": False,
}  # fmt: skip
_LOCK = Lock()
"""Docutils registers directives and roles for the whole process."""
_STATE: dict[str, Include | None] = {"include": None}


def rst_html(source: str, include: Include | None = None, default_role: str = "") -> str:
    """Return the HTML of reStructuredText.

    Args:
        source: The text.
        include: Reads the files that it includes; None: there are none.
        default_role: Role of `text` without one, for example "code".

    Raises:
        ValueError: Docutils cannot read it.
    """
    with _LOCK:
        _register(source)
        _STATE["include"] = include
        if default_role:
            source = f".. default-role:: {default_role}\n\n{source}"
        try:
            parts = publish_parts(source, writer="html5", settings_overrides=SETTINGS)
        except Exception as error:  # docutils raises many kinds
            raise ValueError(f"not reStructuredText ({type(error).__name__}: {error})") from None
        finally:
            _STATE["include"] = None
    return str(parts["body_pre_docinfo"] + parts["docinfo"] + parts["body"])


def _register(source: str) -> None:
    """Register the directives and roles that a source uses and docutils does not keep."""
    for name in set(DIRECTIVE.findall(source)):
        if name.lower() not in DOCUTILS_OWN:
            directives.register_directive(name.lower(), _Content)
    for name in set(ROLE.findall(source)):
        if name.lower() not in OWN_ROLES:
            roles.register_local_role(name.lower(), cast(Any, _role))


def _role(name: str, rawtext: str, text: str, *_: Any) -> tuple[list[nodes.Node], list[nodes.Node]]:
    shown = role_text(name.lower(), nodes.unescape(text))
    return ([nodes.inline(rawtext, shown)] if shown else []), []


@dataclass
class _Scope:
    """Module and classes in which an object is described."""

    module: str = ""
    names: tuple[str, ...] = ()


def _scope(document: nodes.document) -> _Scope:
    """Return the scope of a document, which its directives change in order."""
    scope: _Scope = vars(document).setdefault("genir_scope", _Scope())
    return scope


class _AnyOptions(dict[str, Any]):
    """Accepts every option of a directive."""

    def __contains__(self, name: object) -> bool:
        return True

    def __getitem__(self, name: str) -> Any:
        return directives.unchanged

    def __bool__(self) -> bool:
        return True


class _Content(Directive):
    """A directive of Sphinx or an extension, read by the kind of its content."""

    has_content = True
    optional_arguments = 1_000
    final_argument_whitespace = True
    option_spec: ClassVar[Any] = _AnyOptions()

    def run(self) -> Sequence[nodes.Node]:
        """Return the nodes of its argument and content."""
        argument = " ".join(self.arguments)
        if self.name.removeprefix("py:") in ("module", "currentmodule"):
            _scope(self.state.document).module = argument.replace("None", "")
        if self.name in INCLUDED:
            return self._included(argument)
        if self.name in DROPPED:
            return []
        if self.name in CODE:
            return self._code("\n".join(self.content))
        if DESCRIBED.fullmatch(self.name) and argument:
            return self._described()
        head = self._inline(argument)
        return [*head, *self._parsed(self.content)]

    def _code(self, text: str) -> list[nodes.Node]:
        return [nodes.literal_block(text, text)] if text.strip() else []

    def _included(self, path: str) -> list[nodes.Node]:
        include = _STATE["include"]
        text = include(self.name, path) if include else None
        if text is None:
            return []
        if self.name == "literalinclude":
            return self._code(text)
        _register(text)
        lines = StringList(text.splitlines(), source=path)
        self.state_machine.insert_input(lines, path)
        return []

    def _described(self) -> list[nodes.Node]:
        """Return a definition list with the anchors that Sphinx gives to Python objects."""
        made, scope = nodes.definition_list(), _scope(self.state.document)
        outer = scope.names
        for signature in self.block_text.split("::", 1)[1].split("\n\n")[0].split("\n"):
            text = signature.strip().replace("\\", "")
            if not text or re.match(r":[\w-]+:", text):
                break
            name = re.split(r"[(\[:= ]", text.rpartition("class ")[2])[0]
            scope.names = (*outer, name)
            made += nodes.definition_list_item("", nodes.term("", text, ids=self._anchor(scope)))
        last = made.children[-1]
        assert isinstance(last, nodes.Element)
        last += nodes.definition("", *self._parsed(self.content))
        scope.names = outer
        return [made]

    def _anchor(self, scope: "_Scope") -> list[str]:
        """Return the anchor of a Python object: its module, classes and name."""
        hidden = {"noindex", "no-index", "nocontentsentry"} & self.options.keys()
        if hidden or re.match(r"(?:c|cpp|js|rst|std):|option|envvar|confval|describe", self.name):
            return []
        anchor = ".".join(filter(None, (scope.module, *scope.names)))
        return [anchor] if re.fullmatch(r"[\w.]+", anchor) else []

    def _inline(self, text: str) -> list[nodes.Node]:
        if not text:
            return []
        children, _ = self.state.inline_text(text, self.lineno)
        return [nodes.paragraph(text, "", *children)]

    def _parsed(self, content: StringList) -> list[nodes.Node]:
        if not content:
            return []
        holder = nodes.Element()
        self.state.nested_parse(content, self.content_offset, holder)
        return list(holder.children)
