"""Title and URL identifiers, beyond the shared suite."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from genir.config import IdentifierSection
from genir.errors import InputError
from genir.identifiers.registry import build_scheme, load_scheme
from genir.types import Document


def documents(titles=(), urls=()):
    count = max(len(titles), len(urls))
    titles, urls = titles or [""] * count, urls or [""] * count
    return [Document(f"d{n}", "text", titles[n], urls[n]) for n in range(count)]


def describe(tokenizer, corpus, **options):
    scheme = build_scheme(IdentifierSection.model_validate(options), tokenizer).fit(corpus)
    return [scheme.to_text(own[0]) for own in scheme.encode(corpus)]


def title(tokenizer, titles, **options):
    return describe(tokenizer, documents(titles), scheme="title", **options)


def url(tokenizer, urls, **options):
    return describe(tokenizer, documents(urls=urls), scheme="url", **options)


def test_a_title_is_its_tokens_and_the_end(tokenizer):
    scheme = build_scheme(IdentifierSection(scheme="title"), tokenizer)
    ((identifier,),) = scheme.encode(documents(["  The\n Guide "]))
    ids = [tokenizer.convert_tokens_to_ids(token) for token in ("the", "guide", "</s>")]
    assert identifier == tuple(ids)
    assert scheme.level_sizes() == [len(tokenizer)]


def test_without_eos_the_end_is_sep(bert_tokenizer):
    scheme = build_scheme(IdentifierSection(scheme="title"), bert_tokenizer)
    ((identifier,),) = scheme.encode(documents(["anna"]))
    assert identifier == tuple(bert_tokenizer.convert_tokens_to_ids(["anna", "[SEP]"]))


def test_equal_titles_are_numbered_from_2(tokenizer):
    assert title(tokenizer, ["Anna", "anna", "the", "ANNA"]) == ["anna", "anna 2", "the", "anna 3"]


def test_numbers_step_over_titles_that_look_numbered(tokenizer):
    assert title(tokenizer, ["anna 2", "anna", "anna"]) == ["anna 2", "anna", "anna 3"]
    assert title(tokenizer, ["anna", "anna", "anna 2"]) == ["anna", "anna 2", "anna 2 2"]


def test_numbering_continues_after_used_numbers(tokenizer):
    scheme = build_scheme(IdentifierSection(scheme="title"), tokenizer)
    first = scheme.encode(documents(["anna", "anna"]))
    assert scheme.num_collisions == 1
    taken = {own[0] for own in first}
    ((added,),) = scheme.encode(documents(["anna"]), reserved=taken)
    assert scheme.to_text(added) == "anna 3" and scheme.num_collisions == 2


def test_long_titles_are_cut_and_numbered_within_the_limit(tokenizer):
    titles = ["anna of the guide path", "anna of the guide docs"] * 6
    found = title(tokenizer, titles, max_tokens=5)
    assert found[:2] == ["anna of the guide", "anna of the 2"]
    assert found[8:11] == ["anna of the 9", "anna of 10", "anna of 11"]  # "10" is two pieces


def test_the_end_symbol_in_a_title_is_left_out(tokenizer):
    scheme = build_scheme(IdentifierSection(scheme="title"), tokenizer)
    ((identifier,),) = scheme.encode(documents(["anna </s> of"]))
    assert identifier.count(scheme.end) == 1 and scheme.to_text(identifier) == "anna of"


def test_a_document_without_title_or_url_is_named(tokenizer):
    with pytest.raises(InputError, match="'d1' has no title"):
        title(tokenizer, ["anna", " "])
    with pytest.raises(InputError, match="'d1' has no URL"):
        url(tokenizer, ["https://python.org/docs", ""])
    with pytest.raises(InputError, match="'d0' has no title"):
        url(tokenizer, ["https://python.org/docs"], form="title-domain")
    with pytest.raises(InputError, match="'d0': bad URL"):
        url(tokenizer, ["https://[python/docs"])


def test_a_title_of_nothing_but_the_end_symbol_is_named(tokenizer):
    with pytest.raises(InputError, match="'d0': no token in '</s>'"):
        title(tokenizer, ["</s>"])


LONG = [
    "https://www.docs.python.org/library/path.html#the-guide",
    "https://docs.python.org/library/docs/anna.html",
]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["path.html#the-guide", "docs/anna.html"]),
        ({"words": True}, ["path html the guide", "docs anna html"]),
        ({"strip": False}, LONG),
        (
            {"strip": False, "words": True},
            [
                "https www docs python org library path html the guide",
                "https docs python org library docs anna html",
            ],
        ),
        ({"order": "reversed"}, ["the-guide/path.html", "anna.html/docs"]),
        (
            {"order": "reversed", "words": True, "form": "path", "strip": False},
            ["the guide path html library", "anna html docs library"],
        ),
        ({"form": "path"}, ["path.html#the-guide", "docs/anna.html"]),
        (
            {"form": "path", "strip": False},
            ["/library/path.html#the-guide", "/library/docs/anna.html"],
        ),
    ],
)
def test_forms_of_a_url(tokenizer, options, expected):
    assert url(tokenizer, LONG, **options) == expected


def test_ultron_is_title_and_domain(tokenizer):
    corpus = documents(["The Guide", "Anna"], LONG)
    found = describe(tokenizer, corpus, scheme="url", form="title-domain", words=True)
    assert found == ["the guide docs python org", "anna docs python org"]


def test_equal_urls_are_numbered(tokenizer):
    urls = ["https://python.org/docs/path"] * 3
    assert url(tokenizer, urls) == ["path", "path 2", "path 3"]


def test_addresses_that_differ_in_separators_alone_stay_apart(tokenizer):
    urls = ["https://a.org/the-path", "https://a.org/the/path", "https://a.org/the_path"]
    assert url(tokenizer, urls, words=True) == ["the path", "the path 2", "the path 3"]


@pytest.mark.parametrize(
    ("urls", "expected"),
    [
        (["https://a.org/", "https://a.org/docs"], ["a.org/", "a.org/docs"]),
        (["https://a.org/docs/", "https://a.org/docs/the"], ["docs/", "docs/the"]),
        (["https://a.org/docs", "https://a.org/docsthe"], ["docs", "docsthe"]),
        (["http://a.org/docs", "https://b.org/docs"], ["a.org/docs", "b.org/docs"]),
        (["a.org/docs/the", "a.org/docs/of"], ["the", "of"]),
        (["/docs/the", "/docs/of"], ["the", "of"]),
    ],
)
def test_only_whole_folders_are_stripped(tokenizer, urls, expected):
    assert url(tokenizer, urls) == expected


def test_a_url_outside_the_stripped_folders_keeps_its_own(tokenizer, tmp_path):
    scheme = build_scheme(IdentifierSection(scheme="url"), tokenizer).fit(documents(urls=LONG))
    assert scheme.prefix == "docs.python.org/library/"
    scheme.save(tmp_path)
    again = load_scheme(tmp_path, tokenizer)
    others = documents(urls=["https://python.org/anna", "https://docs.python.org/library/"])
    texts = [again.to_text(own[0]) for own in again.encode(others)]
    assert texts == ["python.org/anna", "docs.python.org/library/"]


def test_another_tokenizer_is_refused(tokenizer, bert_tokenizer, tmp_path):
    build_scheme(IdentifierSection(scheme="title"), tokenizer).save(tmp_path)
    with pytest.raises(InputError, match=r"another tokenizer \(end 4, not 3\)"):
        load_scheme(tmp_path, bert_tokenizer)


def words_only(*words, **special):
    model = models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", **special)


def test_a_tokenizer_without_digits_cannot_number():
    tokenizer = words_only("[UNK]", "</s>", "anna", eos_token="</s>")
    assert title(tokenizer, ["anna"]) == ["anna"]
    with pytest.raises(InputError, match="does not distinguish 2 and 3"):
        title(tokenizer, ["anna", "anna"])


def test_a_tokenizer_without_an_end_is_refused():
    with pytest.raises(InputError, match="the tokenizer has no EOS or SEP token"):
        title(words_only("[UNK]", "anna"), ["anna"])


def test_a_number_that_does_not_fit_says_so(tokenizer):
    with pytest.raises(InputError, match="max_tokens = 4 leaves no room for the number 100"):
        title(tokenizer, ["anna"] * 100, max_tokens=4)


@pytest.mark.parametrize(
    ("words", "special", "expected"),
    [
        (["<mask>", "<extra_id_0>"], {"mask_token": "<mask>"}, "<mask>"),
        (["<extra_id_1>", "<extra_id_0>", "<0xFF>"], {}, "<extra_id_0>"),
        (["<0x00>", "<0xFF>"], {}, "<0xFF>"),
        (["|"], {}, None),
    ],
)
@pytest.mark.parametrize("scheme", ["title", "url"])
def test_a_special_token_is_the_separator(words, special, expected, scheme):
    tokenizer = words_only("[UNK]", "</s>", "anna", *words, eos_token="</s>", **special)
    found = build_scheme(IdentifierSection(scheme=scheme), tokenizer).separator
    assert found == (None if expected is None else tokenizer.get_vocab()[expected])


def test_the_end_is_no_separator():
    tokenizer = words_only("[UNK]", "<mask>", sep_token="<mask>", mask_token="<mask>")
    assert build_scheme(IdentifierSection(scheme="title"), tokenizer).separator is None


def test_documents_that_share_identifiers_are_not_joined(tokenizer):
    tokenizer = words_only(
        "[UNK]", "</s>", "<mask>", *"1234", eos_token="</s>", mask_token="<mask>"
    )
    for scheme in ("passage", "ngram", "views"):
        assert build_scheme(IdentifierSection(scheme=scheme), tokenizer).separator is None


def test_the_separator_in_a_title_is_left_out(tokenizer):
    special = {"eos_token": "</s>", "mask_token": "[MASK]"}
    tokenizer = words_only("[UNK]", "</s>", "[MASK]", "anna", "2", "3", **special)
    corpus = documents(titles=["anna [MASK] anna", "anna anna"])
    scheme = build_scheme(IdentifierSection(scheme="title"), tokenizer).fit(corpus)
    assert [own for (own,) in scheme.encode(corpus)] == [(3, 3, 1), (3, 3, 4, 1)]
