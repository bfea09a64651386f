"""The sections of an answer: what a model thinks, which tools it calls, what it says, and where it must stop."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inhouse.core.ids import new_id
from inhouse.serving.lm.request import Request

THINK, THOUGHT = "<think>", "</think>"
CALL, CALLED = "<tool_call>", "</tool_call>"


class Stops:
    """Holds back what may become a stop text, and ends where one is complete."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._longest = max(map(len, texts), default=0)
        self._held = ""
        self.is_met = False

    def push(self, text: str) -> str:
        """The text that can be shown now."""
        if not self._texts:
            return text
        self._held += text
        found = [place for stop in self._texts if (place := self._held.find(stop)) >= 0]
        if found:
            self.is_met = True
            shown, self._held = self._held[: min(found)], ""
            return shown
        keep = max(overlap(self._held, stop) for stop in self._texts)
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown

    def finish(self) -> str:
        shown, self._held = self._held, ""
        return shown


def overlap(text: str, mark: str) -> int:
    """How much of the text's end may be the beginning of the mark."""
    return next((size for size in range(min(len(text), len(mark) - 1), 0, -1) if text.endswith(mark[:size])), 0)


@dataclass(slots=True)
class Said:
    """What came out of some text."""

    text: str = ""
    reasoning: str = ""
    calls: list[Mapping[str, Any]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.text or self.reasoning or self.calls)


class Plain:
    """An answer that is only text."""

    is_thinking = False
    has_called = False

    def push(self, text: str) -> Said:
        return Said(text)

    def finish(self) -> Said:
        return Said()


class Sections:
    """Tells what a model thinks (`<think>`), what it calls (`<tool_call>`) and what it says."""

    def __init__(self, *, is_thinking: bool, has_tools: bool) -> None:
        self.is_thinking = is_thinking
        self.has_called = False
        self._has_tools = has_tools
        self._may_think = True
        self._call: str | None = None
        self._held = ""
        self._calls = 0
        self._at_start = True

    def push(self, text: str) -> Said:
        self._held += text
        said = Said()
        while self._advance(said):
            pass
        return said

    def finish(self) -> Said:
        """What was held back; a call that was never closed counts when it is whole."""
        said = Said()
        if self._call is not None:
            self._end_call(self._call + self._held, said, closed=False)
        elif self.is_thinking:
            said.reasoning = self._held
        elif not self._bare_call(self._held, said):
            said.text = self._held
        self._held, self._call = "", None
        return said

    def _advance(self, said: Said) -> bool:
        """Take one section, or as much as is certain; whether more may follow."""
        if self.is_thinking:
            return self._take(THOUGHT, said)
        if self._call is not None:
            return self._take(CALLED, said)
        return self._speak(said)

    def _take(self, end: str, said: Said) -> bool:
        before, mark, after = self._held.partition(end)
        if not mark:
            keep = overlap(before, end)
            taken, self._held = before[: len(before) - keep], before[len(before) - keep :]
        else:
            taken, self._held = before, after
        if self.is_thinking:
            said.reasoning += taken if not self._at_start else taken.lstrip("\n")
            self._at_start = self._at_start and not taken.strip("\n")
            if mark:
                self.is_thinking, self._at_start = False, True
                said.reasoning = said.reasoning.rstrip("\n")
        else:
            self._call = (self._call or "") + taken
            if mark:
                self._end_call(self._call, said, closed=True)
                self._call = None
        return bool(mark)

    def _speak(self, said: Said) -> bool:
        if self._at_start:
            self._held = self._held.lstrip("\n") if not self._may_think or self._held.strip() else self._held
            start = self._held.lstrip()
            if self._may_think and start.startswith(THINK):
                self._held, self.is_thinking, self._may_think = start[len(THINK) :], True, False
                return True
            if (self._may_think and THINK.startswith(start)) or (self._has_tools and start[:1] == "{"):
                return False  # may be a thought, or a call without marks
            self._at_start = not self._held
        before, mark, after = self._held.partition(CALL) if self._has_tools else (self._held, "", "")
        if mark:
            said.text += before.rstrip("\n")
            self._held, self._call = after, ""
            return True
        keep = overlap(before, CALL) if self._has_tools else 0
        said.text += before[: len(before) - keep]
        self._held = before[len(before) - keep :]
        return False

    def _bare_call(self, text: str, said: Said) -> bool:
        """Llama's form: the whole answer is a call as JSON."""
        if not self._has_tools or not text.lstrip().startswith("{") or self.has_called:
            return False
        call = read_call(text, self._calls)
        if call is None:
            return False
        self.has_called = True
        said.calls.append(call)
        return True

    def _end_call(self, text: str, said: Said, *, closed: bool) -> None:
        call = read_call(text, self._calls)
        if call is None:  # not what it looked like: show it as it was written
            said.text += CALL + text + (CALLED if closed else "")
            return
        self._calls += 1
        self.has_called = self._at_start = True
        said.calls.append(call)


class Calls:
    """An answer that is a tool call as JSON and nothing else, by constraint."""

    is_thinking = False

    def __init__(self) -> None:
        self.has_called = False
        self._text = ""

    def push(self, text: str) -> Said:
        self._text += text
        return Said()

    def finish(self) -> Said:
        call = read_call(self._text, 0)
        self.has_called = call is not None
        return Said(calls=[call]) if call else Said(text=self._text)


def read_call(text: str, number: int) -> Mapping[str, Any] | None:
    """OpenAI's form of a call that a model wrote as JSON; None when it is none."""
    try:
        call = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        return None
    arguments = call.get("arguments", call.get("parameters", {}))
    written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {
        "index": number,
        "id": new_id("call"),
        "type": "function",
        "function": {"name": call["name"], "arguments": written},
    }


def sections_for(request: Request, text: str) -> Plain | Sections | Calls:
    """How to read the answer to a request whose prompt is `text`."""
    if request.forced:
        return Calls()
    if request.messages is None:
        return Plain()
    is_thinking = text.rstrip().endswith(THINK)
    if request.schema is not None and not is_thinking:
        return Plain()
    return Sections(is_thinking=is_thinking, has_tools=bool(request.tools))
