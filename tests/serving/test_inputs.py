from typing import Any

import pytest

from inhouse.serving.artifact import Manifest
from inhouse.serving.batcher import NotUnicode
from inhouse.serving.inputs import BadInput, Input, inputs_of

FEATURES = [{"name": "age", "type": "number"}, {"name": "plan", "type": "category", "values": ["basic", "pro"]}]
TABLE = Manifest("tabular", {}, settings={"features": FEATURES})
PAIR = Manifest("rerank", {})
TEXT = Manifest("embed", {}, max_length=64)


@pytest.mark.parametrize("manifest", [TABLE, PAIR, TEXT], ids=lambda manifest: manifest.kind)
def test_a_model_is_warmed_up_with_what_it_takes(manifest: Manifest):
    inputs = inputs_of(manifest)

    assert all(inputs.measure(sample) > 0 for sample in inputs.samples)


def test_the_length_of_a_pair_is_that_of_both():
    short, long = {"text": "a", "other": "b"}, {"text": "a", "other": "b" * 90}

    assert inputs_of(PAIR).measure(long) > inputs_of(PAIR).measure(short) == 4


@pytest.mark.parametrize(
    ("manifest", "given", "message"),
    [
        (TEXT, {"text": "a"}, r"reads texts, not \['text'\]"),
        (PAIR, "a", "two texts, `text` and `other`, not one text"),
        (PAIR, {"text": "a"}, r"not \['text'\]"),
        (PAIR, {"text": "a", "other": 3}, "not 'a' and 3"),
        (TABLE, "a", "named values"),
        (TABLE, {"age": 3}, "named values"),
        (TABLE, {"features": {"plan": "pro"}}, "The values of 'age' are missing"),
        (TABLE, {"features": {"age": 3, "plan": "pro", "sex": "m"}}, "no feature 'sex'"),
        (TABLE, {"features": {"age": "3", "plan": "pro"}}, "'age' is a number, '3' is not"),
        (TABLE, {"features": {"age": True, "plan": "pro"}}, "'age' is a number, True is not"),
        (TABLE, {"features": {"age": 10**400, "plan": "pro"}}, "too large"),
        (TABLE, {"features": {"age": 3, "plan": ["pro"]}}, "'plan' is a category"),
    ],
)
def test_what_does_not_fit_is_named(manifest: Manifest, given: Input, message: str):
    with pytest.raises(BadInput, match=message):
        inputs_of(manifest).measure(given)


@pytest.mark.parametrize(
    "given", [{"age": None, "plan": None}, {"age": 3, "plan": "never seen"}, {"age": 0.5, "plan": 7}]
)
def test_values_may_be_unknown_or_new(given: dict[str, Any]):
    assert inputs_of(TABLE).measure({"features": given}) == 1


@pytest.mark.parametrize(
    ("manifest", "given"),
    [(PAIR, {"text": "a", "other": "\ud800"}), (TABLE, {"features": {"age": 1, "plan": "\ud800"}})],
)
def test_half_a_character_never_meets_others(manifest: Manifest, given: Input):
    with pytest.raises(NotUnicode):
        inputs_of(manifest).measure(given)
