"""Residual and product codes, beyond the shared suite."""

from itertools import product

import numpy as np
import pytest

from genir.config import IdentifierSection
from genir.errors import InputError
from genir.identifiers.registry import build_scheme, load_scheme
from genir.identifiers.tie_breaker import TieBreaker
from genir.types import Document

NAMES = ("residual", "product")


def documents(count):
    return [Document(f"d{n}", "text") for n in range(count)]


def build(name, **options):
    return build_scheme(IdentifierSection(scheme=name, **options))


def fitted(name, vectors, **options):
    return build(name, **options).fit(documents(len(vectors)), vectors)


def gaussian(count, dimension, seed=0):
    return np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)


def test_residual_codes_add_up_by_hand():
    """Two far groups, each with the same two offsets: level 1 the group, level 2 the offset."""
    corners = np.array([[30, 1], [30, 5], [2, 1], [2, 5]] * 8, dtype=np.float32)
    vectors = corners + 0.01 * gaussian(32, 2)
    scheme = fitted("residual", vectors, levels=2, codes=2)
    assert scheme.codebooks.shape == scheme.full_codebooks().shape == (2, 2, 2)
    codes = scheme.quantise(vectors)
    assert np.allclose(scheme.decode(codes), corners, atol=0.05)
    assert len({tuple(row) for row in codes.tolist()}) == 4
    first = codes[:, 0]
    assert (first[0] == first[1]) and (first[2] == first[3]) and (first[0] != first[2])


def test_product_codes_look_at_one_slice_each():
    corners = np.array([[1, 5], [1, -5], [3, 5], [3, -5]] * 8, dtype=np.float32)
    vectors = corners + 0.01 * gaussian(32, 2)
    scheme = fitted("product", vectors, levels=2, codes=2)
    assert scheme.codebooks.shape == (2, 2, 1) and scheme.dimension == 2
    assert np.allclose(np.sort(scheme.codebooks[0].ravel()), [1, 3], atol=0.05)
    assert np.allclose(np.sort(scheme.codebooks[1].ravel()), [-5, 5], atol=0.05)
    full = scheme.full_codebooks()
    assert (full[0, :, 1] == 0).all() and (full[1, :, 0] == 0).all()
    assert np.allclose(scheme.decode(scheme.quantise(vectors)), corners, atol=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_quantise_agrees_with_the_codebooks(name):
    vectors = gaussian(200, 8)
    scheme = fitted(name, vectors, levels=4, codes=8)
    codes = scheme.quantise(vectors)
    assert codes.shape == (200, 4) and codes.min() >= 0 and codes.max() < 8
    summed = sum(scheme.full_codebooks()[level][codes[:, level]] for level in range(4))
    assert np.allclose(scheme.decode(codes), summed, atol=1e-6)
    error = np.square(vectors - summed).sum(axis=1).mean()
    assert error < 0.5 * np.square(vectors).sum(axis=1).mean()


@pytest.mark.parametrize(
    ("levels", "codes", "beam"), [(2, 2, 5), (1, 2, 9), (3, 4, 64), (2, 8, 99)]
)
def test_a_beam_as_wide_as_all_codes_finds_the_best(levels, codes, beam):
    vectors = gaussian(200, 6)
    scheme = fitted("residual", vectors, levels=levels, codes=codes, beam=beam)
    every = np.array(list(product(range(codes), repeat=levels)))
    best = np.square(vectors[:, None] - scheme.decode(every)).sum(axis=2).min(axis=1)
    found = np.square(vectors - scheme.decode(scheme.quantise(vectors))).sum(axis=1)
    assert np.allclose(found, best, rtol=1e-4)


def test_product_quantises_to_the_nearest_codeword():
    vectors = gaussian(100, 6)
    scheme = fitted("product", vectors, levels=3, codes=4)
    slices = vectors.reshape(100, 3, 1, 2)
    nearest = np.square(slices - scheme.codebooks[None]).sum(axis=3).argmin(axis=2)
    assert np.array_equal(scheme.quantise(vectors), nearest)


def test_residual_beats_product_at_the_same_bytes():
    vectors = gaussian(600, 16) @ gaussian(16, 16, seed=1)
    errors = []
    for name in NAMES:
        scheme = fitted(name, vectors, levels=4, codes=16)
        errors.append(np.square(scheme.decode(scheme.quantise(vectors)) - vectors).sum())
    assert errors[0] < errors[1]


def test_a_wider_beam_never_hurts_much():
    vectors = gaussian(300, 8)
    narrow = fitted("residual", vectors, levels=4, codes=8, beam=1)
    wide = fitted("residual", vectors, levels=4, codes=8, beam=8)
    errors = [np.square(s.decode(s.quantise(vectors)) - vectors).sum() for s in (narrow, wide)]
    assert errors[1] < errors[0]


@pytest.mark.parametrize("name", NAMES)
def test_duplicates_get_ties_from_0(name):
    vectors = np.repeat(gaussian(4, 4), 3, axis=0)
    scheme = fitted(name, vectors, levels=2, codes=4)
    identifiers = [own[0] for own in scheme.encode(documents(12), vectors)]
    assert [identifier[-1] for identifier in identifiers] == [0, 1, 2] * 4
    assert scheme.num_collisions == 8 and scheme.level_sizes() == [4, 4, 64]
    assert scheme.to_text((3, 1, 0)) == "3-1" and scheme.to_text((3, 1, 2)) == "3-1+2"


@pytest.mark.parametrize("name", NAMES)
def test_a_full_place_passes_its_documents_to_the_next_nearest_codeword(name):
    vectors = gaussian(32, 4)
    scheme = fitted(name, vectors, levels=2, codes=4, ties=2)
    same = np.repeat(vectors[:1], 8, axis=0)
    identifiers = [own[0] for own in scheme.encode(documents(8), same)]
    first = int(scheme.quantise(same)[0, 0])
    assert {identifier[0] for identifier in identifiers} == {first}
    assert [identifier[-1] for identifier in identifiers] == [0, 1] * 4
    rest = same[0] - scheme.full_codebooks()[0, first]
    distances = np.square(scheme.full_codebooks()[1] - rest).sum(axis=1)
    assert [i[1] for i in identifiers[::2]] == np.argsort(distances).tolist()
    assert scheme.num_collisions == 7
    with pytest.raises(
        InputError, match=r"'d0': all 4 x 2 identifiers .* raise ties, levels or codes"
    ):
        scheme.encode(documents(1), same[:1], set(identifiers))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("count", "codes"), [(1, 2), (2, 2), (3, 2), (5, 4), (31, 16), (32, 32)])
