import json
import random
from pathlib import Path
from typing import Any

import pytest

from inhouse.models.language.vocabulary import Vocabulary
from inhouse.serving.lm.constrain import Constraints
from inhouse.serving.lm.request import BadParameter

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 6},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "tags": {"type": "array", "items": {"enum": ["a", "b", 3]}, "minItems": 1, "maxItems": 2},
        "boss": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/id"}]},
    },
    "required": ["name", "age", "tags", "boss"],
    "additionalProperties": False,
    "$defs": {"id": {"type": "boolean"}},
}


@pytest.fixture(scope="module")
def vocabulary(tiny: Path) -> Vocabulary:
    return Vocabulary(tiny)


@pytest.fixture(scope="module")
def constraints(vocabulary: Vocabulary) -> Constraints:
    ends = [id for id in (vocabulary.id("<|im_end|>"), vocabulary.id("<|endoftext|>")) if id is not None]
    return Constraints(vocabulary, scores=vocabulary.size + 5, ends=ends)


def monkey(constraints: Constraints, vocabulary: Vocabulary, schema: Any, seed: int) -> Any:
    """What a random model writes under the constraint."""
    constraint, dice, text = constraints.for_schema(schema, param="x"), random.Random(seed), b""
    while not constraint.is_done:
        id = dice.choice([int(id) for id in constraint.allowed().nonzero()[0]])
        if id in vocabulary.special:
            break
        constraint.accept(id)
        text += vocabulary.bytes(id)
    return json.loads(text)


@pytest.mark.parametrize("seed", range(5))
def test_even_a_monkey_fits_the_schema(constraints: Constraints, vocabulary: Vocabulary, seed: int) -> None:
    person = monkey(constraints, vocabulary, PERSON, seed)

    assert list(person) == ["name", "age", "tags", "boss"]
    assert 1 <= len(person["name"]) <= 6
    assert 0 <= person["age"] <= 130
    assert set(person["tags"]) <= {"a", "b", 3}
    assert len(person["tags"]) in (1, 2)
    assert person["boss"] in (None, True, False)


@pytest.mark.parametrize("schema", [{"const": [1, {"a": None}]}, {"type": "boolean"}, {"enum": ["é", "𝄞"]}])
def test_other_values_fit_too(constraints: Constraints, vocabulary: Vocabulary, schema: Any) -> None:
    value = monkey(constraints, vocabulary, schema, 1)

    assert value in [schema.get("const"), *schema.get("enum", [True, False])]


def test_tokens_that_the_model_has_no_text_for_are_never_allowed(
    constraints: Constraints, vocabulary: Vocabulary
) -> None:
    allowed = constraints.for_schema(True, param="x").allowed()

    assert len(allowed) == vocabulary.size + 5
    assert not allowed[vocabulary.size :].any()


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "object", "not": {}}, "not"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"type": "wish"}, "wish"),
        ({"$ref": "http://127.0.0.1/schema"}, "schema"),
        ({"$ref": "#/$defs/nowhere"}, "schema"),
        ({"enum": ["x" * 100_000]}, "bytes"),
        ({"enum": list(range(20_000))}, "parts"),
    ],
)
def test_a_schema_that_cannot_be_used_says_why(constraints: Constraints, schema: Any, why: str) -> None:
    with pytest.raises(BadParameter, match=why):
        constraints.for_schema(schema, param="response_format")


def test_a_schema_of_any_depth_is_refused_without_recursion(constraints: Constraints) -> None:
    schema: dict[str, Any] = {}
    for _ in range(100_000):
        schema = {"items": schema}

    with pytest.raises(BadParameter, match="levels"):
        constraints.for_schema(schema, param="response_format")
