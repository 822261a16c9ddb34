"""The promises of `Scheme`, over every scheme and its main options."""

import json

import numpy as np
import pytest

from genir.config import IdentifierSection
from genir.errors import InputError
from genir.identifiers.registry import SCHEMES, build_scheme, load_scheme
from genir.identifiers.table import IdentifierTable
from genir.types import Document

SECTIONS = {
    "atomic": {"scheme": "atomic"},
    "residual": {"scheme": "residual", "levels": 3, "codes": 4, "ties": 8},
    "product": {"scheme": "product", "levels": 2, "codes": 4, "ties": 16},
    "hierarchical": {"scheme": "hierarchical", "branches": 3, "leaf": 4},
    "url": {"scheme": "url"},
    "url reversed": {"scheme": "url", "order": "reversed", "words": True},
    "url path": {"scheme": "url", "form": "path", "strip": False},
    "url short": {"scheme": "url", "max_tokens": 5, "words": True},
    "url ultron": {"scheme": "url", "form": "title-domain"},
    "passage": {"scheme": "passage", "words": 3, "count": 2},
    "given": {"scheme": "given"},
    "ngram": {"scheme": "ngram", "n": 3},
    "ngram short": {"scheme": "ngram", "n": 1, "tokens": 5},
    "views": {"scheme": "views", "n": 3, "ngrams": 2},
    "views asked": {"scheme": "views", "title": False, "ngrams": 0},
    "string": {"scheme": "string"},
    "title": {"scheme": "title"},
    "title short": {"scheme": "title", "max_tokens": 6},
}
SHARED = ("passage", "given", "ngram", "ngram short", "views", "views asked")
"""Sections whose documents may share identifiers."""
UNIQUE = tuple(name for name in SECTIONS if name not in SHARED)
of_unique = pytest.mark.parametrize("section", UNIQUE, indirect=True)
SIZE, DIMENSION = 60, 8


def make_documents(count, start=0):
    return [
        Document(
            key=f"d{number}",
            text="text",
            title=f"anna of the guide {number % 40}",
            url=f"https://docs.python.org/library/{'abc'[number % 3]}/path-{number % 50}.html#the",
        )
        for number in range(start, start + count)
    ]


