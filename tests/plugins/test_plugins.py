"""Plugins of other packages of every kind, from training to serving."""

import shutil
import tomllib
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from genir import Retriever, evaluate, load_recipe, train
from genir.cli import app
from genir.config import DecodingSection
from genir.decoding.strategies.base import SearchStrategy
from genir.decoding.strategies.beam import Beam
from genir.decoding.strategies.registry import STRATEGIES
from genir.errors import InputError
from genir.identifiers.registry import SCHEMES
from genir.models.registry import MODELS
from genir.serving.app import create_app
from genir.tasks.registry import TASKS
from genir.training.losses.registry import LOSSES
from genir.types import Capabilities, Document

HERE = Path(__file__).parent
PROJECT = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TOYS = PROJECT["entry-points"]
RECIPE = (HERE / "plugins.toml").read_text(encoding="utf-8")
QUERY = "how do i clone a text?"


@pytest.fixture(scope="module")
def trained(session_site, tiny_corpus, tmp_path_factory):
    """The folder of a model whose every part is a plugin."""
    folder = tmp_path_factory.mktemp("toys")
    (folder / "toys.toml").write_text(RECIPE)
    with session_site() as site:
        site.install("toys", TOYS)
        train(tiny_corpus, folder / "toys.toml", out=folder / "model")
    return folder / "model"


@pytest.fixture
def recipe(site, tmp_path):
    site.install("toys", TOYS)
    path = tmp_path / "toys.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def retriever(recipe, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "model")
    return Retriever.load(tmp_path / "model")


def test_plugins_are_trained_saved_loaded_evaluated_and_served(retriever, tiny_corpus):
    decoder = retriever.decoder
    parts = [
        type(one).__name__ for one in (decoder.stage.scheme, decoder.strategy, decoder.stage.model)
    ]
    assert parts == ["HashedCodes", "LengthNormalised", "BagOfWords"]
    result = evaluate(retriever, tiny_corpus, tiny_corpus / "qrels" / "train.tsv", ["RR@10"])
    assert result.measures["RR@10"] > 0.5  # 0.07 in random order
    with TestClient(create_app(retriever)) as client:
        hits = client.post("/search", json={"query": QUERY, "k": 5}).json()["hits"]
    (answer,) = retriever.search(QUERY, k=5)
    assert [hit["key"] for hit in hits] == [hit.key for hit in answer]


def test_documents_are_added_to_a_model_of_plugins(retriever):
    retriever.add([{"_id": "new", "text": "Print the calendar of a year."}])
    everything = retriever.search("calendar", k=41)[0]
    assert len(everything) == 41 and "new" in [hit.key for hit in everything]


def test_exact_search_agrees_with_an_exhaustive_beam(retriever):
    with pytest.raises(InputError, match=r"exact search: .*'length-normalised' does not support"):
        retriever.search(QUERY, k=3, exact=True)
    plain = retriever.with_recipe(
        retriever.recipe.model_copy(update={"decoding": DecodingSection(strategy="beam")})
    )
    (exact,) = plain.search(QUERY, k=3, exact=True)
    (beam,) = plain.search(QUERY, k=3, beams=64)
    assert exact.proven and [hit.key for hit in exact] == [hit.key for hit in beam]
    (normalised,) = retriever.search(QUERY, k=3, beams=64)
    assert [hit.score * 2 for hit in normalised] == pytest.approx([hit.score for hit in beam])


def test_a_strategy_of_a_plugin_obeys_filters_and_deletions(retriever):
    retriever.delete("copy-file")
    keys = [hit.key for hit in retriever.search("clone a file", k=40, where={"verb": "copy"})[0]]
    assert len(keys) == 4 and "copy-file" not in keys
    assert not retriever.capabilities.trace and retriever.shares(QUERY, keys) is None


def test_options_of_a_plugin_are_checked(recipe, tiny_corpus, tmp_path):
    with pytest.raises(InputError, match=r"focal: unknown key 'gama'; did you mean 'gamma'"):
        train(tiny_corpus, recipe, out=tmp_path / "out", settings="losses.0.gama=1")


@pytest.mark.parametrize(
    ("registry", "name", "typo"),
    [
        (SCHEMES, "hashed-codes", "hash-codes"),
        (TASKS, "shuffled-lead", "shuffled-leads"),
        (LOSSES, "focal", "vocal"),
        (MODELS, "bag-of-words", "bag-of-word"),
        (STRATEGIES, "length-normalised", "length-normalized"),
    ],
    ids=["scheme", "task", "loss", "model", "strategy"],
)
def test_the_nearest_name_may_be_a_plugin_s(recipe, registry, name, typo):
    with pytest.raises(InputError, match=f"unknown .* '{typo}'; did you mean '{name}'"):
        registry.find(typo)


def test_names_of_plugins_are_listed_with_genirs_own(site):
    own = set(SCHEMES)
    site.install("toys", TOYS)
    assert set(SCHEMES) == own | {"hashed-codes"} and len(SCHEMES) == len(own) + 1
    assert SCHEMES.get("none") is None


