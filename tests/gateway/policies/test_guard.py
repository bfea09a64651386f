from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from inhouse.gateway import wire
from inhouse.gateway.call import Call, Endpoint, Reply
from inhouse.gateway.chunks import assemble, disassemble
from inhouse.gateway.guarded import ContentFiltered
from inhouse.gateway.policies.guard import Guard, GuardRule, GuardSettings
from inhouse.gateway.policy import Surroundings

from . import doubles
from .doubles import Blocks

WORDS = {"name": "words", "kind": "words", "words": ["forbidden", "机密"]}
PRIVATE = {"name": "private", "kind": "pii", "action": "mask", "restore": True}


class Classifier:
    """Calls a text toxic when it says so."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def labels(self, workspace_id: str, model: str, texts: Sequence[str]) -> list[tuple[str, float]]:
        self.seen += texts
        return [("toxic", 0.9) if "toxic" in text else ("fine", 0.99) for text in texts]


def guard(*rules: dict[str, Any], classifier: Classifier | None = None) -> Guard:
    found = Guard(Surroundings(classifier=classifier))
    found.configure(GuardSettings(rules=tuple(GuardRule(**rule) for rule in rules)))
    return found


def chat(text: Any, **more: Any) -> Call:
    call = doubles.call(**more)
    call.put("messages", [{"role": "user", "content": text}])
    return call


async def ask(policy: Guard, call: Call, reply: Reply | None = None) -> Reply:
    async def proceed(_: Call) -> Reply:
        return reply or doubles.answer()

    return await policy.around(call, proceed)


def said(reply: Reply) -> str:
    return msgspec.json.decode(reply.body)["choices"][0]["message"]["content"]


def chunk(delta: dict[str, Any], finish_reason: str | None = None, index: int = 0) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish_reason}
    return wire.frame(wire.encode({"id": "c", "object": "chat.completion.chunk", "choices": [choice]}))


def stream(*pieces: str) -> Blocks:
    begin, end = chunk({"role": "assistant", "content": ""}), chunk({}, "stop")
    return Blocks(begin, *(chunk({"content": piece}) for piece in pieces), end, wire.DONE)


async def all_of(reply: Reply) -> list[bytes]:
    assert reply.events is not None
    blocks: list[bytes] = []
    while block := await reply.events.part():
        blocks.append(block)
    return blocks


def whole(blocks: Sequence[bytes]) -> dict[str, Any]:
    body = assemble(blocks)
    assert body is not None
    return msgspec.json.decode(body)["choices"][0]


async def test_a_request_with_a_forbidden_word_is_refused() -> None:
    with pytest.raises(ContentFiltered) as caught:
        await ask(guard(WORDS), chat("This is FORBIDDEN here."))

    assert caught.value.details["code"] == "content_filter"
    assert wire.error_body(caught.value)[0] == 400


@pytest.mark.parametrize(
    "content",
    [
        "有机密文件",
        "ｆｏｒｂｉｄｄｅｎ",
        [{"type": "text", "text": "so forbidden"}],
        [{"type": "x", "y": {"z": ["forbidden"]}}],
    ],
)
async def test_words_are_found_in_any_shape_of_message(content: Any) -> None:
    with pytest.raises(ContentFiltered):
        await ask(guard(WORDS), chat(content))


def function(description: str = "", **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"name": "look", "description": description, "parameters": schema}


@pytest.mark.parametrize(
    "member",
    [
        {"tools": [{"type": "function", "function": function("forbidden")}]},
        {"tools": [{"type": "function", "function": function(name={"type": "string", "description": "forbidden"})}]},
        {"tools": [{"type": "function", "function": function(type={"enum": ["forbidden"]})}]},
        {"functions": [function("so forbidden")]},
        {"prediction": {"type": "content", "content": "forbidden"}},
        {"prediction": {"type": "content", "content": [{"type": "text", "text": "forbidden"}]}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "description": "forbidden"}}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"title": "forbidden"}}}},
    ],
    ids=str,
)
async def test_words_are_found_in_what_comes_beside_the_messages(member: dict[str, Any]) -> None:
    call = chat("hi")
    for name, value in member.items():
        call.put(name, value)

    with pytest.raises(ContentFiltered):
        await ask(guard(WORDS), call)


async def test_masking_leaves_a_functions_structure_alone() -> None:
    call = chat("hi")
    described = {"type": "string", "description": "Such as ann@example.com"}
    call.put("tools", [{"type": "function", "function": function("For bob@example.com", email=described)}])

    await ask(guard({**PRIVATE, "finds": ["email"]}), call)

    [tool] = call.json("tools")
    email = {**described, "description": "Such as [EMAIL_2]"}
    assert tool == {"type": "function", "function": function("For [EMAIL_1]", email=email)}


async def test_a_word_within_another_is_none() -> None:
    assert said(await ask(guard(WORDS), chat("unforbiddenly"))) == "Hello."


@pytest.mark.parametrize(
    ("endpoint", "fields"),
    [
        (Endpoint.COMPLETIONS, {"prompt": ["fine", "forbidden"]}),
        (Endpoint.EMBEDDINGS, {"input": ["forbidden"]}),
        (Endpoint.RERANK, {"query": "q", "documents": [{"text": "forbidden"}]}),
    ],
)
async def test_every_kind_of_request_is_checked(endpoint: Endpoint, fields: dict[str, Any]) -> None:
    call = doubles.call()
    call.endpoint = endpoint
    for name, value in fields.items():
        call.put(name, value)

    with pytest.raises(ContentFiltered):
        await ask(guard(WORDS), call)


async def test_personal_data_does_not_reach_the_model_and_comes_back_to_the_client() -> None:
    call = chat("Write to ann@example.org or 13800138000, again ann@example.org.")
    reply = doubles.answer("I wrote to [EMAIL_1] and called [PHONE_1], not [EMAIL_7].")

    answer = await ask(guard({**PRIVATE, "where": "input"}), call, reply)

    assert call.json("messages")[0]["content"] == "Write to [EMAIL_1] or [PHONE_1], again [EMAIL_1]."
    assert said(answer) == "I wrote to ann@example.org and called 13800138000, not [EMAIL_7]."


async def test_what_looks_like_our_placeholder_is_left_alone() -> None:
    call = chat("Is [EMAIL_1] ann@example.org?")

    answer = await ask(guard({**PRIVATE, "where": "input"}), call, doubles.answer("[EMAIL_1] or [EMAIL_2]"))

    assert said(answer) == "[EMAIL_1] or ann@example.org"


async def test_what_the_answer_says_of_others_is_masked() -> None:
    answer = await ask(guard({**PRIVATE, "where": "output"}), chat("Who?"), doubles.answer("Bob: bob@example.org"))

    assert said(answer) == "Bob: [EMAIL_1]"


async def test_a_clean_answer_is_the_very_same() -> None:
    reply = doubles.answer()

    assert await ask(guard(WORDS), chat("hi"), reply) is reply


async def test_a_rule_applies_to_whom_it_names() -> None:
    others = guard({**WORDS, "subject": "user:bob"}, {**WORDS, "name": "other-model", "model": "x*"})

    assert said(await ask(others, chat("forbidden"))) == "Hello."


async def test_a_flag_is_noted_and_changes_nothing() -> None:
    policy, call = guard({**WORDS, "action": "flag"}), chat("forbidden")

    await ask(policy, call)

    assert call.notes["guard"] == ["words"]
    assert policy.found["words"] == 1


async def test_a_stream_without_matches_passes_as_it_came() -> None:
    reply = Reply(events=stream("Hello", " there", ", you."))

    blocks = await all_of(await ask(guard(WORDS), chat("hi"), reply))

    assert b"".join(blocks) == b"".join(await all_of(Reply(events=stream("Hello", " there", ", you."))))


async def test_an_expression_holds_back_only_what_may_match() -> None:
    rule = {"name": "project", "kind": "regex", "patterns": [r"project \w+ is secret"]}
    pieces = ["The ", "project ", "x", " was", " never."]

    blocks = await all_of(await ask(guard(rule), chat("hi"), Reply(events=stream(*pieces))))

    chunks = [msgspec.json.decode(data) for data in wire.frames(b"".join(blocks)) if data != b"[DONE]"]
    said_in = [one["choices"][0]["delta"] for one in chunks]
    texts = [delta["content"] for delta in said_in if delta.get("content")]
    assert texts == ["The ", "project x was", " never."]


async def test_a_word_cut_in_pieces_ends_the_stream() -> None:
    inner = stream("This is fine. ", "That is for", "bid", "den fruit", ", and more.")

    blocks = await all_of(await ask(guard(WORDS), chat("hi"), Reply(events=inner)))

    assert whole(blocks) == {
        "index": 0,
        "message": {"role": "assistant", "content": "This is fine. That is "},
        "finish_reason": "content_filter",
    }
    assert inner.aborted


async def test_a_stream_that_begins_badly_is_refused_as_a_whole() -> None:
    inner = stream("for", "bidden")

    with pytest.raises(ContentFiltered):
        await ask(guard(WORDS), chat("hi"), Reply(events=inner))

    assert inner.aborted


async def test_what_was_masked_comes_back_through_a_stream_and_into_json() -> None:
    arguments = chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"to":"[NOTE'}}]})
    rest = chunk({"tool_calls": [{"index": 0, "function": {"arguments": '_1]"}'}}]})
    inner = Blocks(
        chunk({"content": "To [NO"}), chunk({"content": "TE_1]"}), arguments, rest, chunk({}, "stop"), wire.DONE
    )
    rule = {
        "name": "note",
        "kind": "regex",
        "action": "mask",
        "restore": True,
        "patterns": ['"[a-z]+"'],
        "where": "input",
    }

    choice = whole(await all_of(await ask(guard(rule), chat('say "hello"'), Reply(events=inner))))

    assert choice["message"]["content"] == 'To "hello"'
    assert msgspec.json.decode(choice["message"]["tool_calls"][0]["function"]["arguments"]) == {"to": '"hello"'}


async def test_escapes_do_not_hide_a_word_in_arguments() -> None:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    pieces = ['{"a":"\\u67', "3a\\u5bc6", ' \\ud83d\\ude42"}']
    calls = [chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}) for piece in pieces]
    inner = Blocks(chunk({"tool_calls": [call]}), *calls, chunk({}, "tool_calls"), wire.DONE)

    choice = whole(await all_of(await ask(guard(WORDS), chat("hi"), Reply(events=inner))))

    assert choice["finish_reason"] == "content_filter"


async def test_thoughts_are_checked_and_end_before_the_answer_begins() -> None:
    inner = Blocks(
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "hm, for"}),
        chunk({"content": "Hi."}),
        chunk({}, "stop"),
        wire.DONE,
    )

    blocks = await all_of(await ask(guard(WORDS), chat("hi"), Reply(events=inner)))

    assert [b"reasoning_content" in block for block in blocks] == [True, True, False, False]
    assert whole(blocks)["message"] == {"role": "assistant", "content": "Hi.", "reasoning_content": "hm, for"}


async def test_a_stream_that_just_ends_gives_what_was_held_back() -> None:
    inner = Blocks(chunk({"content": "so for"}))

    blocks = await all_of(await ask(guard(WORDS), chat("hi"), Reply(events=inner)))

    assert b"".join(blocks).count(b"data: ") == 2
    assert b'"for"' in blocks[-1]


async def test_several_choices_end_together_when_one_is_stopped() -> None:
    inner = Blocks(
        chunk({"content": "one "}, index=0),
        chunk({"content": "two "}, index=1),
        chunk({"content": "forbidden"}, index=1),
    )

    blocks = b"".join(await all_of(await ask(guard(WORDS), chat("hi"), Reply(events=inner))))

    assert blocks.count(b"content_filter") == 2
    assert blocks.endswith(wire.DONE)


async def test_the_tokens_of_what_is_held_back_are_not_told() -> None:
    choice = {
        "index": 0,
        "delta": {"content": "for"},
        "logprobs": {"content": [{"token": "for"}]},
        "finish_reason": None,
    }
    event = wire.frame(wire.encode({"choices": [choice]}))
    inner = Blocks(chunk({"content": "so "}), event, chunk({"content": "mal"}), chunk({}, "stop"), wire.DONE)

    blocks = await all_of(await ask(guard(WORDS), chat("hi"), Reply(events=inner)))

    assert b"token" not in b"".join(blocks)
    assert whole(blocks)["message"]["content"] == "so formal"


async def test_a_classifier_refuses_requests() -> None:
    rule = {"name": "toxic", "kind": "classifier", "classifier": "tox", "labels": ["toxic"], "threshold": 0.5}

    with pytest.raises(ContentFiltered):
        await ask(guard(rule, classifier=Classifier()), chat("how toxic"))


async def test_a_classifier_sees_a_streamed_answer_before_the_client() -> None:
    rule = {"name": "t", "kind": "classifier", "where": "output", "classifier": "tox", "labels": ["toxic"]}
    inner = stream("a" * 400, "b" * 100, " tox", "ic ", "end")

    choice = whole(await all_of(await ask(guard(rule, classifier=Classifier()), chat("hi"), Reply(events=inner))))

    assert choice["message"]["content"] == "a" * 400
    assert choice["finish_reason"] == "content_filter"


async def test_moderation_names_our_rules_beside_the_usual_categories() -> None:
    found = await guard(WORDS, PRIVATE).moderate(["forbidden", "fine"])

    first, second = found["results"]
    assert (first["flagged"], second["flagged"]) == (True, False)
    assert {name for name, hit in first["categories"].items() if hit} == {"words"}
    assert first["category_scores"]["words"] == 1.0
    assert first["categories"]["self-harm/intent"] is False


@pytest.mark.parametrize(
    "rule",
    [
        {"name": "r", "kind": "regex", "patterns": ["(?=x)"]},
        {"name": "r", "kind": "regex"},
        {"name": "r", "kind": "words", "words": [" "]},
        {"name": "r", "kind": "classifier", "classifier": "c"},
        {"name": "r", "kind": "classifier", "classifier": "c", "labels": ["x"], "action": "mask"},
        {"name": "no good", "kind": "pii"},
    ],
)
def test_a_rule_that_cannot_work_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GuardRule(**rule)


PIECES = st.sampled_from(
    ["forbidden", "for", "bidden", "机密", "机", "a", " ", "x@y.org", "x@", "y.org", "[EMAIL_1]", "[EM", "\\u"]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=10).map("".join), st.lists(st.integers(1, 5), max_size=20))
async def test_a_stream_says_what_the_whole_answer_would(text: str, cuts: list[int]) -> None:
    policy = guard({**WORDS, "action": "mask"}, PRIVATE)
    pieces, rest = [], text
    for size in cuts:
        pieces.append(rest[:size])
        rest = rest[size:]

    blocks = await all_of(await ask(policy, chat("From ann@example.org"), Reply(events=stream(*pieces, rest))))
    expected = await ask(policy, chat("From ann@example.org"), doubles.answer(text))

    assert whole(blocks)["message"]["content"] == said(expected)


async def test_a_replayed_answer_is_guarded_as_a_streamed_one() -> None:
    body = doubles.answer("so forbidden").body

    with pytest.raises(ContentFiltered):
        await ask(guard(WORDS), chat("hi"), Reply(events=Blocks(b"".join(disassemble(body)))))


@pytest.mark.parametrize(
    "body",
    [
        b'{"text":"a mail to","segments":[{"id":0,"text":"ann@example.org"}]}',
        b"1\n00:00:00,000 --> 00:00:01,000\nann@example.org\n",
        b"ann@example.org",
    ],
)
async def test_spoken_words_are_checked_in_every_format(body: bytes):
    call = doubles.call()
    call.endpoint = Endpoint.TRANSCRIPTIONS

    masked = await ask(guard({**PRIVATE, "where": "output"}), call, Reply(body))
    with pytest.raises(ContentFiltered):
        await ask(guard({**WORDS, "words": ["ann"], "where": "output"}), call, Reply(body))

    assert masked.body == body.replace(b"ann@example.org", b"[EMAIL_1]")
