"""Pages of the documentation, and the parts of them that tests check."""

import re
from pathlib import Path

TOP = Path(__file__).parents[2]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")


def markdown_files():
    """Return the Markdown files of the repository that people read."""
    return sorted([*TOP.glob("*.md"), *TOP.glob("docs/**/*.md"), *TOP.glob("data_prep/*.md")])


def blocks(path, *languages):
    """Return the fenced blocks of a page in these languages."""
    found = FENCED.findall(Path(path).read_text(encoding="utf-8"))
    return [text for language, text in found if language in languages]


def name_of(path):
    """Return the path of a page inside the repository."""
    return Path(path).relative_to(TOP).as_posix()
