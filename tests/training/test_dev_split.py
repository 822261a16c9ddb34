import pytest

from genir.corpus.query_digests import normalise_query
from genir.training.dev_split import make_dev_split
from genir.types import Document


def asked(count):
    """`count` queries over 20 documents; every seventh has two relevant documents."""
    queries = {}
    for number in range(count):
        for document in {number % 20, (number * 7) % 20 if number % 7 == 0 else number % 20}:
            queries.setdefault(f"d{document}", []).append(f"question {number}")
    return queries


def texts_of(queries):
    return {text for texts in queries.values() for text in texts}


@pytest.mark.parametrize("count", [10, 57, 300])
@pytest.mark.parametrize("wanted", [0, 1, 8, 500])
@pytest.mark.parametrize("seed", [0, 1])
def test_dev_is_carved_from_the_train_queries(count, wanted, seed):
    queries = asked(count)
    split = make_dev_split([], queries, wanted, seed)
    dev, train = set(split.questions), texts_of(split.train)
    assert not split.is_synthetic
    assert len(dev) == min(wanted, count // 10)
    assert not dev & train and dev | train == texts_of(queries)
    for text, keys in split.questions.items():
        assert keys == {key for key, texts in queries.items() if text in texts}
    assert all(split.train.values())


def test_the_seed_alone_decides():
    queries = asked(300)
    shuffled = {key: queries[key] for key in sorted(queries, reverse=True)}
    one, two = make_dev_split([], queries, 20, 0), make_dev_split([], shuffled, 20, 0)
    assert list(one.questions) == list(two.questions)
    assert list(one.questions) != list(make_dev_split([], queries, 20, 1).questions)


def test_few_train_queries_are_all_for_training():
    split = make_dev_split([], asked(9), 500, 0)
    assert not split.questions and texts_of(split.train) == texts_of(asked(9))


def test_without_train_queries_the_questions_are_made_up_and_say_so(documents):
    split = make_dev_split(documents, {}, 25, 0)
    assert split.is_synthetic and split.train == {} and len(split.questions) == 25
    texts = {document.key: f"{document.title} {document.text}" for document in documents}
    for text, keys in split.questions.items():
        assert len(text.split()) == 8
        assert all(text in texts[key] for key in keys)
    assert split == make_dev_split(documents, {}, 25, 0)
    assert split.questions.keys() != make_dev_split(documents, {}, 25, 1).questions.keys()


def test_a_made_up_question_is_answered_by_every_document_it_was_cut_from():
    twins = [Document("a", "same words"), Document("b", "same words"), Document("c", "others")]
    split = make_dev_split(twins, {}, 500, 0)
    assert split.questions == {"same words": {"a", "b"}, "others": {"c"}}


def test_few_train_queries_leave_dev_to_spans_of_documents():
    corpus = [Document("d0", "one two three", "a title")]
    split = make_dev_split(corpus, asked(9), 500, 0)
    assert split.is_synthetic and split.questions == {"a title one two three": frozenset(["d0"])}


SPELLINGS = ("How to reset router {}?", "how to reset router {}?", "How to  reset\trouter {}?")


def test_spellings_of_a_dev_question_are_held_out_with_it():
    """A query log has a query in several cases and spacings; none of them may be a train query."""
    queries = {f"d{n}": [text.format(n) for text in SPELLINGS] for n in range(50)}
    split = make_dev_split([], queries, 5, 0)
    assert len(split.questions) == 5
    assert not {normalise_query(text) for text in split.questions} & set(
        map(normalise_query, texts_of(split.train))
    )
    assert sum(map(len, split.train.values())) == 3 * 45


def test_spellings_of_one_query_are_one_question_with_all_their_answers():
    queries = {f"d{n}": [f"question {n}"] for n in range(20)}
    queries["other"] = [f"QUESTION  {n}" for n in range(20)]
    split = make_dev_split([], queries, 500, 0)
    assert len(split.questions) == 2
    for text, keys in split.questions.items():
        assert keys == {f"d{text.split()[1]}", "other"}
        assert text.startswith("QUESTION  ")  # the first in code point order
    assert len(split.train["other"]) == 18


def test_spellings_of_nine_queries_are_too_few_to_spare_one(documents):
    queries = {"d1": [text.format(n) for n in range(9) for text in SPELLINGS]}
    assert make_dev_split(documents, queries, 5, 0).is_synthetic
