"""Directives and roles of Sphinx, by what their content is."""

import re

CODE = frozenset(
    {"code", "code-block", "sourcecode", "code-cell", "prompt", "testcode", "testoutput",
     "doctest", "ipython", "parsed-literal", "productionlist", "graphviz", "mermaid", "math",
     "console"}
)  # fmt: skip
"""Directives whose content is code."""
INCLUDED = frozenset({"include", "literalinclude"})
"""Directives whose argument is the path of a file that is read."""
DROPPED = frozenset(
    {"toctree", "contents", "index", "meta", "figure", "image", "raw", "tabularcolumns",
     "highlight", "currentmodule", "module", "py:module", "py:currentmodule", "automodule",
     "autoclass", "autofunction", "automethod", "autoattribute", "autodata", "autoexception",
     "autosummary", "autodecorator", "autoproperty", "autopydantic_model", "testsetup",
     "testcleanup", "ifconfig", "bibliography", "plot", "click", "typer", "doxygenclass",
     "doxygenfunction", "sectnum", "section-numbering", "unicode", "title", "date", "youtube",
     "button-link", "button-ref", "image-sg", "minigallery", "inheritance-diagram",
     "autodoc2-object", "gallery-grid", "postlist", "feedback", "audio", "video",
     "jupyter-execute", "rst-class", "cssclass"}
)  # fmt: skip
"""Directives without text of the page."""
TITLED = re.compile(r"(?P<title>.*?)\s*<(?P<target>[^<>]*)>\s*\Z", re.DOTALL)
SILENT_ROLES = frozenset({"index", "raw", "cite", "footcite"})


def role_text(name: str, content: str) -> str:
    """Return the text of a role such as `:ref:`: its title, else its target.

    Of `~package.name`, the last part is the text.
    """
    if name in SILENT_ROLES:
        return ""
    titled = TITLED.match(content)
    if titled and titled["title"]:
        return titled["title"]
    target = titled["target"] if titled else content
    shown = target.lstrip("!~")
    return shown.rpartition(".")[2] if target.startswith("~") else shown
