"""The values of one run: what nodes put out, by node and name."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from pydantic import Field

from inhouse.core.errors import Invalid

Selector = Annotated[tuple[str, ...], Field(min_length=2, max_length=11)]
"""The way to a value: node id, name, then keys inside the value."""


class Missing:
    """The one value that stands for "there is no such variable"."""


MISSING: Final = Missing()


class VariableMissing(Invalid):
    """A step reads a value that no earlier step has put out."""


class Variables:
    """Everything that steps of one run have put out so far. Values are shared, never copied: nobody changes them."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[str, Mapping[str, object]] = {}

    def put(self, node_id: str, values: Mapping[str, object]) -> None:
        self._values[node_id] = values

    def find(self, selector: Sequence[str]) -> object:
        """The value at the end of the way, or `MISSING`."""
        value: object = self._values.get(selector[0], MISSING)
        for key in selector[1:]:
            if not isinstance(value, Mapping) or key not in value:
                return MISSING
            value = value[key]
        return value

    def read(self, selector: Sequence[str]) -> object:
        """The value at the end of the way; it must be there."""
        value = self.find(selector)
        if value is MISSING:
            raise VariableMissing(
                f"There is no value at {'.'.join(selector)!r} here.",
                hint="The step that puts it out was skipped, or has no output of that name.",
            )
        return value


def as_text(value: object) -> str:
    """How a value reads inside a text: objects as JSON, nothing as nothing, files as Markdown links."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, Mapping) and value.get("dify_model_identity") == "__dify__file__":
        return _file_link(value)
    if isinstance(value, (Mapping, list, tuple)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _file_link(file: Mapping[str, object]) -> str:
    link = f"[{file.get('filename') or ''}]({file.get('url') or file.get('remote_url') or ''})"
    return f"!{link}" if file.get("type") == "image" else link
