"""Graphs whose results are known from the system whose files we run."""

from typing import Any

import pytest

from inhouse.testing.services import ScriptedChatModel, fixed_services
from inhouse.workflow.events import RunFinished, TextChunk

from .conftest import Play


def finished(events: list[Any]) -> RunFinished:
    assert isinstance(events[-1], RunFinished)
    return events[-1]


def chunks(events: list[Any]) -> list[str]:
    return [event.text for event in events if isinstance(event, TextChunk)]


async def test_an_answer_puts_the_query_between_its_texts(play: Play) -> None:
    events = await play("answer_end_with_text", "Hello, AI!")

    assert finished(events).outputs == {"answer": "prefixHello, AI!suffix"}
    assert "".join(chunks(events)) == "prefixHello, AI!suffix"


@pytest.mark.parametrize("graph", ["simple_passthrough", "end_without_value_type"])
@pytest.mark.parametrize("query", ["q", "", "你好 🌏", "{{#sys.query#}}"])
async def test_an_end_gives_back_its_values(play: Play, graph: str, query: str) -> None:
    events = await play(graph, inputs={"query": query})

    if query:
        assert finished(events).outputs == {"query": query}
    else:
        assert finished(events).status == "failed"


@pytest.mark.parametrize(
    ("query", "way"), [("say hello", "true"), ("hello", "true"), ("Hello", "false"), ("hi", "false")]
)
async def test_a_condition_chooses_one_end(play: Play, query: str, way: str) -> None:
    events = await play("conditional_hello", inputs={"query": query})

    assert finished(events).outputs == {way: query}


async def test_a_model_answers_in_a_chat(play: Play) -> None:
    chat = ScriptedChatModel(("mocked ", "llm ", "response"))

    events = await play("basic_chatflow", "hi", services=fixed_services(chat=chat))

    assert finished(events).outputs == {"answer": "mocked llm response"}
    assert chunks(events) == ["mocked ", "llm ", "response"]
    assert chat.requests[0].messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
    ]
    assert chat.requests[0].temperature == 0.7


async def test_earlier_turns_stand_between_the_system_message_and_the_question(play: Play) -> None:
    chat = ScriptedChatModel(("x",))
    history = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]

    await play("basic_chatflow", "c", services=fixed_services(chat=chat), history=history)

    assert [message["content"] for message in chat.requests[0].messages] == ["Be brief.", "a", "b", "c"]


@pytest.mark.parametrize(
    ("query", "answer"), [("hello there", "contains 'hello'mocked llm response"), ("bye", "mocked llm response")]
)
async def test_a_branch_and_a_model_side_by_side_both_answer(play: Play, query: str, answer: str) -> None:
    events = await play("complex_branch", query)

    assert finished(events).outputs == {"answer": answer}


async def test_answers_come_whole_and_one_after_the_other(play: Play) -> None:
    events = await play("answer_order", services=fixed_services(chat=ScriptedChatModel(("sl", "ow"))))

    assert "".join(chunks(events)) == "first slow; second quick; third"


async def test_two_models_at_once_are_shown_in_the_template_s_order(play: Play) -> None:
    events = await play("parallel_llms", services=fixed_services(chat=ScriptedChatModel(("a", "b"))))

    assert chunks(events) == ["English: ", "a", "b", " / 中文：", "a", "b", "."]


async def test_a_model_shown_directly_streams(play: Play) -> None:
    events = await play("streaming_vs_template", "stream", services=fixed_services(chat=ScriptedChatModel(("a", "b"))))

    assert chunks(events) == ["a", "b"]


async def test_a_model_shown_through_a_template_comes_at_once(play: Play) -> None:
    events = await play("streaming_vs_template", "no", services=fixed_services(chat=ScriptedChatModel(("a", "b"))))

    assert chunks(events) == ["[ab]"]
