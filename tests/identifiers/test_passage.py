from genir.config import IdentifierSection
from genir.identifiers.passage import document_passages
from genir.identifiers.registry import build_scheme
from genir.identifiers.table import IdentifierTable
from genir.types import Document

GUIDE = Document("guide", "the path  of anna\nand more of it", title="guide")
TWIN = Document("twin", "the path of anna, once more", title="guide")
BARE = Document("bare", " \n")


def build(tokenizer, **options):
    section = IdentifierSection.model_validate({"scheme": "passage", **options})
    return build_scheme(section, tokenizer).fit([GUIDE])


def test_passages_are_cut_from_the_beginning_of_title_and_text():
    assert document_passages(GUIDE, 3, 9) == ["guide. the path", "of anna and", "more of it"]
    assert document_passages(GUIDE, 4, 2) == ["guide. the path of", "anna and more of"]
    assert document_passages(GUIDE, 50, 3) == ["guide. the path of anna and more of it"]
    assert document_passages(BARE, 3, 2) == ["bare"]


def test_identifiers_are_the_passages_tokens_and_an_end(tokenizer):
    scheme = build(tokenizer, words=2, count=2)
    first, second = ([*tokenizer.encode(t), scheme.end] for t in ("guide. the", "path of"))
    assert scheme.encode([GUIDE]) == [[tuple(first), tuple(second)]]
    assert scheme.to_text(tuple(second)) == "path of"


def test_length_is_a_parameter_in_tokens_too(tokenizer):
    scheme = build(tokenizer, words=9, max_tokens=4)
    whole = tokenizer.encode("guide. the path of anna")
    assert scheme.encode([GUIDE]) == [[(*whole[:3], scheme.end)]]


def test_documents_share_a_passage_and_each_is_found_by_it(tokenizer):
    scheme = build(tokenizer, words=3)
    identifiers = scheme.encode([GUIDE, TWIN])
    assert identifiers[0] == identifiers[1]
    table = IdentifierTable.build(identifiers, ["guide", "twin"])
    assert table.documents.tolist() == [0, 1]


def test_a_passage_that_comes_twice_is_one_identifier(tokenizer):
    twice = Document("twice", "of the of the")
    assert [len(own) for own in build(tokenizer, words=2, count=2).encode([twice])] == [1]
