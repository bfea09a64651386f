"""What the stand-in for OpenAI answers, endpoint by endpoint: a request's body in, a response out."""

import base64
import re
import time
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from inhouse.testing import parrot
from inhouse.testing.parrot import Said, tokens
from inhouse.testing.upstream import event

_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # one, red


def refuse(
    status: int,
    message: str,
    *,
    code: str | None = None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return JSONResponse({"error": error}, status, headers)


# Chat


def chat(body: dict[str, Any]) -> Response:
    if not body["messages"]:
        return refuse(400, "There is no message.", param="messages")
    said = [parrot.chat(body, index) for index in range(body.get("n") or 1)]
    usage = _usage(sum(len(tokens(parrot.dumps(message))) for message in body["messages"]), said)
    head = _head(body, "chatcmpl", "chat.completion")
    if body.get("stream"):
        return _stream(body, head, _chat_deltas(body, said), usage)
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": None if one.calls else one.text, "refusal": None}
            | ({"reasoning_content": "".join(one.reasoning)} if one.reasoning else {})
            | ({"tool_calls": [_called(*call, index, at) for at, call in enumerate(one.calls)]} if one.calls else {}),
            "logprobs": _logprobs(body, one.words),
            "finish_reason": one.finish_reason,
        }
        for index, one in enumerate(said)
    ]
    return JSONResponse({**head, "choices": choices, "usage": usage})


def _chat_deltas(body: Mapping[str, Any], said: Sequence[Said]) -> Iterator[dict[str, Any]]:
    for index, one in enumerate(said):
        yield _choice(index, {"role": "assistant", "content": None if one.calls else ""})
        for word in one.reasoning:
            yield _choice(index, {"reasoning_content": word})
        for word in one.words:
            yield _choice(index, {"content": word}) | {"logprobs": _logprobs(body, [word])}
        for at, (name, arguments) in enumerate(one.calls):
            yield _choice(index, {"tool_calls": [{"index": at, **_called(name, "", index, at)}]})
            for fragment in re.findall(r"(?s).{1,6}", arguments):
                yield _choice(index, {"tool_calls": [{"index": at, "function": {"arguments": fragment}}]})
        yield _choice(index, {}) | {"finish_reason": one.finish_reason}


def _choice(index: int, delta: Mapping[str, Any]) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}


def _called(name: str, arguments: str, index: int, at: int) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_{index}_{at}_{name}", "type": "function", "function": function}


def _logprobs(body: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any] | None:
    if not body.get("logprobs"):
        return None
    content = [
        _likely(word, 0) | {"top_logprobs": [_likely(word, rank) for rank in range(body.get("top_logprobs") or 0)]}
        for word in words
    ]
    return {"content": content, "refusal": None}


def _likely(word: str, rank: int) -> dict[str, Any]:
    token = f"{word}{'~' * rank}"
    return {"token": token, "logprob": -0.125 - rank, "bytes": list(token.encode())}


# Completions


def complete(body: dict[str, Any]) -> Response:
    prompts = _texts(body["prompt"] if body["prompt"] is not None else "")
    said = [_continued(prompt, body, index) for prompt in prompts for index in range(body.get("n") or 1)]
    usage = _usage(sum(len(tokens(prompt)) for prompt in prompts), said)
    head = _head(body, "cmpl", "text_completion")
    if body.get("stream"):
        return _stream(body, head, _completion_pieces(body, said), usage)
    choices = [_piece(body, index, one.words) | {"finish_reason": one.finish_reason} for index, one in enumerate(said)]
    return JSONResponse({**head, "choices": choices, "usage": usage})


def _continued(prompt: str, body: Mapping[str, Any], index: int) -> Said:
    said = parrot.cut(parrot.reply(prompt, body.get("seed"), index), body)
    return Said([*(tokens(prompt) if body.get("echo") else ()), *said.words], said.finish_reason)


def _completion_pieces(body: Mapping[str, Any], said: Sequence[Said]) -> Iterator[dict[str, Any]]:
    for index, one in enumerate(said):
        yield from (_piece(body, index, [word]) for word in one.words)
        yield _piece(body, index, []) | {"finish_reason": one.finish_reason}