def test_a_small_corpus_shrinks_the_codebooks(name, count, codes):
    vectors = gaussian(count, 8)
    scheme = fitted(name, vectors, levels=2, codes=32)
    assert scheme.level_sizes() == [codes, codes, 64]
    assert np.isfinite(scheme.full_codebooks()).all()
    assert len({own[0] for own in scheme.encode(documents(count), vectors)}) == count


@pytest.mark.parametrize("name", NAMES)
def test_equal_vectors_can_be_fitted(name):
    vectors = np.ones((40, 4), dtype=np.float32)
    scheme = fitted(name, vectors, levels=2, codes=8)
    assert len({own[0] for own in scheme.encode(documents(40), vectors)}) == 40


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_matters_and_suffices(name):
    vectors = gaussian(300, 8)
    books = [fitted(name, vectors, levels=2, codes=16, seed=s).codebooks for s in (1, 1, 2)]
    assert np.array_equal(books[0], books[1]) and not np.array_equal(books[0], books[2])


def test_levels_that_do_not_divide_the_dimension_name_divisors():
    with pytest.raises(
        InputError, match=r"levels = 5 .* dimension 12; use one of 1, 2, 3, 4, 6, 12"
    ):
        fitted("product", gaussian(20, 12), levels=5, codes=4)


@pytest.mark.parametrize("name", NAMES)
def test_bad_vectors_are_named(name):
    vectors = gaussian(20, 4)
    scheme = fitted(name, vectors, levels=2, codes=4)
    with pytest.raises(InputError, match=r"shape \(20, 4\), got \(19, 4\)"):
        scheme.encode(documents(20), vectors[:19])
    with pytest.raises(InputError, match=r"shape \(20, 4\), got \(20, 3\)"):
        scheme.encode(documents(20), vectors[:, :3])
    vectors[7, 1] = np.nan
    with pytest.raises(InputError, match="'d7': its vector holds NaN"):
        scheme.encode(documents(20), vectors)


def test_a_codebook_of_other_dimensions_is_refused(tmp_path):
    fitted("residual", gaussian(20, 4), levels=2, codes=4).save(tmp_path)
    hierarchical = build("hierarchical").fit(documents(9), gaussian(9, 4))
    hierarchical.save(tmp_path / "tree")
    (tmp_path / "tree" / "scheme.safetensors").replace(tmp_path / "scheme.safetensors")
    with pytest.raises(InputError, match="no array 'codebooks' of 3 dimensions"):
        load_scheme(tmp_path)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("residual", lambda books: np.full_like(books, np.nan), "'codebooks' holds NaN"),
        ("product", lambda books: np.full_like(books, np.inf), "'codebooks' holds NaN"),
        ("residual", lambda books: books.astype(np.float64), "and type float32"),
        ("residual", lambda books: books[:, :3], r"codebooks of shape \[2, 3, 4\] for 2 levels"),
        ("product", lambda books: books[:1], r"codebooks of shape \[1, 4, 2\] for 2 levels"),
    ],
)
def test_codebooks_that_would_end_the_process_in_faiss_are_refused(tmp_path, name, change, message):
    scheme = fitted(name, gaussian(20, 4), levels=2, codes=4)
    scheme.codebooks = change(scheme.codebooks)
    scheme.save(tmp_path)
    with pytest.raises(InputError, match=message):
        load_scheme(tmp_path)


def test_a_beam_beyond_memory_is_refused():
    assert build("residual", beam=1024).options.beam == 1024
    with pytest.raises(InputError, match="beam"):
        build("residual", beam=10**9)


def test_numbering_skips_used_numbers():
    numbering = TieBreaker(3, {(7, 0), (7, 2)})
    assert [numbering.next_symbol((7,)) for _ in range(2)] == [(7, 1), None]
    assert [numbering.next_symbol((8,)) for _ in range(4)] == [(8, 0), (8, 1), (8, 2), None]
