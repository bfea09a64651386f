"""A language model without weights: what it says is made of the question, and is the same for the same request."""

import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(r"\s*\S+")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_QUOTED = re.compile(r"""(?<!\w)['"「“]([^'"「」“”]+)['"」”](?!\w)""")
_DEPTH = 4
_FORMATS = {
    "date": "2024-02-29",
    "date-time": "2024-02-29T12:00:00Z",
    "time": "12:00:00Z",
    "email": "parrot@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def tokens(text: str) -> list[str]:
    """The words of a text with the space before each; joined they are the text again."""
    found = _TOKEN.findall(text)
    rest = text[sum(map(len, found)) :]
    return [*found, rest] if rest else found


@dataclass(frozen=True, slots=True)
class Said:
    """One answer: words, or calls of tools."""

    words: Sequence[str] = ()
    finish_reason: str = "stop"
    reasoning: Sequence[str] = ()
    calls: Sequence[tuple[str, str]] = ()
    """Name and arguments (as JSON) of each tool that is called."""

    @property
    def text(self) -> str:
        return "".join(self.words)

    @property
    def token_count(self) -> int:
        called = sum(len(tokens(arguments)) + 1 for _, arguments in self.calls)
        return len(self.words) + len(self.reasoning) + called


def chat(body: Mapping[str, Any], index: int) -> Said:
    """The choice with this index to a chat completion request."""
    question = last_question(body["messages"])
    if called := _tools_to_call(body, question):
        calls = [(tool["name"], dumps(fitting(tool.get("parameters") or {}, question))) for tool in called]
        return Said(finish_reason="tool_calls", calls=calls)
    thought = tokens(f"Somebody asks: {question}") if "reason" in body["model"] else []
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        text = dumps(fitting(wanted["json_schema"].get("schema") or {}, question))
    elif wanted.get("type") == "json_object":
        text = dumps({name: f"{name} of it" for name in _QUOTED.findall(question)} or {"answer": question})
    else:
        text = reply(question, body.get("seed"), index)
    said = cut(text, body)
    return Said(said.words, said.finish_reason, thought)


def reply(question: str, seed: int | None, index: int) -> str:
    """A sentence or two; other seeds and other choices end in other numbers."""
    number = zlib.crc32(f"{seed or 0}/{index}/{question}".encode()) % 1000
    return f"You said: {question} That has {len(tokens(question))} words. My number for it is {number}."


def cut(text: str, body: Mapping[str, Any]) -> Said:
    """As much of the text as stop strings and the limit of tokens leave."""
    stops = body.get("stop") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        text = text.split(stop, 1)[0]
    words = tokens(text)
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or len(words)
    return Said(words[:limit], "stop" if len(words) <= limit else "length")


def last_question(messages: Sequence[Mapping[str, Any]]) -> str:
    """What the newest message says; of pictures and sounds, what kind they are."""
    content = messages[-1].get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(_described(part) for part in content)


def _described(part: Mapping[str, Any]) -> str:
    kind = part.get("type", "text")
    if kind == "text":
        return part.get("text", "")
    if kind == "image_url":
        head, _, data = part["image_url"]["url"].partition(";base64,")
        return f"[{head.removeprefix('data:')}, {len(data)} characters]" if data else f"[image at {head}]"
    if kind == "input_audio":
        return f"[{part['input_audio']['format']} audio]"
    return f"[{kind}]"


def _tools_to_call(body: Mapping[str, Any], question: str) -> list[dict[str, Any]]:
    """The tools that the request names, or that the question names, or the first."""
    tools = [tool["function"] for tool in body.get("tools") or () if tool.get("type") == "function"]
    choice = body.get("tool_choice") or "auto"
    if isinstance(choice, dict):
        return [tool for tool in tools if tool["name"] == choice["function"]["name"]]
    if choice == "none" or (choice == "auto" and body["messages"][-1].get("role") == "tool"):
        return []
    mentioned = [tool for tool in tools if re.search(rf"\b{re.escape(tool['name'])}\b", question)] or tools[:1]
    return mentioned[:1] if body.get("parallel_tool_calls") is False else mentioned


def fitting(schema: Mapping[str, Any], question: str) -> Any:
    """A value that a JSON schema accepts, out of numbers and quotations of the question where there are some."""
    return _Maker(schema, question).make(schema, "value", 0)


class _Maker:
    def __init__(self, root: Mapping[str, Any], question: str) -> None:
        self._definitions = {**root.get("$defs", {}), **root.get("definitions", {})}
        self._numbers = [float(number) for number in _NUMBER.findall(question)]
        self._quoted = _QUOTED.findall(question)

    def make(self, schema: Mapping[str, Any], name: str, depth: int) -> Any:
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][0]
        kinds = schema.get("type") or ("object" if "properties" in schema else "string")
        kind = kinds if isinstance(kinds, str) else next((one for one in kinds if one != "null"), "null")
        match kind:
            case "object":
                fields = schema.get("properties") or {}
                kept = fields if depth < _DEPTH else schema.get("required", ())
                return {field: self.make(fields[field], field, depth + 1) for field in kept}
            case "array":
                count = max(schema.get("minItems", 0), 1 if depth < _DEPTH else 0)
                return [self.make(schema.get("items") or {}, name, depth + 1) for _ in range(count)]
            case "integer" | "number":
                return self._number(schema, whole=kind == "integer")
            case "boolean":
                return True
            case "null":
                return None
        return self._text(schema, name)

    def _resolved(self, schema: Any) -> dict[str, Any]:
        for _ in range(_DEPTH):
            if "$ref" in schema:
                schema = self._definitions.get(schema["$ref"].rpartition("/")[2], {})
            elif choices := schema.get("anyOf") or schema.get("oneOf"):
                schema = next((one for one in choices if one.get("type") != "null"), {"type": "null"})
            elif parts := schema.get("allOf"):
                schema = {name: value for part in parts for name, value in self._resolved(part).items()}
        return dict(schema)

    def _number(self, schema: Mapping[str, Any], *, whole: bool) -> float:
        least = schema.get("minimum", schema.get("exclusiveMinimum", -1 - 10**9) + 1)
        most = schema.get("maximum", schema.get("exclusiveMaximum", 1 + 10**9) - 1)
        number = next((number for number in self._numbers if least <= number <= most), max(least, min(1, most)))
        return int(number) if whole else float(number)

    def _text(self, schema: Mapping[str, Any], name: str) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        text = self._quoted[0] if self._quoted else f"{name} of it"
        text = text.ljust(schema.get("minLength", 0), ".")
        return text[: schema.get("maxLength")]


def alike(query: str, text: str) -> float:
    """The share of the query's words that the text has."""
    asked = _vocabulary([query])
    return len(asked & _vocabulary([text])) / max(len(asked), 1)


def _vocabulary(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in re.findall(r"\w+", text.lower())}


def dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