def make_vectors(count, seed=0):
    """Vectors of which the last third repeats the first: duplicates on purpose."""
    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)
    vectors[count - count // 3 :] = vectors[: count // 3]
    return vectors


@pytest.fixture(params=SECTIONS)
def section(request, tmp_path_factory):
    values = SECTIONS[request.param]
    if request.param == "views asked":
        path = tmp_path_factory.mktemp("asked") / "made.jsonl"
        lines = [{"document": "d0", "text": f"path of anna {n}"} for n in range(4)]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        values = values | {"queries": str(path)}
    if request.param == "given":
        path = tmp_path_factory.mktemp("given") / "identifiers.jsonl"
        lines = [{"document": f"d{n}", "identifier": f"guide {n}" if n % 2 else [n + 5, 200, 4]}
                 for n in range(3 * SIZE)]  # fmt: skip
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        values = values | {"file": str(path)}
    return IdentifierSection.model_validate(values)


@pytest.fixture
def corpus():
    return make_documents(SIZE)


@pytest.fixture
def vectors():
    return make_vectors(SIZE)


@pytest.fixture
def scheme(section, tokenizer, corpus, vectors):
    return build_scheme(section, tokenizer).fit(corpus, vectors)


def flatten(identifiers):
    return [identifier for own in identifiers for identifier in own]


def test_every_scheme_is_under_test():
    assert {section["scheme"] for section in SECTIONS.values()} == set(SCHEMES)


def test_every_document_has_an_identifier(scheme, corpus, vectors):
    identifiers = scheme.encode(corpus, vectors)
    assert len(identifiers) == SIZE and all(identifiers)
    assert all(len(set(own)) == len(own) for own in identifiers)
    assert scheme.multiple_per_document or all(len(own) == 1 for own in identifiers)


@of_unique
def test_a_scheme_without_shared_identifiers_gives_each_document_its_own(scheme, corpus, vectors):
    assert scheme.unique
    assert len(set(flatten(scheme.encode(corpus, vectors)))) == SIZE


@pytest.mark.parametrize("section", SHARED, indirect=True)
def test_a_scheme_that_may_share_identifiers_says_so(scheme):
    assert not scheme.unique


def test_identifiers_form_a_table_that_finds_them(scheme, corpus, vectors):
    identifiers = scheme.encode(corpus, vectors)
    table = IdentifierTable.build(identifiers, [document.key for document in corpus])
    for number, own in enumerate(identifiers):
        assert table.identifiers_of(number) == sorted(own)
        found = table.row_of(own[0])
        assert table.identifier(found) == own[0]
        assert table.key_of(found) == corpus[number].key or not scheme.unique


def test_symbols_stay_within_the_level_sizes(scheme, corpus, vectors):
    identifiers = flatten(scheme.encode(corpus, vectors))
    sizes = scheme.level_sizes()
    if len(sizes) == 1:
        sizes = sizes * max(map(len, identifiers))
    for identifier in identifiers:
        assert len(identifier) <= len(sizes)
        assert all(0 <= s < size for s, size in zip(identifier, sizes, strict=False))


@of_unique
def test_many_calls_never_repeat_or_extend_an_identifier(scheme, corpus, vectors):
    taken, everything = set(), []
    batches = [(corpus[i : i + 7], vectors[i : i + 7]) for i in range(0, SIZE, 7)]
    batches.append((make_documents(30, start=SIZE), make_vectors(30, seed=1)))
    batches.append((make_documents(SIZE, start=SIZE + 30), vectors))  # the same content once more
    for documents, their_vectors in batches:
        fresh = scheme.encode(documents, their_vectors, taken)
        assert not taken & set(flatten(fresh))
        taken |= set(flatten(fresh))
        everything += fresh
    assert len(taken) == len(everything) == 2 * SIZE + 30
    IdentifierTable.build(everything, [str(n) for n in range(len(everything))])  # no prefixes


def test_the_same_input_gives_the_same_identifiers(section, tokenizer, corpus, vectors):
    first, second = (
        build_scheme(section, tokenizer).fit(corpus, vectors).encode(corpus, vectors)
        for _ in range(2)
    )
    assert first == second


def test_encoding_leaves_its_input_alone(scheme, corpus, vectors):
    before, taken = vectors.copy(), frozenset(flatten(scheme.encode(corpus, vectors)))
    scheme.encode(corpus, vectors, set(taken))
    assert (vectors == before).all() and scheme.encode(corpus, vectors, taken)


def test_loaded_schemes_encode_alike(scheme, tokenizer, corpus, vectors, tmp_path):
    identifiers = scheme.encode(corpus, vectors)
    scheme.save(tmp_path / "identifiers")
    again = load_scheme(tmp_path / "identifiers", tokenizer)
    assert type(again) is type(scheme) and again.options == scheme.options
    assert again.level_sizes() == scheme.level_sizes()
    assert again.encode(corpus, vectors) == identifiers
    more, taken = make_vectors(9, seed=2), set(flatten(identifiers))
    added = make_documents(9, start=SIZE)
    assert again.encode(added, more, taken) == scheme.encode(added, more, taken)


def test_descriptions_are_readable_and_distinguish_documents(scheme, corpus, vectors):
    descriptions = [scheme.to_text(i) for i in flatten(scheme.encode(corpus, vectors))]
    assert len(set(descriptions)) == len(set(flatten(scheme.encode(corpus, vectors))))
    assert all(text and "</s>" not in text for text in descriptions)


@of_unique
def test_one_document_is_enough(section, tokenizer):
    corpus, vectors = make_documents(1), make_vectors(1)
    scheme = build_scheme(section, tokenizer).fit(corpus, vectors)
    ((identifier,),) = scheme.encode(corpus, vectors)
    ((other,),) = scheme.encode(corpus, vectors, {identifier})
    assert identifier != other


def test_no_documents_cannot_be_fitted_but_can_be_encoded(section, tokenizer, scheme):
    nothing = np.empty((0, DIMENSION), dtype=np.float32)
    with pytest.raises(InputError, match="no documents"):
        build_scheme(section, tokenizer).fit([], nothing)
    assert scheme.encode([], nothing) == []


def test_missing_needs_are_named(section, tokenizer, corpus):
    kind = SCHEMES[section.scheme]
    if kind.needs_tokenizer:
        with pytest.raises(InputError, match="needs the model's tokenizer"):
            build_scheme(section)
    if kind.needs_vectors:
        with pytest.raises(InputError, match="needs document vectors"):
            build_scheme(section, tokenizer).fit(corpus)


def test_a_missing_file_is_named(scheme, tokenizer, tmp_path):
    scheme.save(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(InputError, match=f"{path.name}: missing"):
            load_scheme(tmp_path, tokenizer)
        path.write_bytes(content)
    assert load_scheme(tmp_path, tokenizer).options == scheme.options


def test_a_truncated_file_is_named(scheme, tokenizer, tmp_path):
    scheme.save(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(InputError, match=path.name):
            load_scheme(tmp_path, tokenizer)
        path.write_bytes(content)


def test_another_schemes_file_is_refused(scheme, tokenizer, tmp_path):
    scheme.save(tmp_path)
    other = next(kind for name, kind in SCHEMES.items() if name != scheme.name)
    with pytest.raises(InputError, match=f"holds the scheme '{scheme.name}', not '{other.name}'"):
        other.load(tmp_path, tokenizer)


def test_an_option_of_another_scheme_in_the_file_is_refused(scheme, tokenizer, tmp_path):
    scheme.save(tmp_path)
    facts = json.loads((tmp_path / "scheme.json").read_text())
    facts["options"]["wings"] = 2
    (tmp_path / "scheme.json").write_text(json.dumps(facts))
    with pytest.raises(InputError, match="unknown key 'wings'"):
        load_scheme(tmp_path, tokenizer)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"scheme": "residul"}, "did you mean 'residual'"),
        ({"scheme": "residual", "level": 3}, "unknown key 'level'; did you mean 'levels'"),
        ({"scheme": "residual", "codes": 100}, "codes = 100: .*power of two: 64 or 128"),
        ({"scheme": "product", "levels": 0}, "levels = 0"),
        ({"scheme": "hierarchical", "branches": 1}, "branches = 1"),
        ({"scheme": "atomic", "codes": 2}, "unknown key 'codes'"),
        ({"scheme": "url", "form": "host"}, "form = 'host'.*'title-domain'"),
        ({"scheme": "title", "max_tokens": 2}, "max_tokens = 2"),
    ],
)
def test_a_bad_section_error_has_a_remedy(section, message, tokenizer):
    with pytest.raises(InputError, match=message):
        build_scheme(IdentifierSection.model_validate(section), tokenizer)