def test_a_requested_package_that_cannot_be_imported_is_named(site):
    site.install("broken-toys", {"genir.schemes": {"broken": "broken_toy:Broken"}})
    (site.folder / "broken_toy.py").write_text("import a_module_that_is_missing\n")
    assert SCHEMES.find("atomic").name == "atomic"
    with pytest.raises(InputError) as refusal:
        SCHEMES.find("broken")
    assert str(refusal.value) == (
        "[identifiers] scheme = 'broken': the entry point 'broken_toy:Broken' of the package "
        "'broken-toys' cannot be imported (ModuleNotFoundError: No module named "
        "'a_module_that_is_missing'); update or uninstall the package"
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("hashed_codes:Missing", "AttributeError"),
        ("hashed_codes:HashedCodesOptions", r"is no Scheme; subclass genir\.identifiers\.base\."),
        ("hashed_codes:HashedCodes", "has name = 'hashed-codes'; give both the same name"),
    ],
)
def test_an_entry_point_of_another_class_is_refused(site, value, message):
    site.install("toys", {"genir.schemes": {"odd": value}})
    with pytest.raises(InputError, match=rf"^\[identifiers\] scheme = 'odd': .*{message}"):
        SCHEMES.find("odd")


def test_a_name_of_genirs_own_cannot_be_taken(site):
    site.install("toys", {"genir.schemes": {"atomic": "hashed_codes:HashedCodes"}})
    with pytest.raises(InputError, match=r"'atomic': genir and the package 'toys' have this name"):
        SCHEMES.find("atomic")
    assert SCHEMES.find("url").name == "url" and list(SCHEMES).count("atomic") == 1


def test_a_name_of_two_packages_is_neither_s(site):
    for package in ("toys", "more-toys"):
        site.install(package, {"genir.losses": {"focal": "focal:Focal"}})
    with pytest.raises(InputError, match=r"the package '.*' and the package '.*' have this name"):
        LOSSES.find("focal")


def test_a_model_folder_of_a_missing_plugin_names_the_unknown_class(
    retriever, tmp_path, monkeypatch
):
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(InputError, match="unknown strategy 'length-normalised'"):
        Retriever.load(tmp_path / "model")


def test_hashed_codes_are_distinct_until_all_are_taken(recipe):
    Codes = SCHEMES.find("hashed-codes")
    scheme = Codes(Codes.Options(levels=1, codes=3))
    documents = [Document(str(number), "text") for number in range(4)]
    first = scheme.encode(documents[:2])
    taken = {one for own in first for one in own}
    ((last,),) = scheme.encode(documents[2:3], reserved=taken)
    assert taken | {last} == {(0,), (1,), (2,)}
    with pytest.raises(InputError, match="document '3': all 3 identifiers are taken"):
        scheme.encode(documents[3:], reserved=taken | {last})


def test_load_recipe_takes_settings_of_a_plugin(recipe):
    changed = load_recipe(recipe, "model.width=16")
    assert changed.model.options["width"] == 16


def test_the_command_line_knows_plugins(recipe, tiny_corpus, tiny_encoder, capsys):
    options = ["--scheme", "hashed-codes", "--encoder", str(tiny_encoder)]
    with pytest.raises(SystemExit, match="0"):
        app(["identifiers", str(tiny_corpus), *options])
    assert "hashed-codes" in capsys.readouterr().out


class NoFilters(SearchStrategy):
    """Beam search that declares other capabilities."""

    name = "no-filters"
    capabilities = Capabilities(filters=False)

    def search(self, stage, queries, row_mask, beams, k):
        return Beam(stage.config).search(stage, queries, row_mask, beams, k)


@pytest.fixture
def limited(monkeypatch, tiny_folder):
    """A retriever whose strategy supports no filters."""
    monkeypatch.setitem(STRATEGIES._own, "no-filters", NoFilters)
    retriever = Retriever.load(tiny_folder("atomic"))
    section = DecodingSection(strategy="no-filters")
    return retriever.with_recipe(retriever.recipe.model_copy(update={"decoding": section}))


def test_a_strategy_without_filters_is_served_and_refuses_them(limited):
    with TestClient(create_app(limited)) as client:
        assert len(client.post("/search", json={"query": QUERY, "k": 5}).json()["hits"]) == 5
        filtered = client.post("/search", json={"query": QUERY, "where": {"verb": "copy"}})
    assert filtered.status_code == 422
    assert "where: [decoding] strategy = 'no-filters' does not support" in filtered.json()["detail"]
    with pytest.raises(InputError, match=r"exact search: .* does not support it"):
        limited.search(QUERY, exact=True)


def test_a_trace_needs_beam_search(limited, monkeypatch):
    monkeypatch.setattr(NoFilters, "capabilities", Capabilities(trace=True))
    with pytest.raises(InputError, match=r"trace = True, which only subclasses of Beam support"):
        limited.with_recipe(limited.recipe)
