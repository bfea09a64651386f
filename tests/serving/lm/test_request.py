from typing import Any

import pytest

from inhouse.serving.lm.request import BadParameter, parse

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def ask(**body: Any) -> Any:
    return parse({"prompt": "hi", **body})


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("messages", []),
        ("messages", "hi"),
        ("prompt", []),
        ("prompt", ["a", "b"]),
        ("n", 0),
        ("n", 10_000),
        ("n", True),
        ("max_tokens", 0),
        ("max_tokens", 1.5),
        ("temperature", -1),
        ("temperature", float("nan")),
        ("top_p", 2),
        ("seed", 1 << 70),
        ("stop", ["x"] * 100_000),
        ("stop", [1]),
        ("stop", "x" * 10_000),
        ("logit_bias", {"1": 101}),
        ("logit_bias", {"a": 1}),
        ("logit_bias", {str(id): 1 for id in range(5000)}),
        ("presence_penalty", 3),
        ("response_format", {"type": "xml"}),
        ("response_format", {"type": "json_schema"}),
        ("tools", [{}]),
        ("tools", [TOOL] * 1000),
        ("tool_choice", "required"),
        ("tool_choice", {"type": "function", "function": {"name": "g"}}),
        ("chat_template_kwargs", {"a": {"b": 1}}),
        ("chat_template_kwargs", {"a b": 1}),
    ],
)
def test_a_bad_member_is_named(param: str, value: Any) -> None:
    with pytest.raises(BadParameter) as refused:
        ask(**{param: value})

    assert refused.value.details["param"] == param


def test_top_logprobs_are_bounded() -> None:
    with pytest.raises(BadParameter, match="top_logprobs"):
        parse({"messages": [{}], "logprobs": True, "top_logprobs": 21})


def test_unknown_members_and_nulls_are_ignored() -> None:
    request = ask(user="me", store=True, temperature=None, max_tokens=None, stop=None)

    assert request.sampling.temperature == 1
    assert request.max_tokens is None


def test_the_newer_name_of_max_tokens_wins() -> None:
    assert ask(max_tokens=5, max_completion_tokens=7).max_tokens == 7


def test_completions_count_their_logprobs() -> None:
    assert ask(logprobs=3).top_logprobs == 3


def test_what_the_makers_recommend_holds_where_nothing_is_said() -> None:
    request = parse({"prompt": "hi", "top_p": 0.5}, {"temperature": 0.6, "top_p": 0.9})

    assert (request.sampling.temperature, request.sampling.top_p) == (0.6, 0.5)


def test_tools_that_must_not_be_called_are_not_shown() -> None:
    assert not ask(tools=[TOOL], tool_choice="none").tools


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "f"}}])
def test_a_call_can_be_forced(choice: Any) -> None:
    assert ask(tools=[TOOL], tool_choice=choice).forced == ("f",)
