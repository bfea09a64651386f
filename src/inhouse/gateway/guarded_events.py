"""Holds rules against an answer that comes in pieces."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from inhouse.gateway import wire
from inhouse.gateway.call import Events
from inhouse.gateway.chunks import data_of, events
from inhouse.gateway.guarded import Texts, decoded, filtered
from inhouse.gateway.texts import Unescaped

_JUDGED_CHARACTERS = 300
"""So much of a text is held back until the classifier has seen it."""
_CONTEXT_CHARACTERS = 1000
_THOUGHTS = ("reasoning_content", "reasoning")
_STREAMED_TEXTS = ("content", "refusal", *_THOUGHTS)
Judge = Callable[[Sequence[str]], Awaitable[str]]
"""Says which rule blocks one of the texts; nothing if none does."""


class _Channel:
    """One of the texts of a streamed answer: what a choice says, thinks, or calls a tool with."""

    def __init__(self, texts: Texts, *, is_json: bool) -> None:
        self.sieve = texts.sieve(is_json=is_json)
        self.waiting = ""
        self._unescaped = Unescaped() if is_json else None
        self._before = ""

    @property
    def is_judged(self) -> bool:
        return self._unescaped is None

    def feed(self, text: str) -> str:
        return self.sieve.feed(self._unescaped.feed(text) if self._unescaped else text)

    def close(self) -> str:
        last = self.sieve.feed(self._unescaped.close()) if self._unescaped else ""
        return last + self.sieve.close()

    def to_judge(self) -> str:
        text = self._before + self.waiting
        self._before = text[-_CONTEXT_CHARACTERS:]
        return text


@dataclass(eq=False)
class _Choice:
    channels: dict[tuple[str, int], _Channel] = field(default_factory=dict)
    is_text: bool = False
    is_over: bool = False
    """Its texts are complete."""
    has_ended: bool = False
    """The client has been told."""


class Guarded:
    """Streamed events whose texts are let through. Events in which nothing changes pass as they came."""

    def __init__(self, inner: Events, texts: Texts, judge: Judge | None, *, done: Callable[[], None]) -> None:
        self._events = inner
        self._done = done
        self._texts = texts
        self._judge = judge
        self._choices: dict[int, _Choice] = {}
        self._latest: dict[str, Any] = {}
        self._ready = b""
        self._has_spoken = False
        self._is_over = False

    async def begin(self) -> None:
        """Wait for the first text that goes out: until then a rule can still refuse the whole answer."""
        blocks: list[bytes] = []
        while not self._has_spoken:
            block = await self._next()
            if not block:
                break
            blocks.append(block)
        if self._texts.blocked:
            raise filtered(self._texts.blocked, "answer")
        self._ready = b"".join(blocks)

    async def part(self) -> bytes:
        if self._ready:
            ready, self._ready = self._ready, b""
            return ready
        block = await self._next()
        if not block or self._is_over:
            self._done()
        return block

    async def _next(self) -> bytes:
        while not self._is_over:
            block = await self._events.part()
            if not block:
                self._is_over = True
                return await self._rest()
            out = await self._block(block)
            if out:
                return out
        return b""

    def abort(self) -> None:
        self._is_over = True
        self._ready = b""
        self._events.abort()
        self._done()

    async def _block(self, block: bytes) -> bytes:
        out: list[bytes] = []
        for event in events(block):
            out.append(await self._event(event))
            if self._texts.blocked:
                break
        return b"".join(out)

    async def _event(self, event: bytes) -> bytes:
        data = data_of(event)
        if data == b"[DONE]":
            return await self._rest() + event
        chunk = decoded(data) if data else None
        if chunk is None:
            return event
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices:
            return event
        self._latest = chunk
        is_changed = False
        for number, choice in enumerate(choices, 1):
            is_changed |= await self._choice(choice)
            if self._texts.blocked:
                return self._stopped(choices[:number])
        for choice in choices:
            self._choices[choice.get("index", 0)].has_ended |= choice.get("finish_reason") is not None
        if not is_changed:
            return event
        chunk["choices"] = [choice for choice in choices if _says(choice)]
        return _frame(chunk) if chunk["choices"] or chunk.get("usage") else b""

    async def _choice(self, choice: dict[str, Any]) -> bool:
        """Let one choice's texts of an event through, in place; says whether something is different."""
        state = self._choices.setdefault(choice.get("index", 0), _Choice())
        delta = choice.get("delta")
        is_changed = False
        if isinstance(choice.get("text"), str):
            state.is_text = True
            is_changed |= await self._member(state, choice, "text", ("text", 0))
        if isinstance(delta, dict):
            is_changed |= await self._delta(state, delta)
        if choice.get("finish_reason") is not None and not state.is_over:
            state.is_over = True
            is_changed |= await self._close(state, choice)
            self._has_spoken = True
        if is_changed and choice.get("logprobs"):
            choice["logprobs"] = None  # the tokens would tell what the text does not
        return is_changed

    async def _delta(self, state: _Choice, delta: dict[str, Any]) -> bool:
        is_changed, is_answer = False, bool(delta.get("content") or delta.get("tool_calls"))
        for name, value in list(delta.items()):
            if name == "tool_calls" and isinstance(value, list):
                for call in value:
                    is_changed |= await self._call(state, call)
            elif name == "function_call" and isinstance(value, dict):
                is_changed |= await self._arguments(state, value, ("function_call", 0))
            elif name in _STREAMED_TEXTS and isinstance(value, str):
                is_changed |= await self._member(state, delta, name, (name, 0))
            elif name != "role" and isinstance(value, str | list | dict):
                delta[name] = self._texts.whole(value)
                is_changed |= delta[name] is not value
        return (is_answer and await self._end_thoughts(state, delta)) or is_changed

    async def _end_thoughts(self, state: _Choice, delta: dict[str, Any]) -> bool:
        """Thoughts end where the answer begins: clients show them apart, so none of them may come after it."""
        is_changed = False
        for (name, number), channel in state.channels.items():
            rest = await self._judged(channel, channel.close(), is_last=True) if name in _THOUGHTS else ""
            if rest:
                is_changed = True
                _append(delta, name, number, rest)
        return is_changed

    async def _call(self, state: _Choice, call: dict[str, Any]) -> bool:
        place = ("tool_calls", call.get("index", 0))
        self._has_spoken |= bool(call.get("id"))
        for name in ("function", "custom"):
            if isinstance(call.get(name), dict):
                return await self._arguments(state, call[name], place)
        return False

    async def _arguments(self, state: _Choice, function: dict[str, Any], place: tuple[str, int]) -> bool:
        is_changed = False
        for name in ("arguments", "input"):
            if isinstance(function.get(name), str):
                is_changed |= await self._member(state, function, name, place)
        return is_changed

    async def _member(self, state: _Choice, owner: dict[str, Any], name: str, place: tuple[str, int]) -> bool:
        text: str = owner[name]
        if not text:
            return False
        channel = state.channels.get(place)
        if channel is None:
            channel = state.channels[place] = _Channel(self._texts, is_json=name == "arguments")
        owner[name] = out = await self._judged(channel, channel.feed(text), is_last=False)
        self._has_spoken |= bool(out)
        return out != text

    async def _close(self, state: _Choice, choice: dict[str, Any]) -> bool:
        """Put what has been held back into the last event of a choice."""
        is_changed = False
        for (name, number), channel in state.channels.items():
            rest = await self._judged(channel, channel.close(), is_last=True)
            if not rest:
                continue
            is_changed = True
            if name == "text":
                choice["text"] = (choice.get("text") or "") + rest
                continue
            delta = choice.get("delta")
            if not isinstance(delta, dict):
                delta = choice["delta"] = {}
            _append(delta, name, number, rest)
        return is_changed

    async def _judged(self, channel: _Channel, out: str, *, is_last: bool) -> str:
        self._texts.note(channel.sieve)
        if self._judge is None or not channel.is_judged:
            return out
        channel.waiting += out
        is_due = is_last or bool(self._texts.blocked) or len(channel.waiting) >= _JUDGED_CHARACTERS
        if not channel.waiting or not is_due:
            return ""
        blocking = await self._judge([channel.to_judge()])
        out, channel.waiting = channel.waiting, ""
        if blocking:
            self._texts.blocked = blocking
            return ""
        return out

    async def _rest(self) -> bytes:
        """What is held back still, for streams that end without saying so."""
        out: list[bytes] = []
        for index, state in self._choices.items():
            if state.is_over:
                continue
            state.is_over = True
            choice: dict[str, Any] = {"index": index, **({"text": ""} if state.is_text else {"delta": {}})}
            if await self._close(state, choice):
                out.append(_frame({**self._head, "choices": [{**choice, "finish_reason": None}]}))
            if self._texts.blocked:
                return b"".join(out) + self._stopped([])
        return b"".join(out)

    @property
    def _head(self) -> dict[str, Any]:
        """What all events of the stream have in common."""
        return {name: value for name, value in self._latest.items() if name not in ("choices", "usage")}

    def _stopped(self, choices: Sequence[dict[str, Any]]) -> bytes:
        """The end of an answer that a rule stops: every choice ends here."""
        self._events.abort()
        self._is_over = True
        last = [choice | {"finish_reason": None, "logprobs": None} for choice in choices]
        out = [_frame({**self._head, "choices": [choice]}) for choice in last if _says(choice)]
        for index, state in self._choices.items():
            if state.has_ended:
                continue
            end: dict[str, Any] = {"text": ""} if state.is_text else {"delta": {}}
            out.append(_frame({**self._head, "choices": [{"index": index, **end, "finish_reason": "content_filter"}]}))
        return b"".join((*out, wire.DONE))


