from typing import Any

import pytest

from inhouse.workflow.nodes.start import InputInvalid, Variable


@pytest.mark.parametrize(
    ("settings", "given", "value"),
    [
        ({}, "x", "x"),
        ({"default": "d"}, None, "d"),
        ({}, None, None),
        ({"type": "number"}, "3", 3),
        ({"type": "number"}, "-2.5", -2.5),
        ({"type": "number"}, 4, 4),
        ({"type": "select", "options": ["a"]}, "a", "a"),
        ({"type": "file"}, {"id": "f"}, {"id": "f"}),
    ],
)
def test_inputs_are_taken(settings: dict[str, Any], given: Any, value: Any) -> None:
    assert Variable.model_validate({"variable": "v", **settings}).accept(given) == value


@pytest.mark.parametrize(
    ("settings", "given", "message"),
    [
        ({"required": True}, "", "'v' is missing"),
        ({"type": "number"}, "three", "must be a number"),
        ({"type": "number"}, [1], "must be a number"),
        ({"max_length": 2}, "abc", "has 3 characters"),
        ({"type": "select", "options": ["a"]}, "b", "cannot be 'b'"),
        ({"type": "paragraph"}, 5, "must be text"),
    ],
)
def test_wrong_inputs_are_refused(settings: dict[str, Any], given: Any, message: str) -> None:
    with pytest.raises(InputInvalid, match=message):
        Variable.model_validate({"variable": "v", **settings}).accept(given)
