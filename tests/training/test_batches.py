from collections import Counter
from random import Random
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoTokenizer

from genir.identifiers.table import PAD, IdentifierTable
from genir.models.tokenization import Prompt
from genir.training.batches import POOL, Batcher, known_answers
from genir.types import Example

TABLE = IdentifierTable.build([[(n % 7, n)] for n in range(50)], [f"d{n}" for n in range(50)])


@pytest.fixture(scope="module")
def tokenizer(tiny_encoder):
    return AutoTokenizer.from_pretrained(tiny_encoder)


def examples(count, texts_every=0):
    """`count` distinct examples of 1 to 19 words; every `texts_every`-th has a text target."""
    made = []
    for number in range(count):
        source = " ".join(str(number) * (1 + number % 19))
        target = (number % 50 % 7, number % 50)
        if texts_every and number % texts_every == 0:
            target = f"text {number}"
        made.append(Example(source, target, weight=1 + number % 3))
    return made


def read(batcher, batch):
    """Return the content of a batch as (tokens, target, row, weight)."""
    for ids, mask, target, row, weight in zip(
        batch.input_ids, batch.attention_mask, batch.targets, batch.rows, batch.weights, strict=True
    ):
        yield (
            tuple(ids[mask > 0].tolist()),
            tuple(target[target != PAD].tolist()),
            *(
                row.item(),
                weight.item(),
            ),
        )


def expected(batcher, example):
    tokens = batcher.tokenizer(example.source, truncation=True, max_length=64)["input_ids"]
    if isinstance(example.target, str):
        words = batcher.tokenizer.encode(example.target, add_special_tokens=False)
        return tuple(tokens), (*words, batcher.tokenizer.sep_token_id), -1, example.weight
    return tuple(tokens), example.target, TABLE.row_of(example.target), example.weight


def model(tokenizer, separator=None):
    return SimpleNamespace(tokenizer=tokenizer, separator=separator, source_prompt=Prompt())


SHAPES = [(1, 1, 0), (5, 8, 0), (8 * POOL, 8, 0), (8 * POOL + 1, 8, 3), (300, 4, 2), (130, 8, 1)]


@pytest.mark.parametrize(("count", "size", "texts"), SHAPES)
def test_an_epoch_holds_every_example_once(tokenizer, count, size, texts):
    batcher = Batcher(model(tokenizer), TABLE, size, (64, 8))
    given = examples(count, texts)
    batches = list(batcher.batches(given, Random(1)))
    found = Counter(row for batch in batches for row in read(batcher, batch))
    assert found == Counter(expected(batcher, example) for example in given)
    assert len(batches) == batcher.count(given)
    assert all(len(batch.rows) <= size for batch in batches)


@pytest.mark.parametrize(("count", "size", "texts"), SHAPES)
def test_a_batch_has_targets_of_one_kind(tokenizer, count, size, texts):
    batcher = Batcher(model(tokenizer), TABLE, size, (64, 8))
    for batch in batcher.batches(examples(count, texts), Random(1)):
        assert len(set((batch.rows < 0).tolist())) == 1


@pytest.mark.parametrize(("count", "size", "texts"), SHAPES)
def test_skipping_leaves_out_the_first_batches_and_nothing_else(tokenizer, count, size, texts):
    batcher = Batcher(model(tokenizer), TABLE, size, (64, 8))
    given = examples(count, texts)
    whole = list(batcher.batches(given, Random(1)))
    for skip in {0, 1, POOL - 1, POOL, len(whole) - 1, len(whole), len(whole) + 9}:
        rest = list(batcher.batches(given, Random(1), skip))
        assert len(rest) == max(0, len(whole) - skip)
        for one, two in zip(rest, whole[skip:], strict=True):
            assert torch.equal(one.input_ids, two.input_ids)
            assert torch.equal(one.targets, two.targets)


def test_the_order_is_the_seeds(tokenizer):
    batcher = Batcher(model(tokenizer), TABLE, 4, (64, 8))

    def order(seed):
        return [b.rows.tolist() for b in batcher.batches(examples(200), Random(seed))]

    assert order(1) == order(1) != order(2)
    lengths = [b.input_ids.shape[1] for b in batcher.batches(examples(200), Random(1))]
    assert lengths != sorted(lengths)  # otherwise a model sees short texts first in every pool


def test_padding_is_at_most_one_batch_of_the_longest_in_every_pool(tokenizer):
    size = 4
    batcher = Batcher(model(tokenizer), TABLE, size, (64, 8))
    given = examples(size * POOL * 5)
    padding = sum(int((b.attention_mask == 0).sum()) for b in batcher.batches(given, Random(1)))
    lengths = [len(expected(batcher, example)[0]) for example in given]
    assert padding <= 5 * size * (max(lengths) - min(lengths))


