"""mkdocs hooks: reference tables generated from the code, and root files shown as pages of the site.

A page includes a generated part with a line like `<!-- generated: cli -->`; `PARTS` has the
function of each name. `tests/docs/test_site.py` checks that every part is non-empty.
"""

import re
import sys
from pathlib import Path
from collections.abc import Callable
from typing import Any

TOP = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))

import plugins  # noqa: E402
import reference  # noqa: E402

ROOT_FILES = {
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
}
"""Page of the site -> file at the root of the repository."""
MARK = re.compile(r"^<!-- generated: ([\w-]+)(?: ([\w-]+))? -->$", re.MULTILINE)
FOREIGN = re.compile(
    r"""<(?:script|img|iframe)[^>]*\ssrc=["']https?:[^>]*>|<link[^>]*rel=["']?stylesheet[^>]*href=["']https?:[^>]*>"""
    r"""|<link[^>]*href=["']https?:[^>]*rel=["']?stylesheet[^>]*>"""
)
PARTS: dict[str, Callable[..., str]] = {
    "cli": reference.cli,
    "entry-point": plugins.entry_point,
    "figures": reference.figures,
    "plugin": plugins.plugin,
    "plugin-recipe": plugins.plugin_recipe,
    "profile-list": reference.profile_list,
    "recipe": reference.recipe,
    "recipe-keys": reference.recipe_keys,
    "recipe-list": reference.recipe_list,
    "schemes": reference.schemes,
    "routes": reference.routes,
    "server-settings": reference.server_settings,
}


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return the Markdown of a page with its generated parts filled in."""
    name = ROOT_FILES.get(page.file.src_uri)
    if name is not None:
        markdown = site_links((TOP / name).read_text(encoding="utf-8"))
    markdown = MARK.sub(fill, markdown)
    # Markdown inside <details> is not rendered unless the element says so.
    return markdown.replace("<details>", '<details markdown="1">')




def on_post_page(output: str, **_: Any) -> str:
    """Return the HTML of a page.

    Raises:
        ValueError: The page loads a script, style sheet or image from another host.
    """
    found = FOREIGN.search(output)
    if found:
        raise ValueError(f"a page loads from another host: {found[0]}; add the file to docs/")
    return output


def fill(match: re.Match[str]) -> str:
    """Return the text of a generated part: `<!-- generated: name argument -->`."""
    name, argument = match.groups()
    return PARTS[name](*filter(None, [argument]))


def site_links(text: str) -> str:
    """Rewrite the links of a file at the root to links between pages of the site."""
    text = text.replace("](docs/", "](")
    for page, name in ROOT_FILES.items():
        text = text.replace(f"]({name}", f"]({page}")
    return text
