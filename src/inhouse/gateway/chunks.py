"""Streamed answers and whole ones say the same: a stream's chunks put together, and a whole answer taken apart."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from inhouse.gateway import wire

_CHAT = "chat.completion"
_STREAMED_CHAT = "chat.completion.chunk"


def events(block: bytes) -> list[bytes]:
    """The events of a block of whole ones, each with its end."""
    if block.count(b"\n\n") == 1:
        return [block]
    return [event + b"\n\n" for event in block.split(b"\n\n")[:-1]]


def data_of(event: bytes) -> bytes:
    """What an event says; empty for a comment."""
    if event.startswith(b"data: ") and event.count(b"\n") == 2:
        return event[6:-2]
    return b"\n".join(wire.frames(event))


def assemble(blocks: Sequence[bytes]) -> bytes | None:
    """The whole answer that a complete stream says; None where it broke off or is none."""
    whole: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    is_done = False
    for event in events(b"".join(blocks)):
        data = data_of(event)
        if not data:
            continue
        if data == b"[DONE]":
            is_done = True
            break
        try:
            chunk = msgspec.json.decode(data)
            _fold(whole, choices, chunk)
        except (msgspec.DecodeError, UnicodeDecodeError, AttributeError, TypeError, KeyError, ValueError):
            return None
    if not is_done or not choices or not all(choice.get("finish_reason") for choice in choices.values()):
        return None
    ordered = [_closed(choices[index]) for index in sorted(choices)]
    usage = {"usage": whole.pop("usage")} if "usage" in whole else {}
    return wire.encode({**whole, "choices": ordered, **usage})


def _fold(whole: dict[str, Any], choices: dict[int, dict[str, Any]], chunk: Mapping[str, Any]) -> None:
    if "error" in chunk:
        raise ValueError("an answer that failed")
    for name, value in chunk.items():
        if name == "object":
            whole[name] = _CHAT if value == _STREAMED_CHAT else value
        elif name == "choices":
            for piece in value:
                _fold_choice(choices.setdefault(piece["index"], {"index": piece["index"]}), piece)
        elif value is not None or (name not in whole and name != "usage"):
            whole[name] = value


def _fold_choice(choice: dict[str, Any], piece: Mapping[str, Any]) -> None:
    for name, value in piece.items():
        if name == "delta":
            _fold_message(choice.setdefault("message", {}), value or {})
        elif name == "text":
            choice["text"] = choice.get("text", "") + (value or "")
        elif name == "logprobs" and isinstance(value, dict):
            choice["logprobs"] = _longer(choice.get("logprobs") or {}, value)
        elif value is not None:
            choice[name] = value
        else:
            choice.setdefault(name)


def _longer(known: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in more.items():
        if isinstance(value, list):
            if not isinstance(known.get(name), list):
                known[name] = []
            known[name].extend(value)
        else:
            known.setdefault(name, value)
    return known


def _fold_message(message: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for name, value in delta.items():
        if name == "tool_calls" and value is not None:
            if not isinstance(message.get(name), dict):
                message[name] = {}
            calls = message[name]
            for piece in value:
                _fold_call(calls.setdefault(piece.get("index", len(calls)), {}), piece)
        elif name == "role":
            message[name] = value
        elif name == "function_call" and isinstance(value, dict):
            _fold_call(message, {name: value})
        elif isinstance(value, str):
            message[name] = (message.get(name) or "") + value
        elif value is not None:
            message[name] = value
        else:
            message.setdefault(name)


def _fold_call(call: dict[str, Any], piece: Mapping[str, Any]) -> None:
    """Arguments grow; names and ids are said once, or again."""
    for name, value in piece.items():
        if isinstance(value, dict):
            known = call[name] if isinstance(call.get(name), dict) else call.setdefault(name, {})
            for inner, said in value.items():
                grows = inner in ("arguments", "input") and isinstance(said, str)
                known[inner] = (known.get(inner) or "") + said if grows else said or known.get(inner)
        elif name != "index":
            call[name] = value or call.get(name)


def _closed(choice: dict[str, Any]) -> dict[str, Any]:
    calls = choice.get("message", {}).get("tool_calls")
    if isinstance(calls, dict):
        choice["message"]["tool_calls"] = [calls[index] for index in sorted(calls)]
    return choice


def disassemble(body: bytes) -> list[bytes]:
    """The events that say what a whole answer of a language model says, its usage last."""
    whole: dict[str, Any] = msgspec.json.decode(body)
    top = {name: value for name, value in whole.items() if name not in ("choices", "usage")}
    if top.get("object") == _CHAT:
        top["object"] = _STREAMED_CHAT
    chunks = [{**top, "choices": [piece]} for choice in whole.get("choices") or () for piece in _pieces(choice)]
    if whole.get("usage") is not None:
        chunks.append({**top, "choices": [], "usage": whole["usage"]})
    return [*(wire.frame(wire.encode(chunk)) for chunk in chunks), wire.DONE]


def _pieces(choice: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    index = choice.get("index", 0)
    logprobs = {"logprobs": choice["logprobs"]} if "logprobs" in choice else {}
    rest = {name: value for name, value in choice.items() if name not in ("index", "message", "text", "logprobs")}
    if "message" not in choice:
        yield {"index": index, "text": choice.get("text", ""), **logprobs, **rest}
        return
    message: Mapping[str, Any] = choice["message"] or {}
    nothing_yet = {"logprobs": None} if logprobs else {}
    for number, delta in enumerate(_deltas(message)):
        piece_of = logprobs if number == 1 or not _has_text(message) else nothing_yet
        yield {"index": index, "delta": delta, **piece_of, "finish_reason": None}
        if not _has_text(message):
            logprobs = nothing_yet
    yield {"index": index, "delta": {}, **nothing_yet, **rest}


def _has_text(message: Mapping[str, Any]) -> bool:
    return isinstance(message.get("content"), str) and message["content"] != ""


def _deltas(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """As models do it: who speaks, then what they say, then the tools that they call."""
    said = {name: value for name, value in message.items() if name != "tool_calls"}
    if not _has_text(message):
        yield said
    else:
        yield {**said, "content": ""}
        yield {"content": message["content"]}
    calls = message.get("tool_calls")
    if calls is None and "tool_calls" in message:
        yield {"tool_calls": None}
    elif isinstance(calls, list):
        for number, call in enumerate(calls):
            yield {"tool_calls": [{"index": number, **call}]}
