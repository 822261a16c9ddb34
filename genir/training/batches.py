"""Conversion of examples to length-bucketed batches, deterministic for any number of processes."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import torch

from genir.identifiers.table import PAD, IdentifierTable
from genir.models.base import Batch, Trainable
from genir.models.tokenization import encode_texts, pad_batch
from genir.tasks.base import TrainQueries
from genir.tasks.chunking import clean
from genir.types import Example, Identifier

Answers = Mapping[str, Mapping[int, None]]
"""Numbers of the documents that answer a text, in order."""
POOL = 16
"""Batches per length-sorted pool: less padding, while the order stays well mixed."""


class Batcher:
    """Converts an epoch's examples to batches of tensors.

    Args:
        model: Has the tokenizer, the prompt before each source, and the separator symbol between
            the identifiers of a joined target.
        batch_size: Examples per process.
        lengths: Maximum tokens of (source, text or joined target).
        known: Answers of train queries, to fill `Batch.answers`; None if no loss needs them.
    """

    def __init__(
        self,
        model: Trainable,
        table: IdentifierTable,
        batch_size: int,
        lengths: tuple[int, int],
        known: Answers | None = None,
    ) -> None:
        self.known = known
        self.separator: int | None = model.separator
        self.prompt = model.source_prompt
        self.tokenizer: Any = model.tokenizer
        self.table = table
        self.batch_size = batch_size
        self.source_length, self.target_length = lengths

    def count(self, examples: Sequence[Example]) -> int:
        """Return the number of batches of the examples."""
        size = self.batch_size * POOL
        pools = (examples[start : start + size] for start in range(0, len(examples), size))
        return sum(len(self._cuts(pool)) for pool in pools)

    def batches(self, examples: Sequence[Example], rng: Random, skip: int = 0) -> Iterator[Batch]:
        """Yield one epoch's batches without the first `skip`, which are not tokenized."""
        size = self.batch_size * POOL
        answers = {} if self.known is None else self._answers(examples, self.known)
        for start in range(0, len(examples), size):
            pool = examples[start : start + size]
            order_rng = Random(rng.getrandbits(64))
            count = len(self._cuts(pool))
            if skip >= count:
                skip -= count
                continue
            for batch in self._pool(pool, order_rng, skip):
                own = [answers.get(source, ()) for source in batch.sources]
                yield replace(batch, answers=_padded(own))
            skip = 0

    def _answers(self, examples: Sequence[Example], known: Answers) -> Answers:
        """Return the documents of each source: all owners of one of its target identifiers."""

        @cache
        def owners(target: Identifier) -> list[int]:
            rows = self.table.rows_with(target)
            numbers: list[int] = self.table.documents[rows.start : rows.stop].tolist()
            return numbers

        numbers: dict[str, dict[int, None]] = {}
        for example in examples:
            if not isinstance(example.target, str):
                own = numbers.setdefault(example.typed_source, {})
                for target in (example.target, *example.extra_targets):
                    own.update(dict.fromkeys(owners(target)))
                own.update(known.get(example.typed_source, {}))
        return numbers

    def _cuts(self, pool: Sequence[Example]) -> list[slice]:
        """Split a pool into batches of one target kind each, identifiers before texts."""
        texts = sum(isinstance(example.target, str) for example in pool)
        middle, end, step = len(pool) - texts, len(pool), self.batch_size
        starts = [*range(0, middle, step), *range(middle, end, step)]
        return [slice(a, b) for a, b in pairwise([*starts, end])]

    def _pool(self, pool: Sequence[Example], rng: Random, skip: int) -> Iterator[Batch]:
        length = self.prompt.tokens + self.source_length
        ids = encode_texts(self.tokenizer, [e.source for e in pool], length, self.prompt.text)
        order = sorted(
            range(len(pool)), key=lambda i: (isinstance(pool[i].target, str), len(ids[i]))
        )
        groups = [order[cut] for cut in self._cuts(pool)]
        rng.shuffle(groups)
        for group in groups[skip:]:
            yield self._batch([pool[i] for i in group], [ids[i] for i in group])

    def _batch(self, examples: Sequence[Example], ids: Sequence[Sequence[int]]) -> Batch:
        input_ids, mask = pad_batch(ids, self.tokenizer.pad_token_id)
        targets = [self._target(example) for example in examples]
        rows = [-1 if isinstance(e.target, str) else self.table.row_of(e.target) for e in examples]
        return Batch(
            input_ids,
            mask,
            _padded(targets),
            torch.tensor(rows),
            torch.tensor([e.weight for e in examples], dtype=torch.float32),
            sources=tuple(e.typed_source for e in examples),
        )

    def _target(self, example: Example) -> Sequence[int]:
        if not isinstance(example.target, str):
            return self._joined(example.target, example.extra_targets)
        ids = self.tokenizer.encode(example.target, add_special_tokens=False)
        end = self.tokenizer.eos_token_id
        end = self.tokenizer.sep_token_id if end is None else end
        return [*ids[: self.target_length - 1], end]

    def _joined(self, first: Identifier, others: Sequence[Identifier]) -> Sequence[int]:
        """Concatenate identifiers, the first and as many others as fit, with the separator between.

        The separator replaces the end symbol of all but the last.
        """
        symbols = list(first)
        for other in others:
            if len(symbols) + len(other) > self.target_length:
                break
            assert self.separator is not None, "a joined target needs a separator"
            symbols[-1:] = [self.separator, *other]
        return symbols


def known_answers(queries: TrainQueries, table: IdentifierTable) -> Answers:
    """Return the documents that answer each train query, whether or not a task samples it."""
    numbers: dict[str, dict[int, None]] = {}
    for key, texts in queries.items():
        for text in texts if key in table else ():
            numbers.setdefault(clean(text), {})[table.number(key)] = None
    return numbers


def _padded(lists: Sequence[Collection[int]]) -> torch.Tensor:
    """Stack lists of numbers as rows, int64 [lists, longest], padded with -1."""
    filled = np.full((len(lists), max(map(len, lists))), PAD, dtype=np.int64)
    for row, numbers in zip(filled, lists, strict=True):
        row[: len(numbers)] = list(numbers)
    return torch.from_numpy(filled)
