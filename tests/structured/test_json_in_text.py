"""JSON is found in what models write, whole or not at all."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from power_loop.facts.json_in_text import json_values, why_none

NASTY = st.sampled_from(
    ["```", "```json\n", "{", "}", "[", "]", '"', "\\", "\n", "\\u0041", "é", "', ", ",}", '{"a":1}']
)
TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), st.lists(NASTY).map("".join)
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False, allow_infinity=False), TEXT
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))
CONTAINERS = st.lists(VALUES, max_size=4) | st.dictionaries(TEXT, VALUES, max_size=4)
PROSE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters='{}[]"`\0'))
INDENT = st.sampled_from([None, 0, 2])


@given(VALUES, INDENT)
def test_a_value_that_fills_the_text(value, indent):
    assert json_values(f" {json.dumps(value, indent=indent)}\n") == [value]


@given(VALUES, INDENT, st.sampled_from(["", "json", "JSON "]))
def test_a_value_in_a_fence(value, indent, language):
    assert json_values(f"```{language}\n{json.dumps(value, indent=indent, ensure_ascii=False)}\n```") == [value]


@given(PROSE, CONTAINERS, PROSE, st.booleans())
def test_an_object_or_array_in_prose(before, value, after, fenced):
    text = json.dumps(value, ensure_ascii=False)
    wrapped = f"{before}\n```json\n{text}\n```\n{after}" if fenced else f"{before} {text} {after}"
    assert json_values(wrapped) == [value]


@given(st.dictionaries(TEXT, VALUES, min_size=1, max_size=4), st.data())
def test_of_a_broken_object_no_part_is_taken(value, data):
    text = json.dumps(value)
    cut = data.draw(st.integers(2, len(text) - 1))
    assert json_values(text[:cut]) == []
    assert why_none(text[:cut]).startswith("The reply contains no")


@given(TEXT)
def test_any_text_is_read_or_explained(text):
    assert json_values(text) or why_none(text)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('{"a": "```", "b": "}"}', [{"a": "```", "b": "}"}]),
        ('```json\n{"a": "```py\\nf({})\\n```"}\n```', [{"a": "```py\nf({})\n```"}]),
        ('First {"a": 1}, and better: {"a": 2}.', [{"a": 1}, {"a": 2}]),
        ('Use {braces} and [see below]: {"a": 1}', [{"a": 1}]),
        ('{"a": 1, "b": [1, 2,],}', [{"a": 1, "b": [1, 2]}]),
        ("[1, 2,]", [[1, 2]]),
        ('{"a": ",]", }', [{"a": ",]"}]),
        ('{"a": "two\nlines"}', [{"a": "two\nlines"}]),
        ('{"a": NaN, "b": {"a": 1}}', []),
        ('{"a": 1e999}', []),
        ('Take {"a": 1} or {"a": ', []),
        ("[1, 2", []),
        ("nothing at all", []),
    ],
)
def test_what_counts(text, values):
    assert json_values(text) == values


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (" \n", "The reply is empty."),
        ("A week.", "contains no JSON object"),
        ('{"a": 1', "It ends in the middle."),
        ('{"a": 1} {"b" 2} x', "Expecting ':'"),
        ('{"a": NaN}', "NaN is not a JSON number"),
    ],
)
def test_the_model_is_told_what_is_wrong(text, words):
    assert words in why_none(text)


def test_a_hostile_text_takes_no_time_to_speak_of():
    """Bounded by the number of places tried, not by what a machine can do."""
    for text in ("{" * 100_000, "[" * 100_000, '{"a' * 50_000, '{"a":' * 50_000, "```" * 50_000, ',"' * 50_000):
        assert json_values(text) == []


def test_text_that_no_store_can_hold_is_cleaned():
    assert json_values('{"a": "\\u0000\\ud800"}') == [{"a": "\ufffd\ufffd"}]
