"""Division of texts into windows and sections."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genir.config import IdentifierSection
from genir.corpus.tokens import word_spans, words
from genir.errors import InputError
from genir.identifiers.registry import build_scheme, scheme_options
from genir.identifiers.units import (
    UnitOptions,
    heading_of,
    headings,
    unit_documents,
    unit_spans,
    units_text,
)
from genir.types import Document

NUMBERS = " ".join(map(str, range(50)))
MARKDOWN = f"""intro

# Install it
one two three
```sh
# no heading
```
## Use #
{NUMBERS}
# C#
the end
#
"""


def options(**values):
    return UnitOptions(**{"units": "windows", "unit_words": 16} | values)


def parts(text, **values):
    return [text[start:end] for start, end in unit_spans(text, options(**values))]


def test_windows_have_equal_lengths_and_share_words():
    found = [list(map(int, part.split())) for part in parts(NUMBERS, unit_overlap=4)]
    assert [(part[0], part[-1]) for part in found] == [(0, 15), (11, 26), (22, 37), (34, 49)]
    assert all(part == list(range(part[0], part[-1] + 1)) for part in found)


def test_a_longer_document_has_longer_windows():
    found = parts(NUMBERS, max_units=2)
    assert [len(part.split()) for part in found] == [25, 25]
    assert parts(NUMBERS, max_units=1) == [NUMBERS]


@pytest.mark.parametrize(
    ("text", "spans"), [("", [(0, 0)]), (" \n", [(0, 0)]), (" a b ", [(1, 4)])]
)
@pytest.mark.parametrize("units", ["windows", "sections"])
def test_a_short_text_is_one_unit(text, spans, units):
    assert unit_spans(text, options(units=units)) == spans


def test_headings_are_found_outside_of_code():
    assert [heading.title for heading in headings(MARKDOWN)] == ["Install it", "Use", "C#", ""]
    assert [MARKDOWN[heading.start] for heading in headings(MARKDOWN)] == ["#"] * 4
    assert not list(headings("#no heading\n    # code\n####### seven\ntext # here"))
    inline = "```x``` is code in a line\n# One\n~~~ `a`\n# code\n~~~\n```` `\n# Two\n"
    assert [heading.title for heading in headings(inline)] == ["One", "Two"]
    assert [heading.title for heading in headings("~~~\n```\n# code\n~~~~\n# Title ###")] == [
        "Title"
    ]


def test_sections_begin_at_headings_and_long_ones_are_divided():
    spans = unit_spans(MARKDOWN, options(units="sections", unit_words=20, max_units=8))
    assert [MARKDOWN[start:end][:8] for start, end in spans] == [
        "intro\n\n#", "## Use #", "14 15 16", "32 33 34", "# C#\nthe"
    ]  # fmt: skip
    titles = [heading_of(MARKDOWN, span) for span in spans]
    assert titles == ["Install it", "Use", "Use", "Use", "C#"]


def test_short_sections_are_joined_until_they_fit():
    text = "\n".join(f"# part {n}\nword" for n in range(100))
    spans = unit_spans(text, options(units="sections", max_units=5))
    assert len(spans) <= 5 and heading_of(text, spans[0]) == "part 0"
    assert text[spans[-1][0] :].startswith("# part ")


@given(
    st.text("ab \n#`日本", max_size=300),
    st.sampled_from(["windows", "sections"]),
    st.integers(16, 40),
    st.integers(0, 8),
    st.integers(1, 6),
)
def test_units_cover_all_words_in_order(text, units, size, overlap, most):
    spans = unit_spans(
        text, UnitOptions(units=units, unit_words=size, unit_overlap=overlap, max_units=most)
    )
    assert 1 <= len(spans) <= most
    assert spans == sorted(spans) and all(0 <= start <= end <= len(text) for start, end in spans)
    covered = {place for start, end in spans for place in range(start, end)}
    assert all(set(range(*word)) <= covered for word in word_spans(text))
    if len(spans) == 1:
        assert text[slice(*spans[0])] == text.strip()


@given(st.text())
def test_word_spans_are_the_places_of_the_words(text):
    assert [text[start:end] for start, end in word_spans(text)] == words(text)


def test_units_are_documents_with_title_and_key():
    documents = [Document("a", NUMBERS, "t"), Document("b", "", "only a title")]
    found = unit_documents(documents, options(max_units=2))
    assert [(one.key, one.title) for one in found] == [("a", "t")] * 2 + [("b", "only a title")]
    assert unit_documents(documents, UnitOptions()) is documents


def test_each_unit_has_a_number():
    section = IdentifierSection.model_validate(
        {"scheme": "atomic", "units": "windows", "unit_words": 16, "max_units": 3}
    )
    documents = [Document("a", NUMBERS), Document("b", "one"), Document("c", NUMBERS)]
    scheme = build_scheme(section).fit(documents)
    assert scheme.level_sizes() == [7]
    assert scheme.encode(documents) == [[(0,), (1,), (2,)], [(3,)], [(4,), (5,), (6,)]]
    assert scheme.encode(documents[:2], reserved={(6,)}) == [[(7,), (8,), (9,)], [(10,)]]
    assert scheme.level_sizes() == [11]


def test_units_are_described():
    assert units_text(UnitOptions()) == "none"
    assert units_text(options(unit_overlap=4)) == ("windows, at most 4 of 16 words, 4 in common")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"units": "pages"}, "units = 'pages'"),
        ({"units": "windows", "unit_words": 16, "unit_overlap": 9}, "more than half"),
        ({"units": "windows", "max_units": 0}, "max_units = 0"),
        ({"scheme": "url", "units": "windows"}, "units: the scheme 'url' has one text"),
        ({"scheme": "residual", "max_units": 3}, "max_units: the scheme 'residual' has one text"),
    ],
)
def test_wrong_options_are_refused(values, message):
    section = IdentifierSection.model_validate(values)
    with pytest.raises(InputError, match=message):
        scheme_options(section)
