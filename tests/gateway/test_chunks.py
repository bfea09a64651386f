"""A whole answer, taken apart and put together again, is the same answer."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from inhouse.gateway import wire
from inhouse.gateway.chunks import assemble, data_of, disassemble, events

TEXT = st.text(max_size=12)
LOGPROBS = st.none() | st.fixed_dictionaries(
    {
        "content": st.lists(
            st.fixed_dictionaries({"token": TEXT, "logprob": st.floats(-9, 0)}), min_size=1, max_size=3
        ),
        "refusal": st.none(),
    }
)
CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.text(min_size=1, max_size=5),
            "type": st.just("function"),
            "function": st.fixed_dictionaries({"name": st.text(min_size=1, max_size=5), "arguments": TEXT}),
        }
    ),
    min_size=1,
    max_size=3,
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none() | TEXT},
    optional={"refusal": st.none() | TEXT, "reasoning_content": st.none() | TEXT, "tool_calls": CALLS},
)
FINISHED = st.sampled_from(["stop", "length", "tool_calls"])
USAGE = st.fixed_dictionaries({"prompt_tokens": st.integers(0, 9), "completion_tokens": st.integers(0, 9)})
CHATS = st.builds(
    lambda choices, rest, usage: {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 7,
        "model": "m",
        **rest,
        "choices": [{"index": index, **choice} for index, choice in enumerate(choices)],
        **usage,
    },
    st.lists(
        st.fixed_dictionaries({"message": MESSAGES, "finish_reason": FINISHED}, optional={"logprobs": LOGPROBS}),
        min_size=1,
        max_size=3,
    ),
    st.fixed_dictionaries({}, optional={"system_fingerprint": st.none() | TEXT, "service_tier": TEXT}),
    st.fixed_dictionaries({}, optional={"usage": USAGE}),
)


@settings(max_examples=300, deadline=None)
@given(CHATS)
def test_a_chat_answer_survives_being_streamed(body: dict[str, Any]) -> None:
    whole = assemble(disassemble(wire.encode(body)))

    assert whole is not None
    assert msgspec.json.decode(whole) == body


def test_a_completion_survives_being_streamed() -> None:
    logprobs = {"tokens": ["a"], "token_logprobs": [None], "top_logprobs": [None], "text_offset": [0]}
    choice = {"index": 0, "text": "hello", "logprobs": logprobs, "finish_reason": "length"}
    body = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m", "choices": [choice]}

    whole = assemble(disassemble(wire.encode(body)))

    assert whole is not None
    assert msgspec.json.decode(whole) == body


def test_deltas_of_a_real_stream_are_put_together() -> None:
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "content": None},
        {"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]},
        {"tool_calls": [{"index": 1, "id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]},
    ]
    chunks = [{"id": "1", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({"id": "1", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})

    whole = assemble([*(wire.frame(wire.encode(chunk)) for chunk in chunks), b": ping\n\n", wire.DONE])

    assert whole is not None
    [choice] = msgspec.json.decode(whole)["choices"]
    assert choice["message"] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
            {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ],
    }


def test_a_stream_that_broke_off_is_no_answer() -> None:
    body = {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}],
    }
    parts = disassemble(wire.encode(body))

    assert assemble(parts) is not None
    assert assemble(parts[:-1]) is None
    assert assemble([*parts[:-2], wire.DONE]) is None
    assert assemble([*parts[:-1], wire.frame(b'{"error":{"message":"no"}}'), wire.DONE]) is None
    assert assemble([wire.frame(b"<html>"), wire.DONE]) is None


def test_events_are_told_apart() -> None:
    block = b'data: {"a":1}\n\n: ping\n\nevent: x\ndata: 1\ndata: 2\n\n'

    assert events(block) == [b'data: {"a":1}\n\n', b": ping\n\n", b"event: x\ndata: 1\ndata: 2\n\n"]
    assert [data_of(event) for event in events(block)] == [b'{"a":1}', b"", b"1\n2"]
