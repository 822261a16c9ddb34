import numpy as np
import pytest

from genir.config import IdentifierSection
from genir.errors import InputError
from genir.identifiers.registry import build_scheme
from genir.types import Document


def documents(count):
    return [Document(f"d{n}", "text") for n in range(count)]


def fitted(vectors, **options):
    vectors = np.asarray(vectors, dtype=np.float32)
    scheme = build_scheme(IdentifierSection(scheme="hierarchical", **options))
    return scheme.fit(documents(len(vectors)), vectors)


def encode(scheme, vectors, taken=frozenset()):
    vectors = np.asarray(vectors, dtype=np.float32)
    return [own[0] for own in scheme.encode(documents(len(vectors)), vectors, taken)]


LINE = [[0.0], [1.0], [2.0], [100.0], [101.0], [102.0]]


def test_two_groups_by_hand():
    scheme = fitted(LINE, branches=2, leaf=3)
    identifiers = encode(scheme, LINE)
    left, right = identifiers[0][0], identifiers[3][0]
    assert {left, right} == {0, 1}
    assert identifiers == [(left, 0), (left, 1), (left, 2), (right, 0), (right, 1), (right, 2)]
    assert scheme.level_sizes() == [2, 6]  # twice the leaf's size, for documents added later
    assert scheme.to_text((1, 2)) == "1-2"


def test_a_corpus_that_fits_a_leaf_has_no_tree():
    scheme = fitted(LINE, branches=2, leaf=6)
    assert encode(scheme, LINE) == [(n,) for n in range(6)] and scheme.level_sizes() == [12]


def test_additions_take_the_next_free_number_of_the_nearest_leaf_with_room():
    scheme = fitted(LINE, branches=2, leaf=3)
    taken = set(encode(scheme, LINE))
    left, right = encode(scheme, [LINE[0]])[0][0], encode(scheme, [LINE[3]])[0][0]
    added = encode(scheme, [[0.5]] * 4, taken)
    assert added == [(left, 3), (left, 4), (left, 5), (right, 3)]
    taken |= set(added) | set(encode(scheme, [[100.0]] * 2, taken | set(added)))
    assert len(taken) == 12
    with pytest.raises(InputError, match="'d0': all 6 numbers of all leaves are used"):
        encode(scheme, [[0.5]], taken)


def test_a_freed_number_is_given_again():
    scheme = fitted(LINE, branches=2, leaf=3)
    first, *others = encode(scheme, LINE)
    assert encode(scheme, [[0.5]], set(others)) == [first]


def test_no_leaf_holds_more_than_its_size_at_fit():
    vectors = np.random.default_rng(0).standard_normal((300, 4)).astype(np.float32)
    scheme = fitted(vectors, branches=4, leaf=5)
    identifiers = encode(scheme, vectors)
    assert max(identifier[-1] for identifier in identifiers) < 5
    assert max(map(len, identifiers)) > 3 and len(set(identifiers)) == 300


def test_neighbours_share_more_digits_than_strangers():
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((8, 6)) * 10
    vectors = (centres[np.arange(160) % 8] + 0.1 * rng.standard_normal((160, 6))).astype("f4")
    identifiers = encode(fitted(vectors, branches=8, leaf=20), vectors)
    heads = {(n % 8, identifier[0]) for n, identifier in enumerate(identifiers)}
    by_group = [len({head for group, head in heads if group == g}) for g in range(8)]
    assert sum(by_group) <= 10  # k-means may cut a group or two, not all of them


@pytest.mark.parametrize("count", [7, 50, 130])
def test_equal_vectors_fill_one_leaf_after_the_other(count):
    vectors = np.ones((count, 3), dtype=np.float32)
    identifiers = encode(fitted(vectors, branches=2, leaf=3), vectors)
    assert len(set(identifiers)) == count
    assert all(identifier[-1] < 6 for identifier in identifiers)
