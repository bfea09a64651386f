"""Holds rules against the texts of one call: its request, and its answer."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec

from inhouse.core.errors import Invalid
from inhouse.gateway import wire
from inhouse.gateway.patterns import Pattern
from inhouse.gateway.sieve import Rules, Sieve
from inhouse.gateway.texts import RESTORED, Placeholders, Unescaped, changed, changed_schema


class ContentFiltered(Invalid):
    """A rule does not let the text through."""

    status: ClassVar[int] = 400


def filtered(rule: str, where: str) -> ContentFiltered:
    return ContentFiltered(
        f"The {where} is not let through by the rule {rule!r}.", code="content_filter", hint="Ask for something else."
    )


@dataclass(eq=False)
class Texts:
    """Lets the texts of one side of a call through, and notes the rules that matched."""

    rules: Rules
    replace: Callable[[str, Pattern, bytes], bytes]
    replace_in_json: Callable[[str, Pattern, bytes], bytes]
    found: set[str] = field(default_factory=set)
    blocked: str = ""
    passed: list[str] = field(default_factory=list)

    def sieve(self, *, is_json: bool) -> Sieve:
        return Sieve(self.rules, self.replace_in_json if is_json else self.replace)

    def whole(self, value: Any) -> Any:
        """A JSON value with what is to be masked masked; the very same object where nothing is."""
        return changed(value, self._text)

    def schema(self, value: Any) -> Any:
        """The same for descriptions of functions and of JSON."""
        return changed_schema(value, self._text)

    def _text(self, text: str, is_json: bool) -> str:
        if is_json:
            unescaped = Unescaped()
            text = unescaped.feed(text) + unescaped.close()
        sieve = self.sieve(is_json=is_json)
        out = sieve.whole(text)
        self.note(sieve)
        if not is_json:
            self.passed.append(out)
        return out

    def note(self, sieve: Sieve) -> None:
        self.found |= sieve.found
        self.blocked = self.blocked or sieve.blocked


def request_texts(rules: Rules, placeholders: Placeholders, restorable: frozenset[str]) -> Texts:
    """For requests: what rules in `restorable` mask can be put back into the answer."""

    def replace(name: str, pattern: Pattern, found: bytes) -> bytes:
        placeholder = placeholders.name(pattern.label, found)
        if name in restorable:
            placeholders.originals[placeholder] = found
        return placeholder

    return Texts(rules, replace, replace)


def answer_texts(rules: Rules, placeholders: Placeholders) -> Texts:
    """For answers: what was masked in the request is put back."""
    if placeholders.originals:
        rules = Rules(rules.blocks, (*rules.masks, ("", RESTORED)), rules.flags)

    def replace(is_json: bool, pattern: Pattern, found: bytes) -> bytes:
        if pattern is RESTORED:
            return placeholders.restored(found, is_json=is_json)
        return placeholders.name(pattern.label, found)

    return Texts(
        rules,
        lambda _, pattern, found: replace(False, pattern, found),
        lambda _, pattern, found: replace(True, pattern, found),
    )


def guarded_body(body: bytes, texts: Texts) -> bytes:
    """A whole answer with its texts let through."""
    whole = decoded(body)
    if whole is None:  # such as subtitles
        said = body.decode(errors="replace")
        text = texts.whole(said)
        return body if text is said else text.encode()
    choices = whole.get("choices")
    if not isinstance(choices, list):  # spoken words: as a whole, and again in pieces
        spoken = texts.whole(whole)
        return body if spoken is whole else wire.encode(spoken)
    passed = [texts.whole(choice) for choice in choices]
    if all(one is other for one, other in zip(passed, choices, strict=True)):
        return body
    cleared = [
        one if one is other or not one.get("logprobs") else {**one, "logprobs": None}
        for one, other in zip(passed, choices, strict=True)
    ]
    return wire.encode({**whole, "choices": cleared})


def decoded(data: bytes) -> dict[str, Any] | None:
    """A JSON object; None where the data is none."""
    try:
        chunk = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        try:
            chunk = json.loads(data.decode(errors="replace"))  # halves of characters, which clients may put together
        except ValueError:
            return None
    return chunk if isinstance(chunk, dict) else None
