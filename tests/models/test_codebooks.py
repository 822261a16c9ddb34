from math import exp, log

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from genir.identifiers.table import IdentifierTable
from genir.models.encoder_head.codebooks import CodebookHead


def table_of(*identifiers):
    return IdentifierTable.build(
        [[i] for i in identifiers], [str(n) for n in range(len(identifiers))]
    )


def head_of(table, sizes, width=4):
    torch.manual_seed(0)
    head = CodebookHead(sizes, width, table)
    for parameter in head.codebooks:
        torch.nn.init.normal_(parameter)
    return head


CODES = table_of((0, 1, 0), (0, 1, 1), (0, 2, 0), (1, 0, 0), (1, 2, 0), (2, 2, 0))
SIZES = [3, 3, 2]


def prefix_score(head, query, identifier, length):
    """Inner product of a query with the sum of the first codewords, in plain Python."""
    books = [book.tolist() for book in head.codebooks]
    return sum(
        q * books[level][symbol][column]
        for level, symbol in enumerate(identifier[:length])
        for column, q in enumerate(query)
    )


def brute_force_loss(head, table, query, row, lengths):
    """The mean over prefix lengths of -log p(prefix), a softmax over the prefixes of all rows."""
    losses = []
    for length in lengths:
        prefixes = [table.identifier(r)[:length] for r in range(len(table))]
        weights = [exp(prefix_score(head, query, p, length)) for p in prefixes]
        same = [w for w, prefix in zip(weights, prefixes, strict=True) if prefix == prefixes[row]]
        losses.append(log(sum(weights)) - log(sum(same)))
    return sum(losses) / len(losses)


def test_the_loss_of_one_level_is_cross_entropy_over_its_rows():
    head = head_of(table_of((0,), (1,), (2,)), [3])
    query, rows = torch.randn(5, 4), torch.tensor([0, 2, 1, 1, 0])
    logits = query @ head.codebooks[0].T
    for smoothing in (0.0, 0.2):
        expected = F.cross_entropy(logits, rows, reduction="none", label_smoothing=smoothing)
        torch.testing.assert_close(head.loss(query, rows, smoothing), expected)


def test_the_loss_of_codes_is_that_of_the_formula():
    head, query = head_of(CODES, SIZES), torch.randn(6, 4)
    # Three levels: all of them, then 2 (without the tie), then 1.
    expected = [
        brute_force_loss(head, CODES, query[row].tolist(), row, [3, 2, 1]) for row in range(6)
    ]
    found = head.loss(query, torch.arange(6), 0.0)
    torch.testing.assert_close(found, torch.tensor(expected))


def test_the_loss_of_uneven_lengths_is_that_of_the_formula():
    table = table_of((0, 0), (0, 1, 0), (0, 1, 1), (1,))
    head, query = head_of(table, [2, 2, 2]), torch.randn(4, 4)
    expected = [
        brute_force_loss(head, table, query[row].tolist(), row, [3, 2, 1]) for row in range(4)
    ]
    torch.testing.assert_close(head.loss(query, torch.arange(4), 0.0), torch.tensor(expected))


@pytest.mark.parametrize(
    ("levels", "lengths"), [(1, {1}), (2, {2, 1}), (3, {3, 2, 1}), (17, {17, 16, 8, 4, 2, 1})]
)
def test_the_loss_sees_all_and_halves_of_it(levels, lengths):
    head = head_of(table_of((0,) * levels, (1,) * levels), [2] * levels)
    query = torch.randn(1, 4)
    expected = brute_force_loss(
        head, table_of((0,) * levels, (1,) * levels), query[0].tolist(), 1, lengths
    )
    found = head.loss(query, torch.tensor([1]), 0.0)
    torch.testing.assert_close(found, torch.tensor([expected]))


def test_the_loss_reaches_every_codeword_that_is_used():
    head = head_of(CODES, SIZES)
    head.loss(torch.randn(6, 4), torch.arange(6), 0.1).mean().backward()
    assert all((book.grad.abs().sum(dim=1) > 0).all() for book in head.codebooks)


def test_scores_are_inner_products():
    head, hidden = head_of(CODES, SIZES), torch.randn(2, 1, 4)
    for depth in range(3):
        expected = torch.einsum("bkh,sh->bks", hidden, head.codebooks[depth])
        torch.testing.assert_close(head.scores(hidden, depth), expected)


def test_a_document_s_score_is_the_sum_over_its_levels():
    head, hidden = head_of(CODES, SIZES), torch.randn(1, 1, 4)
    whole = head.row_vectors() @ hidden[0, 0]
    for row in range(len(CODES)):
        steps = zip(range(3), CODES.identifier(row), strict=True)
        parts = [head.scores(hidden, depth)[0, 0, symbol] for depth, symbol in steps]
        torch.testing.assert_close(sum(parts), whole[row])


