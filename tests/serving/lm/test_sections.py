import json

import pytest

from inhouse.serving.lm.sections import Said, Sections, Stops, overlap


def read(text: str, *, size: int = 1, is_thinking: bool = False, has_tools: bool = True) -> Said:
    """What comes out of a text that arrives in parts of some size."""
    sections = Sections(is_thinking=is_thinking, has_tools=has_tools)
    parts = [sections.push(text[start : start + size]) for start in range(0, len(text), size)]
    parts.append(sections.finish())
    calls = [call for part in parts for call in part.calls]
    return Said("".join(part.text for part in parts), "".join(part.reasoning for part in parts), calls)


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_a_call_comes_out_apart_from_what_is_said(size: int) -> None:
    said = read('I will look.\n<tool_call>\n{"name": "f", "arguments": {"a": "é"}}\n</tool_call>', size=size)

    assert said.text.rstrip() == "I will look."
    assert [call["function"] for call in said.calls] == [{"name": "f", "arguments": '{"a": "é"}'}]


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_several_calls_are_counted(size: int) -> None:
    call = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'

    said = read(f"{call}\n{call}", size=size)

    assert [call["index"] for call in said.calls] == [0, 1]
    assert not said.text


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_thoughts_come_out_apart(size: int) -> None:
    said = read("<think>\nwell <b>\n</think>\n\nTen days.", size=size)

    assert (said.reasoning.strip(), said.text) == ("well <b>", "Ten days.")


def test_a_template_may_open_the_thought() -> None:
    said = read("hm</think>yes", is_thinking=True)

    assert (said.reasoning, said.text) == ("hm", "yes")


def test_thoughts_in_the_middle_are_text() -> None:
    assert read("a <think> tag").text == "a <think> tag"


def test_a_call_that_is_no_json_is_shown_as_written() -> None:
    assert read("<tool_call>oops</tool_call>").text == "<tool_call>oops</tool_call>"


def test_a_call_that_was_never_closed_counts_when_it_is_whole() -> None:
    assert read('<tool_call>{"name": "f"}').calls[0]["function"]["name"] == "f"


def test_a_whole_answer_may_be_a_call_in_llamas_form() -> None:
    said = read('{"name": "f", "parameters": {"a": 1}}')

    assert json.loads(said.calls[0]["function"]["arguments"]) == {"a": 1}
    assert not said.text


@pytest.mark.parametrize("text", ['{"a": 1}', "<", "a < b <tool", "", "<think", " \n hi"])
def test_what_only_looks_like_it_is_text(text: str) -> None:
    assert read(text).text.strip() == text.strip()


def test_without_tools_nothing_is_a_call() -> None:
    text = '<tool_call>{"name": "f"}</tool_call>'

    assert read(text, has_tools=False).text == text


@pytest.mark.parametrize("size", [1, 2, 9])
def test_a_stop_text_never_comes_out(size: int) -> None:
    stops = Stops(["END", "ENOUGH"])
    text = "the EN is near EENDED"

    out = "".join(stops.push(text[start : start + size]) for start in range(0, len(text), size) if not stops.is_met)

    assert out == "the EN is near E"
    assert stops.is_met


def test_what_might_have_become_a_stop_text_comes_out_at_the_end() -> None:
    stops = Stops(["END"])

    assert stops.push("the EN") + stops.finish() == "the EN"


@pytest.mark.parametrize(("text", "size"), [("abE", 1), ("abEN", 2), ("abEND", 0), ("", 0), ("EE", 1)])
def test_the_overlap_is_the_longest_beginning_of_the_mark(text: str, size: int) -> None:
    assert overlap(text, "END") == size
