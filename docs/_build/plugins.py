"""The example plugins of tests/plugins as parts of pages, so that the pages show the tested files."""

from pathlib import Path

FOLDER = Path(__file__).parents[2] / "tests" / "plugins"


def plugin(module: str) -> str:
    """Return the source of an example plugin."""
    return _block("python", f"{module}.py", (FOLDER / f"{module}.py").read_text(encoding="utf-8"))


def entry_point(name: str = "") -> str:
    """Return the entry-point lines of a plugin, or the whole pyproject.toml."""
    return _paragraph("pyproject.toml", name)


def plugin_recipe(name: str = "") -> str:
    """Return the recipe section that names a plugin, or the whole recipe."""
    return _paragraph("plugins.toml", name)


def _paragraph(file: str, name: str) -> str:
    paragraphs = (FOLDER / file).read_text(encoding="utf-8").strip().split("\n\n")
    found = [one for one in paragraphs if name in one] if name else paragraphs
    return _block("toml", file, "\n\n".join(found))


def _block(language: str, title: str, text: str) -> str:
    return f'```{language} title="{title}"\n{text.strip()}\n```'
