"""Conditions on values, with Dify's operators and its rules for empty and missing values."""

import json
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from inhouse.core.errors import Invalid
from inhouse.workflow.context import Context
from inhouse.workflow.templates import template
from inhouse.workflow.variables import Selector, as_text

Expected = str | bool | int | float | tuple[str, ...] | None

_SPELLINGS = {
    "is empty": "empty",
    "is not empty": "not empty",
    "is null": "null",
    "is not null": "not null",
    "starts with": "start with",
    "ends with": "end with",
    "==": "=",
    "!=": "≠",
    ">=": "≥",
    "<=": "≤",
}


class NotComparable(Invalid):
    """A condition compares values that cannot be compared so."""


class _Comparison(BaseModel):
    """An operator and what a value is compared with."""

    model_config = ConfigDict(frozen=True)

    comparison_operator: str
    value: Expected = None

    @field_validator("comparison_operator")
    @classmethod
    def _known(cls, name: str) -> str:
        name = _SPELLINGS.get(name, name)
        if name not in OPERATORS:
            raise ValueError(f"There is no operator {name!r}. Known: {', '.join(OPERATORS)}")
        return name

    def expected(self, context: Context) -> Expected:
        return context.render(template(self.value)) if isinstance(self.value, str) else self.value


class SubCondition(_Comparison):
    """A condition on one attribute of each item of a list of files."""

    key: str

    def holds(self, item: object, context: Context) -> bool:
        value = item.get(self.key) if isinstance(item, Mapping) else None
        expected = self.expected(context)
        if self.key == "extension":
            value, expected = _dotted(value), _dotted(expected)
        return OPERATORS[self.comparison_operator](value, expected)


class SubConditions(BaseModel):
    """Conditions on the items of a list of files."""

    model_config = ConfigDict(frozen=True)

    logical_operator: Literal["and", "or"] = "and"
    conditions: tuple[SubCondition, ...] = ()


class Condition(_Comparison):
    """One comparison of a variable."""

    variable_selector: Selector
    sub_variable_condition: SubConditions | None = None

    def reads(self) -> Iterable[tuple[str, ...]]:
        yield self.variable_selector
        for text in (self, *(self.sub_variable_condition.conditions if self.sub_variable_condition else ())):
            if isinstance(text.value, str):
                yield from template(text.value).selectors

    def holds(self, context: Context) -> bool:
        value = context.read(self.variable_selector)
        if self.sub_variable_condition is not None:
            return self._items_hold(value, self.sub_variable_condition, context)
        return OPERATORS[self.comparison_operator](value, self.expected(context))

    def _items_hold(self, items: object, sub: SubConditions, context: Context) -> bool:
        if not isinstance(items, (list, tuple)):
            raise NotComparable(f"{'.'.join(self.variable_selector)!r} is not a list of files.")
        each = (_over(items, condition, context) for condition in sub.conditions)
        return all(each) if sub.logical_operator == "and" else any(each)


class Case(BaseModel):
    """Conditions that lead to one exit when all (`and`) or any (`or`) of them hold."""

    model_config = ConfigDict(frozen=True)

    case_id: str = Field(min_length=1)
    logical_operator: Literal["and", "or"] = "and"
    conditions: tuple[Condition, ...] = Field(min_length=1)

    def reads(self) -> Iterable[tuple[str, ...]]:
        for condition in self.conditions:
            yield from condition.reads()

    def holds(self, context: Context) -> bool:
        each = (condition.holds(context) for condition in self.conditions)
        return all(each) if self.logical_operator == "and" else any(each)


def _over(items: Iterable[object], condition: SubCondition, context: Context) -> bool:
    """Any item will do, but a negative condition must hold for all."""
    each = (condition.holds(item, context) for item in items)
    return all(each) if "not" in condition.comparison_operator.split() else any(each)


def _dotted(extension: object) -> Expected:
    if isinstance(extension, str):
        return extension if extension.startswith(".") or not extension else f".{extension}"
    return tuple(str(_dotted(item)) for item in extension) if isinstance(extension, (list, tuple)) else None


def _contains(value: object, expected: Expected) -> bool:
    if not value:
        return False
    if isinstance(value, str):
        return as_text(expected) in value
    if isinstance(value, (list, tuple)):
        return expected in value or as_text(expected) in map(as_text, value)
    raise NotComparable(f"Only texts and lists can contain something, not {value!r}.")


def _text_test(test: Callable[[str, str], bool]) -> Callable[[object, Expected], bool]:
    def holds(value: object, expected: Expected) -> bool:
        if not value:
            return False
        if not isinstance(value, str):
            raise NotComparable(f"Only texts start or end with something, not {value!r}.")
        return test(value, as_text(expected))

    return holds


def _is(value: object, expected: Expected) -> bool:
    if isinstance(value, bool):
        return value == _boolean(expected)
    if isinstance(value, (int, float)):
        return value == _number(expected)
    return as_text(value) == as_text(expected)


def _boolean(expected: Expected) -> bool:
    return expected.strip().lower() in ("true", "1") if isinstance(expected, str) else bool(expected)


def _unless_none(test: Callable[[object, Expected], bool]) -> Callable[[object, Expected], bool]:
    return lambda value, expected: value is not None and test(value, expected)


def _numeric(test: Callable[[float, float], bool]) -> Callable[[object, Expected], bool]:
    return _unless_none(lambda value, expected: test(_number(value), _number(expected)))


def _number(value: object) -> int | float:
    if isinstance(value, (int, float)):
        return value
    text = as_text(value).strip()
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError as error:
        raise NotComparable(f"{value!r} is not a number.", hint="Compare texts with `is`.") from error


def _among(value: object, expected: Expected) -> bool:
    return as_text(value) in _choices(expected)


def _choices(expected: Expected) -> list[str]:
    """The list to choose from; as a text it is JSON."""
    if isinstance(expected, tuple):
        return list(expected)
    try:
        choices = json.loads(as_text(expected))
    except ValueError:
        choices = None
    if not isinstance(choices, list):
        raise NotComparable(f"{expected!r} is not a list.", hint='Write it as ["a", "b"].')
    return [as_text(choice) for choice in choices]


def _all_of(value: object, expected: Expected) -> bool:
    if not value:
        return False
    return all(_contains(value, choice) for choice in _choices(expected))


OPERATORS: dict[str, Callable[[object, Expected], bool]] = {
    "contains": _contains,
    "not contains": lambda value, expected: not _contains(value, expected),
    "start with": _text_test(str.startswith),
    "end with": _text_test(str.endswith),
    "is": _unless_none(_is),
    "is not": _unless_none(lambda value, expected: not _is(value, expected)),
    "empty": lambda value, _: not value,
    "not empty": lambda value, _: bool(value),
    "in": lambda value, expected: bool(value) and _among(value, expected),
    "not in": lambda value, expected: not value or not _among(value, expected),
    "all of": _all_of,
    "=": _numeric(operator.eq),
    "≠": _numeric(operator.ne),
    ">": _numeric(operator.gt),
    "<": _numeric(operator.lt),
    "≥": _numeric(operator.ge),
    "≤": _numeric(operator.le),
    "null": lambda value, _: value is None,
    "not null": lambda value, _: value is not None,
    "exists": lambda value, _: value is not None,
    "not exists": lambda value, _: value is None,
}
