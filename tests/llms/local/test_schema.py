import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from power_loop.llms.local.schema import MAX_ITEMS, MAX_NODES, MAX_STRING, reduce_schema

KNOWN = {
    "const", "enum", "anyOf", "type", "properties", "required", "additionalProperties", "items",
    "minItems", "maxItems", "minLength", "maxLength", "minimum", "maximum", "format",
}  # fmt: skip


def part(schema, **root):
    return reduce_schema({"type": "object", "properties": {"x": schema}, "required": ["x"], **root})["properties"]["x"]


@pytest.mark.parametrize(
    ("given_schema", "expected"),
    [
        ({"type": "string"}, {"type": "string", "minLength": 0, "maxLength": MAX_STRING}),
        ({"type": "string", "maxLength": 9, "pattern": "^a+$"}, {"type": "string", "minLength": 0, "maxLength": 9}),
        ({"type": "string", "minLength": 5, "maxLength": 3}, {"type": "string", "minLength": 3, "maxLength": 3}),
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
        ({"type": "string", "enum": ["a", "b"]}, {"enum": ["a", "b"]}),
        ({"const": None}, {"const": None}),
        ({"type": "integer"}, {"type": "integer"}),
        ({"type": "integer", "exclusiveMinimum": 0, "maximum": 7}, {"type": "integer", "minimum": 1, "maximum": 7}),
        ({"type": "number", "minimum": 0.5, "maximum": 3.5}, {"type": "integer", "minimum": 1, "maximum": 3}),
        ({"type": "integer", "minimum": 5, "maximum": 3}, {"type": "integer"}),
        ({"type": "boolean", "default": True}, {"type": "boolean"}),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, {"const": {}}),
        ({"type": "array", "maxItems": 0}, {"const": []}),
        ({"type": ["null", "boolean"]}, {"anyOf": [{"type": "null"}, {"type": "boolean"}]}),
        ({"oneOf": [{"type": "null"}, {"type": "boolean"}]}, {"anyOf": [{"type": "null"}, {"type": "boolean"}]}),
        ({"$ref": "#/$defs/N"}, {"type": "boolean"}),
        ({"allOf": [{"$ref": "#/$defs/N"}], "description": "?"}, {"type": "boolean"}),
        (True, {"type": "string", "minLength": 0, "maxLength": MAX_STRING}),
        ({"type": "nonsense"}, {"type": "string", "minLength": 0, "maxLength": MAX_STRING}),
        ({"$ref": "#/nowhere"}, {"type": "string", "minLength": 0, "maxLength": MAX_STRING}),
    ],
)
def test_each_keyword_becomes_what_a_grammar_can_bound(given_schema, expected):
    assert part(given_schema, **{"$defs": {"N": {"type": "boolean"}}}) == expected


def test_arrays_are_capped():
    reduced = part({"type": "array", "items": {"type": "boolean"}, "minItems": 1_000_000})
    assert (reduced["minItems"], reduced["maxItems"]) == (MAX_ITEMS, MAX_ITEMS)


def test_optional_properties_are_left_out_and_the_declared_order_is_kept():
    properties = {"b": {"type": "boolean"}, "c": {"type": "boolean"}, "a": {"type": "boolean"}}
    reduced = reduce_schema({"type": "object", "properties": properties, "required": ["a"]}, ["b"])
    assert reduced["required"] == list(reduced["properties"]) == ["b", "a"]
    assert reduced["additionalProperties"] is False


def test_recursive_schemas_end():
    tree = {"type": "object", "properties": {"l": {"$ref": "#"}, "r": {"$ref": "#"}}, "required": ["l", "r"]}
    assert len(str(reduce_schema(tree))) < MAX_NODES * 200


def test_references_in_a_circle_end():
    assert part({"$ref": "#/$defs/A"}, **{"$defs": {"A": {"$ref": "#/$defs/A"}}})["type"] == "string"


SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=4)
WORDS = st.sampled_from(
    ["type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref", "items", "properties", "required", "minimum",
     "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern", "object", "array", "#", "integer"]
)  # fmt: skip
ANYTHING = st.recursive(
    SCALARS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=20,
)


def keywords(schema):
    yield from schema
    for inner in [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]:
        yield from keywords(inner)
    if "items" in schema:
        yield from keywords(schema["items"])


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(WORDS, ANYTHING, max_size=5))
def test_any_json_is_reduced_to_a_valid_schema_of_known_keywords(schema):
    reduced = reduce_schema(schema)
    assert set(keywords(reduced)) <= KNOWN
    if "const" not in str(reduced) and "enum" not in str(reduced):  # there, any JSON may stand, NaN included
        jsonschema_rs.validator_for(reduced)
