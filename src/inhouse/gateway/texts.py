"""The texts in requests and answers: finding them, and giving what is masked a name."""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from inhouse.gateway.patterns import Pattern

# Members whose values are no texts of anybody.
_NO_TEXT = frozenset(
    {"role", "type", "id", "call_id", "tool_call_id", "name", "url", "data", "file_data", "file_id", "format", "detail"}
    | {"index", "logprobs", "finish_reason", "cache_control", "encrypted_content", "signature"}
)
_JSON_TEXT = frozenset({"arguments"})
# The same in descriptions of functions and of JSON, where a property can have any of these names.
_NO_TEXT_IN_SCHEMA = frozenset({"type", "name", "format", "required", "pattern", "$ref", "$id", "$schema", "$anchor"})
Change = Callable[[str, bool], str]

RESTORED = Pattern(r"\[[A-Z][A-Z_]{0,40}_\d{1,7}\]", label="", tail=r"\[(?:[A-Z][A-Z_]{0,41}\d{0,7}\]?)?", window=64)
"""Finds what `Placeholders` gives."""


def changed(value: Any, change: Change, *, is_json: bool = False) -> Any:
    """The value with every text in it changed; the very same object where nothing was."""
    if isinstance(value, str):
        text = change(value, is_json)
        return value if text == value else text
    if isinstance(value, list):
        items = [changed(item, change, is_json=is_json) for item in value]
        return value if all(one is other for one, other in zip(items, value, strict=True)) else items
    if isinstance(value, dict):
        return _changed_members(value, change)
    return value


def _changed_members(value: dict[str, Any], change: Change) -> dict[str, Any]:
    members = {
        name: member if name in _NO_TEXT else changed(member, change, is_json=name in _JSON_TEXT)
        for name, member in value.items()
    }
    return value if all(members[name] is value[name] for name in value) else members


def changed_schema(value: Any, change: Change) -> Any:
    """As `changed`, for descriptions of functions and of JSON: what holds them together stays."""
    if isinstance(value, list):
        items = [changed_schema(item, change) for item in value]
        return value if all(one is other for one, other in zip(items, value, strict=True)) else items
    if isinstance(value, dict):
        members = {
            name: member if name in _NO_TEXT_IN_SCHEMA and _is_plain(member) else changed_schema(member, change)
            for name, member in value.items()
        }
        return value if all(members[name] is value[name] for name in value) else members
    return changed(value, change)


def _is_plain(member: Any) -> bool:
    return isinstance(member, str) or (isinstance(member, list) and all(isinstance(one, str) for one in member))


class Placeholders:
    """Names for what is masked in one call, such as `[EMAIL_1]`: the same thing has the same name everywhere."""

    def __init__(self, taken: bytes) -> None:
        self.originals: dict[bytes, bytes] = {}
        """What stood where, of those that may be put back."""
        self._taken = taken
        self._numbers: dict[str, int] = {}
        self._names: dict[tuple[str, bytes], bytes] = {}

    def name(self, label: str, found: bytes) -> bytes:
        known = self._names.get((label, found))
        if known is not None:
            return known
        while True:
            self._numbers[label] = number = self._numbers.get(label, 0) + 1
            name = b"[%b_%d]" % (label.encode(), number)
            if name not in self._taken:  # what the user wrote himself is not ours to restore
                self._names[label, found] = name
                return name

    def restored(self, name: bytes, *, is_json: bool) -> bytes:
        """What stood there; the name itself if it is none of ours."""
        original = self.originals.get(name)
        if original is None:
            return name
        return msgspec.json.encode(original.decode(errors="replace"))[1:-1] if is_json else original


_HIGH = r"\\u([dD][89abAB][0-9a-fA-F]{2})"
_ESCAPE = re.compile(
    rf"{_HIGH}\\u([dD][c-fC-F][0-9a-fA-F]{{2}})"
    rf"|((?:{_HIGH})?\\(?:u[0-9a-fA-F]{{0,3}})?\Z|{_HIGH}\Z)"  # may go on
    r"|\\u([0-9a-fA-F]{4})|\\.",
    re.DOTALL,
)
_QUOTED = frozenset('"\\')


class Unescaped:
    """JSON that comes in pieces, with its `\\uXXXX` as the characters they stand for: rules cannot see through them."""

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, text: str) -> str:
        text = self._rest + text
        self._rest = ""
        return _ESCAPE.sub(self._character, text) if "\\" in text else text

    def close(self) -> str:
        rest, self._rest = self._rest, ""
        return rest

    def _character(self, found: re.Match[str]) -> str:
        high, low, unfinished, _, _, single = found.groups()
        if high is not None:
            return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)
        if unfinished is not None:
            self._rest = unfinished
            return ""
        if single is None:
            return found[0]
        character = chr(int(single, 16))
        is_plain = character >= " " and character not in _QUOTED and not "\ud800" <= character <= "\udfff"
        return character if is_plain else found[0]
