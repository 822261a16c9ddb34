"""Rows of new documents without training: queries that they must win or lose."""

import torch
import torch.nn.functional as F

from genir.models.encoder_head.incdsi import (
    IncDSIWeights,
    RankingConstraints,
    optimize_rows,
)

EAST, NORTH = torch.tensor([10.0, 0.0]), torch.tensor([0.0, 10.0])
NO_CONSTRAINTS = RankingConstraints(torch.zeros(0, 2), torch.zeros(0, 1), torch.zeros(0))
FIRM = IncDSIWeights(margin=1.0, leave=1.0, own=10.0, others=10.0)


def texts(*vectors, rival, new=1):
    return RankingConstraints(
        torch.stack(vectors), torch.zeros(len(vectors), new), torch.tensor(rival)
    )


def test_a_row_with_nothing_to_win_or_to_leave_stays_where_it_starts():
    start = F.normalize(torch.tensor([[1.0, 2.0]]), dim=1)
    own = texts(EAST, rival=[0.0])  # won already, by 4.47
    torch.testing.assert_close(optimize_rows(start, own, torch.tensor([0]), NO_CONSTRAINTS), start)


def test_a_row_moves_until_its_own_text_ranks_it_first():
    start = F.normalize(torch.tensor([[1.0, 2.0]]), dim=1)
    own = texts(EAST, rival=[8.0])
    row = optimize_rows(start, own, torch.tensor([0]), NO_CONSTRAINTS, FIRM)
    assert 8.9 < float(row[0] @ EAST) < 9.1  # the rival's score, and the margin
    assert abs(float(row.norm()) - 1) < 1e-5


def test_a_row_leaves_a_query_to_the_document_that_owns_it():
    start = F.normalize(torch.tensor([[1.0, 2.0]]), dim=1)
    own = texts(EAST, rival=[0.0])
    others = texts(NORTH, rival=[6.0])  # the start has 8.94
    row = optimize_rows(start, own, torch.tensor([0]), others, FIRM)
    assert float(row[0] @ NORTH) < 5.1


def test_new_rows_are_each_other_s_rivals():
    start = F.normalize(torch.tensor([[1.0, 1.0], [1.0, 1.0]]), dim=1)
    own = texts(EAST, NORTH, rival=[0.0, 0.0], new=2)
    one, other = optimize_rows(start, own, torch.tensor([0, 1]), NO_CONSTRAINTS, FIRM)
    assert float(one @ EAST - other @ EAST) > 0.5 < float(other @ NORTH - one @ NORTH)


def test_the_fixed_part_counts_though_it_does_not_move():
    start = F.normalize(torch.tensor([[1.0, 2.0]]), dim=1)
    own = RankingConstraints(EAST[None], torch.tensor([[5.0]]), torch.tensor([8.0]))
    row = optimize_rows(start, own, torch.tensor([0]), NO_CONSTRAINTS, FIRM)
    torch.testing.assert_close(row, start)  # 4.47 + 5 is above 8 + 1 already
