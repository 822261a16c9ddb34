"""Candidates of each source, as rows of the table: what a teacher ranks, or the model generates.

Generated lists are made anew at each step from weights and batch, so that a resumed training makes
the same ones.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from genir.decoding.beam import beam_search
from genir.decoding.masks import LiveRows
from genir.models.base import Batch, DocidModel
from genir.models.modes import evaluating
from genir.training.losses.base import Setting
from genir.training.losses.teachers import Teacher, TeacherOptions, open_teacher

GENERATED = "generated"


class Lists(NamedTuple):
    """Candidates, best first.

    rows: int64 [B, C], -1 where a source has no more. scores: float32 [B, C], the teacher's.
    """

    rows: Tensor
    scores: Tensor

    def first(self, kept: Tensor, count: int) -> "Lists":
        """Return the first of those that are kept, bool [B, C], at most so many a source."""
        order = (~kept).byte().sort(dim=1, stable=True).indices[:, :count]
        rows = self.rows.masked_fill(~kept, -1)
        return Lists(rows.gather(1, order), self.scores.gather(1, order))


class NegativeOptions(TeacherOptions):
    """teacher: as elsewhere, or "generated": what the model itself would answer by now.

    count: negatives a source.
    """

    teacher: str = Field(default=GENERATED, min_length=1)
    count: int = Field(default=8, ge=1)

    def files(self) -> list[Path]:
        """Return the files it is read from."""
        return [] if self.teacher == GENERATED else super().files()


class Negatives:
    """The first candidates of each source that are not known to answer it."""

    def __init__(self, options: NegativeOptions, setting: Setting) -> None:
        self.options = options
        self.setting = setting
        self.teacher: Teacher | None = None
        if options.teacher != GENERATED:
            self.teacher = open_teacher(options, setting)

    def of(self, model: DocidModel, batch: Batch) -> Tensor:
        """Return rows, int64 [B, C], -1 where a source has no more."""
        more = self.options.count + batch.answers.shape[1]
        if self.teacher is None:
            rows = generate(model, self.setting, batch, more)
            lists = Lists(rows, torch.zeros(rows.shape, device=rows.device))
        else:
            lists = ask(self.teacher, self.setting, batch, more)
        return lists.first(wrong(self.setting, batch, lists.rows), self.options.count).rows


def generate(model: DocidModel, setting: Setting, batch: Batch, beams: int) -> Tensor:
    """Return the rows that search would find by now, int64 [B, C], -1 where there are no more."""
    trie = setting.trie
    live = LiveRows.build([setting.table.live]).to(batch.rows.device)
    decoding = setting.recipe.decoding.model_copy(update={"beams": min(beams, trie.rows)})
    with evaluating(model):  # no dropout: it would also draw random numbers
        found = beam_search(model, trie, batch.inputs, live, decoding)
    # Outside inference mode, a copy may take part in what has gradients.
    return found.low.clone().masked_fill(found.score == -torch.inf, -1)


def ask(teacher: Teacher, setting: Setting, batch: Batch, count: int) -> Lists:
    """Return the teacher's candidates of each source, by the first row of each document."""
    table, device = setting.table, batch.rows.device
    answers = teacher.rank(batch.sources, count)
    longest = max(1, *map(len, answers))
    rows = torch.full((len(answers), longest), -1)
    scores = torch.zeros(rows.shape)
    for place, hits in enumerate(answers):
        for rank, hit in enumerate(hits):
            rows[place, rank] = int(table.rows_of(table.number(hit.key))[0])
            scores[place, rank] = hit.score
    return Lists(rows.to(device), scores.to(device))


def wrong(setting: Setting, batch: Batch, rows: Tensor) -> Tensor:
    """Tell which candidates [B, C] no document has that is known to answer: bool [B, C]."""
    symbols = setting.trie.symbols
    same = (symbols[rows.clamp(min=0)] == symbols[batch.rows].unsqueeze(1)).all(dim=2)
    return (rows >= 0) & ~setting.held_by(rows, batch.answers) & ~same
