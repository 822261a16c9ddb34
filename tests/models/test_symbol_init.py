"""Where added symbols start, by hand."""

import numpy as np
import pytest
import torch

from genir.identifiers.table import IdentifierTable
from genir.models.symbol_init import INIT_NOISE, init_symbol_embeddings

EMBEDDINGS = 3 + torch.randn(200, 4, generator=torch.Generator().manual_seed(0)) * 0.5
TABLE = IdentifierTable.build([[(0, 2)], [(1, 0)], [(0, 0)]], ["a", "b", "c"])
VECTORS = np.array([[1, 0, 0, 0], [0, 4, 0, 0], [3, 0, 0, 0]], dtype=np.float32)


def start(vectors=None, codebooks=None):
    torch.manual_seed(0)
    return init_symbol_embeddings(EMBEDDINGS, [2, 3], TABLE, vectors, codebooks)


def directions(rows):
    """The offset of a level from the mean token, without noise, at unit length."""
    return torch.nn.functional.normalize(rows - start(), dim=-1)


def unit(*rows):
    return torch.nn.functional.normalize(torch.tensor(rows), dim=-1)


def test_unknown_symbols_start_near_the_mean_token_and_apart():
    rows = start()
    assert rows.shape == (5, 4)
    assert (rows - EMBEDDINGS.mean(dim=0)).abs().max() < 0.5 * INIT_NOISE * 5
    assert len(rows.unique(dim=0)) == 5


def test_vectors_place_a_symbol_at_its_documents_mean():
    rows = directions(start(vectors=VECTORS))
    # Level 0: symbol 0 holds a and c (mean (2, 0)), symbol 1 holds b (0, 4); centre (1, 2).
    torch.testing.assert_close(rows[:2], unit([1.0, -2, 0, 0], [-1.0, 2, 0, 0]))
    # Level 1: symbol 0 holds b and c (1.5, 2), symbol 1 none, symbol 2 holds a (1, 0).
    torch.testing.assert_close(rows[2:], unit([0.25, 1, 0, 0], [0.0, 0, 0, 0], [-0.25, -1, 0, 0]))


def test_symbols_spread_as_tokens_do():
    added = start(vectors=VECTORS) - start()
    level = added[:2].square().mean().sqrt()
    assert level == pytest.approx(EMBEDDINGS.std(dim=0).mean().item(), rel=1e-5)


def test_codebooks_go_before_vectors_where_there_is_one():
    book = np.array([[[0, 0, 1, 0], [0, 0, 0, 1]]], dtype=np.float32)
    rows = directions(start(VECTORS, book))
    torch.testing.assert_close(rows[:2], unit([0.0, 0, 1, -1], [0.0, 0, -1, 1]))
    torch.testing.assert_close(rows[2], unit([0.25, 1.0, 0, 0])[0])


def test_another_width_is_left_out():
    wide = np.ones((3, 7), dtype=np.float32)
    torch.testing.assert_close(start(wide, wide[None]), start())
