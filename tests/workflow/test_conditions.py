from typing import Any

import pytest
from pydantic import ValidationError

from inhouse.core.errors import Invalid
from inhouse.core.principal import Principal
from inhouse.testing.services import fixed_services
from inhouse.workflow.conditions import Case, NotComparable
from inhouse.workflow.context import Context, RunInputs
from inhouse.workflow.variables import Variables


def holds(value: Any, operator: str, expected: Any = None, *, sub: dict[str, Any] | None = None) -> bool:
    condition = {"variable_selector": ["n", "v"], "comparison_operator": operator, "value": expected}
    if sub:
        condition["sub_variable_condition"] = sub
    return Case.model_validate({"case_id": "c", "conditions": [condition]}).holds(context(v=value, five="5"))


def context(**values: Any) -> Context:
    variables = Variables()
    variables.put("n", values)
    return Context(Principal.system(), RunInputs(), fixed_services(), variables, lambda *_: None, lambda *_: None)


@pytest.mark.parametrize(
    ("value", "operator", "expected", "result"),
    [
        ("hello", "contains", "ell", True),
        ("hello", "contains", "x", False),
        ("", "contains", "", False),
        (None, "not contains", "x", True),
        (["a", "b"], "contains", "b", True),
        ([1, 2], "contains", "2", True),
        ("hello", "not contains", "ell", False),
        ("hello", "start with", "he", True),
        ("", "start with", "", False),
        ("hello", "end with", "lo", True),
        ("a", "is", "a", True),
        ("a", "is not", "b", True),
        (None, "is", "", False),
        (None, "is not", "a", False),
        (True, "is", "true", True),
        (True, "is", "1", True),
        (False, "is", "true", False),
        (False, "is not", True, True),
        (3, "is", "3", True),
        ("", "empty", None, True),
        (0, "empty", None, True),
        (False, "empty", None, True),
        ([], "is empty", None, True),
        (None, "not empty", None, False),
        ("x", "is not empty", None, True),
        ("a", "in", ["a", "b"], True),
        ("a", "in", '["a"]', True),
        ("", "in", ["a"], False),
        ("c", "not in", ["a"], True),
        ("", "not in", ["a"], True),
        (["a", "b"], "all of", ["a", "b"], True),
        (["a"], "all of", ["a", "b"], False),
        (5, "=", "5", True),
        (5, "=", "5.0", True),
        (5, "≠", "6", True),
        (5, ">", "4.5", True),
        (5, "<", "{{#n.five#}}", False),
        (5, "≥", "{{#n.five#}}", True),
        (5, "<=", "5", True),
        (None, ">", "1", False),
        (None, "≠", "1", False),
        ("7", ">", "6", True),
        (None, "null", None, True),
        ("", "not null", None, True),
        ("", "exists", None, True),
        (None, "not exists", None, True),
    ],
)
def test_operators(value: Any, operator: str, expected: Any, result: bool) -> None:
    assert holds(value, operator, expected) is result


FILES = [{"type": "image", "extension": ".png"}, {"type": "document", "extension": "pdf"}]


@pytest.mark.parametrize(
    ("key", "operator", "expected", "result"),
    [
        ("type", "is", "image", True),
        ("type", "is not", "image", False),
        ("extension", "is", "pdf", True),
        ("extension", "in", [".png"], True),
        ("extension", "not in", ["exe"], True),
        ("type", "is", "audio", False),
    ],
)
def test_conditions_on_files_ask_any_of_them_and_negative_ones_all(
    key: str, operator: str, expected: Any, result: bool
) -> None:
    sub = {"conditions": [{"key": key, "comparison_operator": operator, "value": expected}]}

    assert holds(FILES, "contains", sub=sub) is result


@pytest.mark.parametrize(
    ("value", "operator", "expected"), [("x", ">", "1"), (1, "=", "x"), ("a", "in", "a"), (5, "contains", "5")]
)
def test_values_that_cannot_be_compared_are_an_error(value: Any, operator: str, expected: Any) -> None:
    with pytest.raises(NotComparable):
        holds(value, operator, expected)


def test_a_missing_variable_is_an_error() -> None:
    case = Case.model_validate(
        {"case_id": "c", "conditions": [{"variable_selector": ["n", "gone"], "comparison_operator": "empty"}]}
    )

    with pytest.raises(Invalid, match=r"n\.gone"):
        case.holds(context())


def test_or_stops_at_the_first_that_holds() -> None:
    conditions = [
        {"variable_selector": ["n", "v"], "comparison_operator": "is", "value": "x"},
        {"variable_selector": ["n", "gone"], "comparison_operator": "empty"},
    ]
    case = Case.model_validate({"case_id": "c", "logical_operator": "or", "conditions": conditions})

    assert case.holds(context(v="x"))


def test_an_unknown_operator_names_the_known_ones() -> None:
    with pytest.raises(ValidationError, match="Known: contains"):
        holds("x", "resembles", "y")
