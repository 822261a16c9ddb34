"""Parts of the site that are generated from the code, and its navigation."""

import sys

import pytest
import yaml
from doc_pages import TOP, markdown_files, name_of

sys.path.insert(0, str(TOP / "docs" / "_build"))

import hooks

PAGES = [path for path in markdown_files() if name_of(path).startswith("docs/")]
MARKED = {
    (name, argument)
    for path in PAGES
    for name, argument in hooks.MARK.findall(path.read_text(encoding="utf-8"))
}
RECIPES = sorted(path.stem for path in (TOP / "genir" / "recipes").glob("*.toml"))


def filled(name, argument=""):
    return hooks.PARTS[name](*filter(None, [argument]))


@pytest.mark.parametrize(("name", "argument"), sorted(MARKED))
def test_a_generated_part_has_text(name, argument):
    assert len(filled(name, argument)) > 30


def test_every_part_is_used():
    assert {name for name, _ in MARKED} == set(hooks.PARTS)


def test_the_reference_names_every_verb_and_route():
    commands = filled("cli")
    assert all(f"## `genir {verb}`" in commands for verb in ("train", "search", "token new"))
    assert "POST /v1/search" in filled("routes")


def test_every_recipe_has_a_page():
    text = "".join(p.read_text(encoding="utf-8") for p in (TOP / "docs" / "recipes").glob("*.md"))
    stages = {"ultron-url": "ultron-*", "ultron-pq": "ultron-*"}
    for name in RECIPES:
        base = name.rsplit("-", 1)[0]
        assert f"`{name}`" in text or f"`{stages.get(base)}-{name.rsplit('-', 1)[1]}`" in text, name


def test_the_navigation_has_every_page_once():
    def names(entries):
        for entry in entries:
            value = next(iter(entry.values())) if isinstance(entry, dict) else entry
            yield from [value] if isinstance(value, str) else names(value)

    navigation = yaml.safe_load((TOP / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    listed = list(names(navigation))
    assert sorted(listed) == sorted(name_of(path).removeprefix("docs/") for path in PAGES)


def test_links_of_root_files_lead_to_pages_of_the_site():
    text = "[a](docs/guides/serve.md#x) [b](SECURITY.md) [c](LICENSE)"
    assert hooks.site_links(text) == "[a](guides/serve.md#x) [b](security.md) [c](LICENSE)"


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example.org/a.js"></script>',
        '<link href="https://fonts.example.org/a.css" rel="stylesheet">',
        '<img src="https://example.org/a.png">',
    ],
)
def test_a_page_that_loads_from_elsewhere_is_refused(html):
    with pytest.raises(ValueError, match="loads from another host"):
        hooks.on_post_page(html)
    assert hooks.on_post_page('<a href="https://example.org">x</a>')
