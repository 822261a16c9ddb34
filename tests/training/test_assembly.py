import numpy as np
import pytest
import torch
from tiny import QUERIES, SCRATCH

from genir.config import Recipe, load_recipe
from genir.corpus.store import DocumentStore
from genir.errors import InputError
from genir.retriever import Retriever
from genir.training.assembly import assemble


@pytest.fixture
def recipe(recipe_file):
    def load(*settings):
        return load_recipe(recipe_file, settings)

    return load


CODES = ("identifiers.scheme=residual", "identifiers.levels=2", "identifiers.codes=8")


@pytest.mark.parametrize("settings", [(), CODES, ("identifiers.scheme=hierarchical",)])
def test_every_document_gets_an_identifier_before_any_training(
    recipe, documents, queries, settings
):
    retriever = assemble(recipe(*settings), documents, queries, None)
    assert retriever.table.keys == documents.keys()
    assert len(np.unique(retriever.table.symbols, axis=0)) == 40
    counts = dict(zip(retriever.table.keys, retriever.query_counts.tolist(), strict=True))
    assert counts == {key: len(queries[key]) for key in retriever.table.keys}
    assert len({hit.key for hit in retriever.search(["copy file"], 40)[0]}) == 40


def test_a_start_hands_over_the_encoder_and_the_documents_places(
    recipe, documents, queries, tmp_path
):
    parent = assemble(recipe(), documents, queries, None)
    with torch.no_grad():
        for parameter in parent.model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    parent.save(tmp_path / "parent")
    child = assemble(recipe(*CODES), documents, queries, tmp_path / "parent")
    alone = assemble(recipe(*CODES), documents, queries, None)
    for name, weights in parent.model.encoder.state_dict().items():
        assert torch.equal(child.model.encoder.state_dict()[name], weights)
    assert not np.array_equal(child.table.symbols, alone.table.symbols)


def test_a_start_of_another_kind_is_refused(recipe, documents, queries, tmp_path):
    assemble(recipe(), documents, queries, None).save(tmp_path / "parent")
    other = recipe("model.kind=seq2seq", "model.source=scratch")
    with pytest.raises(InputError, match=r"holds a 'bridge' model, .* a 'seq2seq' one; start from"):
        assemble(other, documents, queries, tmp_path / "parent")


def test_a_start_from_another_corpus_is_refused(recipe, documents, queries, tmp_path):
    assemble(recipe(), documents, queries, None).save(tmp_path / "parent")
    fewer = DocumentStore.create(tmp_path / "fewer.sqlite", documents[:30])
    with pytest.raises(InputError, match="was trained on another corpus; train it on this one"):
        assemble(recipe(), fewer, {}, tmp_path / "parent")


def test_the_seed_decides_what_new_parameters_are_drawn(recipe, documents, queries):
    def drawn(seed):
        tree = ("identifiers.scheme=hierarchical", "identifiers.branches=2", "identifiers.leaf=4")
        settings = recipe(*tree, f"training.seed={seed}")
        model = assemble(settings, documents, queries, None).model
        return torch.cat([codebook.flatten() for codebook in model.head.codebooks])

    first = drawn(0)
    torch.rand(3)  # what was drawn before plays no part
    assert torch.equal(first, drawn(0)) and not torch.equal(first, drawn(1))


# --- a transformer from another ------------------------------------------------------------------


@pytest.fixture
def transformer(tiny_encoder):
    """Return a maker of recipes of tiny transformers."""

    def make(scheme, **model):
        codes = {"levels": 2, "codes": 8} if scheme == "residual" else {}
        own = SCRATCH | {"encoder": str(tiny_encoder)} | model
        return Recipe.model_validate(
            {"name": "tiny", "identifiers": {"scheme": scheme} | codes, "model": own}
            | {"tasks": [{"task": "queries"}], "training": {"precision": "fp32"}}
        )

    return make


def answers(retriever):
    retriever.model.eval()
    found = retriever.search(QUERIES, 40)
    return [[(hit.key, hit.identifier, hit.score) for hit in hits] for hits in found]


@pytest.mark.parametrize("scheme", ["residual", "title"])
def test_the_same_identifiers_are_kept_and_all_that_was_learned(
    transformer, documents, queries, tmp_path, scheme
):
    parent = assemble(transformer(scheme), documents, queries, None)
    with torch.no_grad():
        for parameter in parent.model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    parent.save(tmp_path / "parent")
    # Without any query, codes made anew would be others.
    child = assemble(transformer(scheme), documents, {}, tmp_path / "parent")
    assert answers(child) == answers(parent)
    assert child.model.head_parameters() == []
    child.save(tmp_path / "child")
    assert answers(Retriever.load(tmp_path / "child")) == answers(parent)


def test_other_identifiers_are_made_anew(transformer, documents, queries, tmp_path):
    parent = assemble(transformer("title"), documents, queries, None)
    parent.save(tmp_path / "parent")
    child = assemble(transformer("residual"), documents, queries, tmp_path / "parent")
    assert [p is child.model.symbols for p in child.model.head_parameters()] == [True]
    for name, weights in parent.model.transformer.state_dict().items():
        assert torch.equal(child.model.transformer.state_dict()[name], weights)


def test_a_transformer_of_another_size_is_refused(transformer, documents, queries, tmp_path):
    assemble(transformer("title"), documents, queries, None).save(tmp_path / "parent")
    wide = transformer("title", width=32)
    with pytest.raises(InputError, match=r"width = 32, but the model to start from has 16; take"):
        assemble(wide, documents, queries, tmp_path / "parent")


def test_a_start_that_has_lost_documents_is_refused(transformer, documents, queries, tmp_path):
    parent = assemble(transformer("title"), documents, queries, None)
    parent.save(tmp_path / "parent")
    Retriever.load(tmp_path / "parent").delete(["copy-file"])
    with pytest.raises(InputError, match=r"were deleted from .*parent; train that model on this"):
        assemble(transformer("title"), documents, queries, tmp_path / "parent")
