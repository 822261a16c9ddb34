"""Saved tiny models, one a scheme, to copy and change."""

import shutil

import pytest
from tiny import tiny_retriever


@pytest.fixture(scope="session")
def saved_models(tiny_encoder, tiny_corpus, tmp_path_factory):
    """Return what gives the folder of a scheme's model, made at its first use."""
    made, place = {}, tmp_path_factory.mktemp("living")

    def saved(scheme):
        if scheme not in made:
            retriever = tiny_retriever(
                tiny_encoder, tiny_corpus, place / f"{scheme}.sqlite", scheme
            )
            retriever.protected_queries = retriever.model.protected_queries(
                {"copy-file": ["how do i duplicate a document?"], "list-disk": ["show a drive"]},
                retriever.table,
            )
            retriever.save(place / scheme)
            made[scheme] = place / scheme
        return made[scheme]

    return saved


@pytest.fixture
def folder(saved_models, tmp_path):
    """Return a copy of the atomic model's folder."""
    return shutil.copytree(saved_models("atomic"), tmp_path / "model")
