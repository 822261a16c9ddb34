"""The Python blocks of docs/extending/ run, on a corpus of 40 documents."""

import json

import pytest
from doc_pages import TOP, blocks

from genir.identifiers.registry import SCHEMES
from genir.models.registry import MODELS
from genir.retriever import Retriever
from genir.tasks.registry import TASKS
from genir.training.losses.registry import LOSSES

PAGES = sorted(path.stem for path in (TOP / "docs" / "extending").glob("*.md"))
MODELS_MADE = {
    "loss": "focal-model",
    "model": "title-start-model",
    "scheme": "key-words-model",
    "task": "tags-model",
}


@pytest.fixture
def registries(monkeypatch):
    """Forget what a page registers."""
    for registry in (SCHEMES, TASKS, LOSSES, MODELS):
        for name in ("key-words", "tags", "focal", "title-start"):
            monkeypatch.setitem(registry, name, None)
            del registry[name]


@pytest.mark.parametrize("page", MODELS_MADE)
def test_the_part_is_trained_saved_loaded_and_searched(
    page, registries, tiny_corpus, tiny_encoder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-corpus").symlink_to(tiny_corpus)
    names = {"__name__": "page"}
    for block in blocks(TOP / "docs" / "extending" / f"{page}.md", "python"):
        exec(block.replace('"minilm"', json.dumps(str(tiny_encoder))), names)
    (hits,) = Retriever.load(MODELS_MADE[page], "cpu").search("clone a text", k=3)
    assert len(hits) == 3


def test_every_page_with_code_is_run():
    with_code = {p for p in PAGES if blocks(TOP / "docs" / "extending" / f"{p}.md", "python")}
    assert with_code == set(MODELS_MADE)