def test_long_sources_and_text_targets_are_cut(tokenizer):
    batcher = Batcher(model(tokenizer), TABLE, 2, (5, 4))
    given = [Example("file " * 40, "copy " * 40), Example("file", "copy")]
    (batch,) = batcher.batches(given, Random(1))
    assert batch.input_ids.shape == (2, 5) and batch.targets.shape == (2, 4)
    ends = [row[row != PAD][-1].item() for row in batch.targets]
    assert ends == [tokenizer.sep_token_id] * 2


END, PARTED = 9, 8
TITLES = IdentifierTable.build(
    [[(1, END)], [(2, 3, END)], [(4, END)], [(5, 6, 7, END)]], ["a", "b", "c", "d"]
)


def joined_batch(tokenizer, given, length=64):
    batcher = Batcher(model(tokenizer, PARTED), TITLES, 4, (64, length), known={})
    (batch,) = batcher.batches(given, Random(1))
    rows = zip(batch.sources, batch.targets, batch.rows, batch.answers, strict=True)
    return {
        source: (target[target != PAD].tolist(), row.item(), answers[answers >= 0].tolist())
        for source, target, row, answers in rows
    }


def test_a_joined_target_has_a_separator_for_every_end_but_the_last(tokenizer):
    given = [
        Example("one", (1, END)),
        Example("two", (2, 3, END), extra_targets=((1, END),)),
        Example("three", (4, END), extra_targets=((5, 6, 7, END), (1, END))),
    ]
    row = TITLES.row_of
    assert joined_batch(tokenizer, given) == {
        "one": ([1, END], row((1, END)), [0]),
        "two": ([2, 3, PARTED, 1, END], row((2, 3, END)), [1, 0]),
        "three": ([4, PARTED, 5, 6, 7, PARTED, 1, END], row((4, END)), [2, 3, 0]),
    }


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (3, [4, 3, 2, END]),  # the first is never truncated
        (6, [4, 3, 2, END]),
        (7, [4, 3, 2, PARTED, 2, 3, END]),
        (8, [4, 3, 2, PARTED, 2, 3, END]),
        (9, [4, 3, 2, PARTED, 2, 3, PARTED, 1, END]),
    ],
)
def test_a_joined_target_holds_the_identifiers_that_there_is_room_for(tokenizer, length, expected):
    table = IdentifierTable.build([[(4, 3, 2, END)], [(2, 3, END)], [(1, END)]], ["a", "b", "c"])
    given = [Example("one", (4, 3, 2, END), extra_targets=((2, 3, END), (1, END)))]
    batcher = Batcher(model(tokenizer, PARTED), table, 4, (64, length))
    (batch,) = batcher.batches(given, Random(1))
    assert batch.targets.tolist() == [expected]


SHARED = IdentifierTable.build([[(1, END), (2, END)], [(2, END)], [(3, END)]], ["a", "b", "c"])


def answers(tokenizer, given, queries):
    batcher = Batcher(model(tokenizer), SHARED, 8, (64, 8), known=known_answers(queries, SHARED))
    (batch,) = batcher.batches(given, Random(1))
    rows = zip(batch.sources, batch.answers, strict=True)
    return {source: sorted(own[own >= 0].tolist()) for source, own in rows}


def test_all_documents_that_hold_a_target_answer_its_source(tokenizer):
    given = [Example("one", (1, END)), Example("two", (2, END)), Example("three", (3, END))]
    assert answers(tokenizer, given, {}) == {"one": [0], "two": [0, 1], "three": [2]}


def test_a_train_query_is_answered_by_documents_that_were_not_drawn(tokenizer):
    queries = {"a": ["one"], "c": ["one ", "two"], "gone": ["one"]}
    assert answers(tokenizer, [Example("one", (1, END))], queries) == {"one": [0, 2]}


def test_a_misspelt_source_is_answered_as_it_was_meant(tokenizer):
    given = [
        Example("oen", (1, END), clean_source="one"),
        Example("noe", (3, END), clean_source="one"),
    ]
    assert answers(tokenizer, given, {}) == {"one": [0, 2]}
    batcher = Batcher(model(tokenizer), SHARED, 8, (64, 8), known={})
    (batch,) = batcher.batches(given, Random(1))
    assert batch.sources == ("one", "one")
    read = {tokenizer.decode(ids, skip_special_tokens=True) for ids in batch.input_ids}
    assert read == {tokenizer.decode(tokenizer(e.source)["input_ids"], skip_special_tokens=True)
                    for e in given}  # fmt: skip
    assert all(own.tolist() == [0, 2] for own in batch.answers.sort(dim=1).values)
