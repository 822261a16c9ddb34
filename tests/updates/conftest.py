"""Saved tiny models, one a scheme, to copy and change."""

import shutil

import pytest
from tiny import tiny_retriever

LOOKAHEAD = {"strategy": "lookahead", "full_scores": True}
WITH_WORDS = {
    "exact-words": {"word_set_size": 6},
    "compact-words": {"word_set_size": 6, "compact_words": True},
}
"""Models with residual codes and word sets, by name: options of the model."""


@pytest.fixture(scope="session")
def saved_models(tiny_encoder, tiny_corpus, tmp_path_factory):
    """Return a function that returns the folder of a scheme's model, made at first use."""
    made, place = {}, tmp_path_factory.mktemp("living")

    def saved(scheme):
        if scheme not in made:
            path, words = place / f"{scheme}.sqlite", WITH_WORDS.get(scheme)
            how = (scheme, ()) if words is None else ("residual", words)
            decoding = LOOKAHEAD if words else {}
            retriever = tiny_retriever(tiny_encoder, tiny_corpus, path, *how, **decoding)
            retriever.protect_queries(
                {"copy-file": ["how do i duplicate a document?"], "list-disk": ["show a drive"]}
            )
            retriever.save(place / scheme)
            made[scheme] = place / scheme
        return made[scheme]

    return saved


@pytest.fixture
def folder(saved_models, tmp_path):
    """Return a copy of the atomic model's folder."""
    return shutil.copytree(saved_models("atomic"), tmp_path / "model")