def _piece(body: Mapping[str, Any], index: int, words: Sequence[str]) -> dict[str, Any]:
    piece = {"index": index, "text": "".join(words), "logprobs": None, "finish_reason": None}
    if (count := body.get("logprobs")) is None:
        return piece
    ranked = [{**_likely(word, rank)} for word in words for rank in range(count)]
    tops = [ranked[at : at + count] for at in range(0, len(ranked), count)] if count else [[] for _ in words]
    piece["logprobs"] = {
        "tokens": list(words),
        "token_logprobs": [-0.125 for _ in words],
        "top_logprobs": [{one["token"]: one["logprob"] for one in top} for top in tops],
        "text_offset": [sum(map(len, words[:at])) for at in range(len(words))],
    }
    return piece


# Both


def _head(body: Mapping[str, Any], prefix: str, kind: str) -> dict[str, Any]:
    return {
        "id": f"{prefix}-{zlib.crc32(parrot.dumps(body).encode()):08x}",
        "object": f"{kind}.chunk" if body.get("stream") and prefix == "chatcmpl" else kind,
        "created": int(time.time()),
        "model": body["model"],
        "system_fingerprint": "fp_parrot",
    }


def _usage(prompt_tokens: int, said: Sequence[Said]) -> dict[str, int]:
    written = sum(one.token_count for one in said)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": written,
        "total_tokens": prompt_tokens + written,
    }


def _stream(body: Mapping[str, Any], head: Mapping[str, Any], choices: Iterator[Any], usage: object) -> Response:
    counts = bool((body.get("stream_options") or {}).get("include_usage"))
    earlier = {"usage": None} if counts else {}

    async def events() -> AsyncIterator[bytes]:
        for choice in choices:
            yield event({**head, "choices": [choice], **earlier})
        if counts:
            yield event({**head, "choices": [], "usage": usage})
        yield event(b"[DONE]")

    return StreamingResponse(events(), media_type="text/event-stream")


def _texts(given: Any) -> list[str]:
    """What is given as a text, as token numbers, or as a list of either."""
    if isinstance(given, str):
        return [given]
    if given and isinstance(given[0], int):
        return [" ".join(map(str, given))]
    return [text for one in given for text in _texts(one)]


# The rest of the surface


def embed(body: dict[str, Any]) -> Response:
    texts = _texts(body["input"])
    rows = [_vector(text, body.get("dimensions") or 64) for text in texts]
    as_text = body.get("encoding_format") == "base64"
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(row.tobytes()).decode() if as_text else row.tolist(),
        }
        for index, row in enumerate(rows)
    ]
    count = sum(len(tokens(text)) for text in texts)
    usage = {"prompt_tokens": count, "total_tokens": count}
    return JSONResponse({"object": "list", "model": body["model"], "data": data, "usage": usage})


def _vector(text: str, dimensions: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Texts that share words are near each other."""
    row = np.full(dimensions, 1e-3, np.float32)
    for word in re.findall(r"\w+", text.lower()):
        row[zlib.crc32(word.encode()) % dimensions] += 1
    return (row / np.linalg.norm(row)).astype("<f4")


def rerank(body: dict[str, Any]) -> Response:
    documents = [one["text"] if isinstance(one, dict) else one for one in body["documents"]]
    scores = {index: parrot.alike(body["query"], text) for index, text in enumerate(documents)}
    best = sorted(scores, key=lambda index: -scores[index])[: body.get("top_n")]
    results = [
        {"index": index, "relevance_score": scores[index]}
        | ({"document": {"text": documents[index]}} if body.get("return_documents") else {})
        for index in best
    ]
    count = sum(len(tokens(text)) for text in (body["query"], *documents))
    usage = {"prompt_tokens": count, "total_tokens": count}
    return JSONResponse({"object": "list", "model": body["model"], "results": results, "usage": usage})


def draw(body: dict[str, Any]) -> Response:
    return JSONResponse({"created": int(time.time()), "data": [{"b64_json": _PIXEL}] * (body.get("n") or 1)})


def speak(body: dict[str, Any]) -> Response:
    return Response(body["input"].encode(), media_type=f"audio/{body.get('response_format') or 'mpeg'}")


def transcript(text: str, response_format: str) -> Response:
    if response_format not in ("json", "verbose_json"):
        return PlainTextResponse(text)
    more = {"task": "transcribe", "language": "english", "duration": 1.0, "segments": []}
    return JSONResponse({"text": text, **(more if response_format == "verbose_json" else {})})
