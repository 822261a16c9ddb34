"""Strict JSON: rejected inputs, and the position in the message."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genir.json_parser import MAX_DEPTH, JsonError, parse_json

SCALARS = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
VALUES = st.recursive(
    SCALARS.filter(lambda value: value not in (float("inf"), float("-inf"))),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES, st.booleans(), st.sampled_from([None, 2]))
def test_valid_json_is_read_as_the_standard_library_reads_it(value, ascii, indent):
    text = json.dumps(value, ensure_ascii=ascii, indent=indent)
    assert parse_json(text) == value


@given(st.text(alphabet='{}[]":,\\1n\n ', max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        expected = json.loads(text, object_pairs_hook=list)
    except ValueError:
        with pytest.raises(JsonError, match="; "):
            parse_json(text)
        return
    assert expected is None or json.dumps(expected)


REFUSED = [
    ("[1,]", "malformed JSON (Expecting value) at column 4; write valid JSON"),
    ("{\n", "malformed JSON (Expecting property name enclosed in double quotes) at column 2;"),
    ("", "malformed JSON (Expecting value) at column 1; write valid JSON"),
    ('{"a": 1,\n "b": }\n', "malformed JSON (Expecting value) at line 2, column 7; write"),
    ('["-Infinity", "\\" Infinity", -Infinity]',
     "Infinity is not JSON at column 30; write null or a text"),
    (f'["{"7" * 5000}", {"7" * 5000}]',
     "an integer of more than 4,300 digits at column 5006; write it as a text, in quotes"),
    ('[{"a": 1}, {"a": 1, "b": 2, "a": 1}]', "the field 'a' is given twice; keep one"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_a_fault_is_named_with_its_place_and_the_fix(text, message):
    with pytest.raises(JsonError) as error:
        parse_json(text)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_the_deepest_nest_is_read_and_the_next_is_refused(opening, closing):
    text = f"{opening * MAX_DEPTH}1{closing * MAX_DEPTH}"
    assert json.loads(text) == parse_json(text)
    place = len(opening) * MAX_DEPTH + 1
    with pytest.raises(JsonError, match=rf"deeper than 100 levels at column {place}; write it"):
        parse_json(f"{opening}{text}{closing}")


def test_brackets_in_strings_and_siblings_do_not_count_as_levels():
    value = [["[[{" * 100, {}]] * 500 + ['"[', "\\[", '\\"[']
    assert parse_json(json.dumps(value)) == value


def test_an_open_string_of_quotes_takes_linear_time():
    # In quadratic time, these 2 MB would take hours.
    with pytest.raises(JsonError, match="Unterminated string"):
        parse_json("[" * 99 + "{}, {}, " + '"' + '\\"' * 10**6)


def test_the_limit_of_digits_that_python_was_given_is_named():
    code = "from genir.json_parser import parse_json; parse_json('[' + '9' * 700 + ']')"
    environment = os.environ | {"PYTHONINTMAXSTRDIGITS": "640"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=environment, check=False
    )
    assert b"an integer of more than 640 digits at column 2" in done.stderr