def _append(delta: dict[str, Any], name: str, number: int, rest: str) -> None:
    if name == "tool_calls":
        calls = delta.get(name)
        if not isinstance(calls, list):
            calls = delta[name] = []
        known = next((call for call in calls if call.get("index", 0) == number), None)
        if known is None:
            known = {"index": number, "function": {"arguments": ""}}
            calls.append(known)
        function = known.get("function") or known.setdefault("custom", {})
        member = "input" if "input" in function else "arguments"
        function[member] = (function.get(member) or "") + rest
    elif name == "function_call":
        function = delta.setdefault(name, {})
        function["arguments"] = (function.get("arguments") or "") + rest
    else:
        delta[name] = (delta.get(name) or "") + rest


def _says(choice: dict[str, Any]) -> bool:
    """Whether an event's choice says anything after its texts have been held back."""
    if choice.get("finish_reason") is not None or choice.get("text"):
        return True
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        return False
    calls = delta.get("tool_calls")
    if isinstance(calls, list):
        delta["tool_calls"] = calls = [call for call in calls if call.get("id") or _arguments_of(call)]
        if not calls:
            del delta["tool_calls"]
    function = delta.get("function_call")
    if isinstance(function, dict) and not any(function.values()):
        del delta["function_call"]
    return any(value or name == "role" for name, value in delta.items())


def _arguments_of(call: dict[str, Any]) -> str:
    function = call.get("function") or call.get("custom") or {}
    return function.get("arguments") or function.get("input") or function.get("name") or ""


def _frame(chunk: dict[str, Any]) -> bytes:
    try:
        return wire.frame(wire.encode(chunk))
    except UnicodeEncodeError:
        return wire.frame(json.dumps(chunk, ensure_ascii=True).encode())