def test_codewords_are_copied_and_ties_start_at_zero():
    head = CodebookHead(SIZES, 3, CODES)
    books = np.arange(18, dtype=np.float32).reshape(2, 3, 3)
    head.init_codebooks(books)
    for level in range(2):
        assert head.codebooks[level].tolist() == books[level].tolist()
    assert head.codebooks[2].tolist() == [[0, 0, 0], [0, 0, 0]]
    assert (head.row_vectors()[1] == torch.from_numpy(books[0, 0] + books[1, 1])).all()


def test_missing_codewords_stay_zero():
    head = CodebookHead(SIZES, 2, CODES)
    head.init_codebooks([np.ones((2, 2), dtype=np.float32)])
    assert head.codebooks[0].tolist() == [[1, 1], [1, 1], [0, 0]]


def test_ranking_is_not_rounded_to_bf16():
    head, hidden = head_of(CODES, SIZES), torch.randn(2, 1, 4)
    exact = head.scores(hidden, 0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head.scores(hidden, 0), exact)


@pytest.mark.parametrize("fused", [False, True])
def test_rows_have_unit_length_in_search_after_training(fused):
    head, query = head_of(table_of((0,), (1,), (2,)), [3]), torch.randn(2, 4)
    optimiser = torch.optim.AdamW(head.parameters(), 1.0, fused=fused)
    for _ in range(3):
        head.eval()
        expected = query @ F.normalize(head.codebooks[0].detach(), dim=1).T
        with torch.inference_mode():
            torch.testing.assert_close(head.scores(query, 0), expected)
            torch.testing.assert_close(head.row_vectors() @ query.T, expected.T)
        head.train().loss(query, torch.tensor([0, 1]), 0.0).mean().backward()
        optimiser.step()
    head.eval().load_state_dict({k: torch.ones_like(v) for k, v in head.state_dict().items()})
    torch.testing.assert_close(head.scores(query, 0)[:, 0], query.sum(dim=1) / 2)


def test_anchoring_moves_unit_rows_by_a_vector_a_document():
    table = table_of((1,), (0,))  # rows sorted: row 0 is the second document's
    head = head_of(table, [2], width=2)
    head.init_codebooks([np.array([[0, 5], [3, 0]], dtype=np.float32)])
    head.blend_document_vectors(np.array([[0, 1], [3, 1]], dtype=np.float32))
    # The first document, symbol 1: (1, 0) + (0, 1); the second, symbol 0: (0, 1) + (3, 1).
    expected = torch.tensor([[3 / 13**0.5, 2 / 13**0.5], [0.5**0.5, 0.5**0.5]])
    torch.testing.assert_close(head.codebooks[0].data, expected)
    torch.testing.assert_close(head.scores(torch.eye(2), 0), expected.T)


@pytest.mark.parametrize("scored_before", [False, True])
def test_rows_are_added_and_replaced_in_place(scored_before):
    table = table_of(*[(n,) for n in range(3)])
    head, query = head_of(table, [3]).eval(), torch.randn(2, 4)
    expected = head.codebooks[0].detach().clone()
    rng, addresses = np.random.default_rng(0), set()
    for place in [*range(3, 60), 1, 40]:
        if scored_before:
            head.scores(query, 0)
        row = torch.from_numpy(rng.normal(size=4).astype(np.float32))
        size, before = max(len(expected), place + 1), head._codebook_version()
        head.set_rows(size, torch.tensor([place]), row[None])
        expected = F.pad(expected, (0, 0, 0, size - len(expected)))
        expected[place] = row
        assert torch.equal(head.codebooks[0], expected)
        unit = F.normalize(expected, dim=1)
        torch.testing.assert_close(head.scores(query, 0), query @ unit.T)
        assert head._codebook_version() != before  # captured searches notice the change
        addresses.add(head.codebooks[0].data_ptr())
    assert len(addresses) < 30  # most changes copy no other row


def test_normalised_rows_are_held_once():
    head = head_of(table_of(*[(n,) for n in range(3)]), [3]).eval()
    head.scores(torch.randn(1, 4), 0)
    head.set_rows(4, torch.tensor([3]), torch.ones(1, 4))
    head.train().eval()
    held = [storage._storage is not None for storage in head._growing]
    assert head.unit is None and held == [True, False]  # the trained rows only
    head.scores(torch.randn(1, 4), 0)
    assert head.unit[0].untyped_storage().nbytes() == 4 * 4 * 4
    head.double()
    assert all(storage._storage is None for storage in head._growing)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [([[1.0, 0.0]], 0), ([[1.0, 0.0], [0.0, 3.0]], 0), ([[1.0, 0.0], [3.0, 0.0]], 1),
     ([[2.0, 0.0], [-1.0, 0.0]], -1), ([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], 2 / 3 * 0.5**0.5)],
)  # fmt: skip
def test_similarity_of_different_documents(rows, expected):
    head = head_of(table_of(*((n,) for n in range(len(rows)))), [len(rows)], width=2)
    head.init_codebooks([np.array(rows, dtype=np.float32)])
    assert head.mean_similarity() == pytest.approx(expected, abs=1e-6)
