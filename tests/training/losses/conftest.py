"""Fixtures: losses of the three documents of `three`."""

from types import SimpleNamespace

import pytest

from genir.config import StageConfig
from genir.decoding.strategies.beam import Beam
from genir.decoding.trie import Trie
from genir.identifiers.table import IdentifierTable
from genir.training.losses.base import LossContext
from genir.training.losses.registry import Losses


@pytest.fixture
def table():
    return IdentifierTable.build([[(0, 0)], [(0, 1)], [(1, 0)]], ["a", "b", "c"])


@pytest.fixture
def setting(table, tmp_path):
    """Return a factory of settings: losses as in a recipe, and other recipe sections."""

    def make(*losses, **sections):
        stage = {"tasks": [{"task": "queries"}], "identifiers": {"scheme": "hierarchical"}}
        recipe = StageConfig.model_validate(stage | {"losses": losses} | sections)
        stage = SimpleNamespace(trie=Trie.build(table))
        decoder = SimpleNamespace(stage=stage, strategy=Beam(recipe))
        retriever = SimpleNamespace(recipe=recipe, table=table, decoder=decoder)
        return LossContext(retriever, tmp_path, tmp_path)

    return make


@pytest.fixture
def losses(setting):
    """Return a factory of a recipe's losses."""

    def make(*own, **sections):
        return Losses(setting(*own, **sections))

    return make


@pytest.fixture
def run(tmp_path):
    """Return a function that writes a run: documents with scores for the source "q"."""

    def write(**scores):
        ranked = sorted(scores.items(), key=lambda item: -item[1])
        rows = [f"1 Q0 {key} {rank} {score} x\n" for rank, (key, score) in enumerate(ranked, 1)]
        (tmp_path / "x.run").write_text("".join(rows))
        (tmp_path / "queries.jsonl").write_text('{"_id": "1", "text": " q "}\n')
        return {"teacher": str(tmp_path / "x.run"), "queries": str(tmp_path / "queries.jsonl")}

    return write
