from collections import Counter
from random import Random

import pytest
from tokenizers import BertWordPieceTokenizer, ByteLevelBPETokenizer
from transformers import PreTrainedTokenizerFast

from genir.config import IdentifierSection, TaskSection
from genir.identifiers.registry import build_scheme
from genir.identifiers.text import whole_text
from genir.tasks.registry import build_task
from genir.types import Document

OIL = Document("oil", "The crisis of 1973 began\nwith an embargo on oil.", title="Oil crisis")
BARE = Document("bare", " ", title="")
CORPUS = [OIL, BARE]
QUERIES = {"oil": ["when did the  embargo begin?", " "]}
WORDS = whole_text(OIL).split()


def examples(seed=0, **options):
    task = build_task(TaskSection(task="overlaps", **options))
    return list(task.examples(CORPUS, None, QUERIES, Random(seed)))


def drawn(**options):
    return Counter(e.target for seed in range(400) for e in examples(seed, **options))


def test_each_query_leads_to_runs_of_words_of_its_document():
    made = [example for seed in range(40) for example in examples(seed, words=3, count=5)]
    assert [e.source for e in made] == ["when did the embargo begin?"] * 5 * 40
    assert {e.target for e in made} == {
        "Oil crisis. The",
        " crisis. The crisis",
        " crisis of 1973",
        " 1973 began with",
        " began with an",
        " embargo on oil.",
        " oil.",
    }


def test_runs_begin_with_a_content_word_and_end_with_the_document():
    # Stop words of "Oil crisis. The crisis of 1973 began with an embargo on oil.": the, of, with,
    # an, on.
    assert set(drawn(words=4)) == {
        "Oil crisis. The crisis",
        " crisis. The crisis of",
        " crisis of 1973 began",
        " 1973 began with an",
        " began with an embargo",
        " embargo on oil.",
        " oil.",
    }


def test_runs_that_share_words_with_the_query_are_drawn_more():
    """Two of seven runs hold `embargo`: e / (2 e + 5) each."""
    counts = drawn(words=4, count=1)
    share = 2.718 / (2 * 2.718 + 5)
    assert counts[" embargo on oil."] / counts.total() == pytest.approx(share, abs=0.07)
    assert counts[" oil."] / counts.total() == pytest.approx(share / 2.718, abs=0.05)
    cold = drawn(words=4, count=1, temperature=0.1)
    assert set(cold) == {" embargo on oil.", " began with an embargo"}
    assert set(drawn(words=4, count=1, temperature=1e-9)) == set(cold)


def test_without_queries_a_run_of_the_document_is_the_source():
    made = [e for seed in range(60) for e in examples(seed, source="spans", words=4, count=2)]
    starts = range(len(WORDS) - 3)
    assert {e.source for e in made} == {" ".join(WORDS[n : n + 4]) for n in starts}
    assert {e.target for e in made} == set(drawn(words=4))


@pytest.mark.parametrize("blanks", [True, False], ids=["BART's", "BERT's"])
def test_every_run_is_the_beginning_of_a_row(blanks):
    """A vocabulary of bytes has tokens of a blank and a word, which a text does not begin with."""
    tokenizer = byte_tokenizer() if blanks else word_tokenizer()
    scheme = build_scheme(IdentifierSection(scheme="ngram", n=3), tokenizer)
    rows = set(scheme.encode([OIL])[0])
    for target in drawn(words=4):
        tokens = tuple(tokenizer.encode(target, add_special_tokens=False))
        assert tokens[:3] in {row[: len(tokens)] for row in rows}, target


def byte_tokenizer():
    backend = ByteLevelBPETokenizer()
    backend.train_from_iterator([whole_text(OIL)] * 2, vocab_size=320, special_tokens=["</s>"])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>")


def word_tokenizer():
    backend = BertWordPieceTokenizer()
    backend.train_from_iterator([whole_text(OIL)] * 2, vocab_size=120)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="[SEP]")


def test_a_short_document_is_its_own_run():
    task = build_task(TaskSection(task="overlaps", source="spans", count=1))
    (example,) = task.examples([Document("of", "of the")], None, {}, Random(0))
    assert (example.source, example.target) == ("of the", "of the")
