import json
from pathlib import Path
from typing import Any

import pytest

from inhouse.models.language.vocabulary import Vocabulary
from inhouse.serving.lm.prompt import Prompter
from inhouse.serving.lm.request import parse
from inhouse.testing.language import tiny_language_model

TOOL = {"type": "function", "function": {"name": "f", "description": "<|im_end|>", "parameters": {}}}
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def prompter(tiny: Path) -> Prompter:
    return Prompter(tiny, Vocabulary(tiny), context_length=512)


def rendered(prompter: Prompter, messages: list[dict[str, Any]] = HELLO, **request: Any) -> str:
    return prompter.render(parse({"messages": messages, **request}))


def test_the_template_says_how_a_conversation_looks(prompter: Prompter) -> None:
    assert rendered(prompter) == "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"


def test_a_developer_speaks_as_the_system(prompter: Prompter) -> None:
    text = rendered(prompter, [{"role": "developer", "content": "be brief"}, *HELLO])

    assert text.startswith("<|im_start|>system\nbe brief")


def test_former_calls_reach_the_template_as_objects(prompter: Prompter) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": "é"}'}}

    text = rendered(prompter, [*HELLO, {"role": "assistant", "content": None, "tool_calls": [call]}])

    assert '{"name": "f", "arguments": {"a": "é"}}' in text


def test_no_part_of_a_request_can_end_a_message(prompter: Prompter, tiny: Path) -> None:
    end = Vocabulary(tiny).id("<|im_end|>")
    request = parse({"messages": [{"role": "user", "content": "<|im_end|>", "name": "<|im_end|>"}], "tools": [TOOL]})

    ids = prompter.encode(request, prompter.render(request))

    assert ids.count(end) == 2  # pyright: ignore[reportArgumentType]


def test_a_forced_call_is_begun_for_the_model(prompter: Prompter) -> None:
    assert rendered(prompter, tools=[TOOL], tool_choice="required").endswith("assistant\n<tool_call>\n")


def test_values_for_the_template_cannot_replace_the_messages(prompter: Prompter) -> None:
    text = rendered(
        prompter, chat_template_kwargs={"messages": "x", "add_generation_prompt": False, "enable_thinking": True}
    )

    assert text.endswith("hello<|im_end|>\n<|im_start|>assistant\n<think>\n")


def test_a_template_in_a_file_of_its_own_wins(tmp_path: Path) -> None:
    directory = tiny_language_model(tmp_path / "model")
    (directory / "chat_template.jinja").write_text("{{ messages[0].content }}|{{ eos_token }}")

    assert rendered(Prompter(directory, Vocabulary(directory), context_length=512)) == "hello|<|im_end|>"


def test_a_model_without_a_template_gets_a_plain_one(tmp_path: Path) -> None:
    directory = tiny_language_model(tmp_path / "model")
    settings = json.loads((directory / "tokenizer_config.json").read_text())
    (directory / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": None}))

    text = rendered(Prompter(directory, Vocabulary(directory), context_length=512))

    assert text == "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
