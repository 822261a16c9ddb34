"""The pages of docs/extending show the example plugins, which tests/plugins installs and trains."""

import sys
import tomllib

import pytest
from doc_pages import TOP

sys.path.insert(0, str(TOP / "docs" / "_build"))

import hooks

PLUGINS = TOP / "tests" / "plugins"
PROJECT = (PLUGINS / "pyproject.toml").read_text(encoding="utf-8")
RECIPE = (PLUGINS / "plugins.toml").read_text(encoding="utf-8")
POINTS = tomllib.loads(PROJECT)["project"]["entry-points"]
PAGES = {
    "scheme": "schemes",
    "task": "tasks",
    "loss": "losses",
    "model": "models",
    "strategy": "strategies",
}


def shown(page):
    """Return a page as the site shows it."""
    text = (TOP / "docs" / "extending" / f"{page}.md").read_text(encoding="utf-8")
    return hooks.MARK.sub(hooks.fill, text)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_its_plugin_and_how_it_is_registered_and_used(page):
    text, group = shown(page), f"genir.{PAGES[page]}"
    ((name, value),) = POINTS[group].items()
    assert (PLUGINS / f"{value.partition(':')[0]}.py").read_text(encoding="utf-8") in text
    assert f'[project.entry-points."{group}"]\n{name} = "{value}"\n' in text
    section = next(one for one in RECIPE.split("\n\n") if f'"{name}"' in one)
    assert section.strip() in text
    assert "genir train plugins.toml " in text and "## The contract" in text


def test_the_index_shows_the_whole_package_and_recipe():
    assert PROJECT in shown("index") and RECIPE in shown("index")


def test_every_group_of_entry_points_has_a_page():
    assert set(POINTS) == {f"genir.{group}" for group in PAGES.values()}
