import json

import pytest

from genir.config import IdentifierSection
from genir.errors import InputError
from genir.identifiers.registry import build_scheme, load_scheme
from genir.identifiers.table import IdentifierTable
from genir.identifiers.views import KINDS, url_words
from genir.types import Document

GUIDE = Document("guide", "the path of python.", title="anna", url="https://docs.org/the/guide")
TWIN = Document("twin", "the library", title="anna")
BARE = Document("bare", " \n")
CORPUS = [GUIDE, TWIN, BARE]
ASKED = {"guide": ["path of anna", "the  guide"], "twin": ["the guide"]}


@pytest.fixture
def made(tmp_path):
    path = tmp_path / "made.jsonl"
    lines = [{"document": key, "text": text} for key, texts in ASKED.items() for text in texts]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def build(tokenizer, asked=None, **options):
    section = IdentifierSection.model_validate({"scheme": "views", **options})
    scheme = build_scheme(section, tokenizer)
    scheme.set_pseudo_queries(asked or {})
    return scheme.fit(CORPUS)


def described(scheme, document):
    (own,) = scheme.encode([document])
    return [scheme.to_text(identifier) for identifier in own]


def test_a_document_has_its_views_each_marked_by_its_kind(tokenizer, made):
    scheme = build(tokenizer, queries=str(made), ngrams=1, n=99)
    assert described(scheme, GUIDE) == [
        "query: path of anna",
        "query: the guide",
        "title: anna",
        "url: the guide",
        "text: anna. the path of python.",
    ]
    assert described(scheme, TWIN)[:2] == ["query: the guide", "title: anna"]
    assert described(scheme, BARE)[0].startswith("text: ")


def test_a_kind_is_one_subtree_and_views_are_shared(tokenizer, made):
    scheme = build(tokenizer, queries=str(made))
    table = IdentifierTable.build(scheme.encode(CORPUS), [document.key for document in CORPUS])
    firsts = [table.identifier(row)[0] for row in range(len(table))]
    assert firsts == sorted(firsts) and set(firsts) == set(scheme.prefixes.values())
    assert len(scheme.prefixes) == len(KINDS)
    shared = [row for row in range(len(table)) if scheme.to_text(table.identifier(row)) in
              ("title: anna", "query: the guide")]  # fmt: skip
    assert [table.key_of(row) for row in shared] == ["guide", "twin", "guide", "twin"]


def test_n_grams_are_drawn_by_seed_and_key_alone(tokenizer):
    long = Document("long", " ".join(["the guide", "anna of", "path python"] * 4))
    other = Document("other", long.text)
    scheme = build(tokenizer, n=3, ngrams=4)
    own = described(scheme, long)
    assert own == described(build(tokenizer, n=3, ngrams=4), long)
    assert own == [scheme.to_text(i) for i in scheme.encode([TWIN, long])[1]]
    seeds = [described(build(tokenizer, n=3, ngrams=4, seed=s), long) for s in range(9)]
    assert len({tuple(one) for one in [*seeds, described(scheme, other)]}) > 1
    for text in own:
        assert text.removeprefix("text: ") in long.text
        assert len(text.split()) == 1 + 3


def test_views_may_be_left_out(tokenizer):
    scheme = build(tokenizer, title=False, ngrams=0)
    assert described(scheme, GUIDE) == ["url: the guide"]
    assert described(scheme, TWIN) == ["text: anna. the library"]  # it has no other view


def test_long_views_are_cut_with_their_mark_and_end(tokenizer):
    scheme = build(tokenizer, max_tokens=5, url=False)
    for own in scheme.encode(CORPUS):
        assert all(len(one) <= 5 and one[-1] == scheme.end for one in own)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://docs.org/the/red-guide.html#top", "the red guide html top"),
        ("docs.org/a%20b", "a b"),
        ("https://www.docs.org/", "docs.org"),
    ],
)
def test_a_url_is_its_path_in_words(url, words):
    assert url_words(Document("d", "", url=url)) == words


def test_queries_of_other_documents_are_refused(tokenizer, made):
    made.write_text('{"document": "gide", "text": "what?"}\n')
    with pytest.raises(InputError, match=r"made.jsonl:1: document 'gide' is unknown"):
        build(tokenizer, queries=str(made))


def test_queries_are_handed_over_or_read_from_a_file_that_is_named(tokenizer, made):
    handed = build(tokenizer, {"twin": ["of  anna"]})
    assert described(handed, TWIN)[:2] == ["query: of anna", "title: anna"]
    named = build(tokenizer, {"twin": ["of  anna"]}, queries=str(made))
    assert described(named, TWIN)[:2] == ["query: the guide", "title: anna"]


@pytest.mark.parametrize("handed", [True, False])
def test_a_saved_scheme_needs_the_file_no_more(tokenizer, made, tmp_path, handed):
    own = {"asked": ASKED} if handed else {"queries": str(made)}
    scheme = build(tokenizer, **own)
    before = scheme.encode(CORPUS)
    scheme.save(tmp_path / "identifiers")
    made.unlink()
    again = load_scheme(tmp_path / "identifiers", tokenizer)
    assert again.encode(CORPUS) == before
    assert again.encode([Document("new", "the guide", title="new")])


def test_a_tokenizer_that_does_not_know_digits_is_refused(tokenizer):
    class Blind:
        eos_token_id, sep_token_id = 4, 4

        def encode(self, text, add_special_tokens=True, verbose=True):
            return [7]

    with pytest.raises(InputError, match="does not distinguish the digits 1, 2, 3, 4"):
        build_scheme(IdentifierSection(scheme="views"), Blind())
