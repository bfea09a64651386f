"""Runs in an environment of its own, with Dify's plugin SDK instead of inhouse."""

import io
import json
import os
from dataclasses import dataclass

import pytest
from dify_plugin import (
    OAICompatEmbeddingModel,
    OAICompatLargeLanguageModel,
    OAICompatRerankModel,
    OAICompatSpeech2TextModel,
    OAICompatText2SpeechModel,
)
from dify_plugin.entities.model.llm import LLMUsage
from dify_plugin.entities.model.message import (
    AssistantPromptMessage,
    ImagePromptMessageContent,
    PromptMessageTool,
    SystemPromptMessage,
    TextPromptMessageContent,
    ToolPromptMessage,
    UserPromptMessage,
)
from dify_plugin.errors.model import CredentialsValidateFailedError, InvokeError

URL = os.environ["OPENAI_BASE_URL"]
CREDENTIALS = {"endpoint_url": URL, "api_key": os.environ["OPENAI_API_KEY"], "mode": "chat", "context_size": "4096"}
TOOLS = {**CREDENTIALS, "function_calling_type": "tool_call", "stream_function_calling": "supported"}
TOOL = PromptMessageTool(
    name="add",
    description="Add two numbers.",
    parameters={
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
)
ASKED = [SystemPromptMessage(content="Be brief."), UserPromptMessage(content="Where is 'Ann' at 7?")]
SCHEMA = {
    "name": "place",
    "schema": {
        "type": "object",
        "properties": {"who": {"type": "string"}, "hour": {"type": "integer"}},
        "required": ["who", "hour"],
        "additionalProperties": False,
    },
}
TEXTS = ["Ann sails a ship", "the sea is wide", "a ship of Ann"]


class Counted:
    """Dify counts tokens itself where a server does not say, with a vocabulary that it would download for that."""

    def _get_num_tokens_by_gpt2(self, text):
        return len(text.split())


class Chat(Counted, OAICompatLargeLanguageModel):
    """As Dify's plugin has it: it allows more parameters than the class that it is made of."""

    def _validate_and_filter_model_parameters(self, model, model_parameters, credentials):
        return dict(model_parameters)


class Embedding(Counted, OAICompatEmbeddingModel):
    pass


@dataclass
class Heard:
    """An answer, put together from its pieces; one that is not streamed is one piece."""

    text: str
    calls: list
    finish_reason: str | None
    usage: LLMUsage
    pieces: int


def ask(messages=ASKED, *, credentials=CREDENTIALS, model="stand-in", stream=False, parameters=None, **options):
    answer = Chat([]).invoke(model, credentials, messages, parameters or {}, stream=stream, user="ann", **options)
    deltas = [chunk.delta for chunk in answer]
    return Heard(
        text="".join(delta.message.content or "" for delta in deltas),
        calls=[call for delta in deltas for call in delta.message.tool_calls],
        finish_reason=deltas[-1].finish_reason,
        usage=deltas[-1].usage,
        pieces=len(deltas),
    )


@pytest.mark.parametrize("mode", ["chat", "completion"])
@pytest.mark.parametrize("stream", ["use", "not_use"])
def test_credentials_are_valid(mode, stream):
    Chat([]).validate_credentials("stand-in", {**CREDENTIALS, "mode": mode, "stream_mode_auth": stream})


@pytest.mark.parametrize(("wrong", "told"), [({"api_key": "ih_wrong"}, "401"), ({"endpoint_model_name": "no"}, "404")])
def test_wrong_credentials_are_not(wrong, told):
    with pytest.raises(CredentialsValidateFailedError, match=told):
        Chat([]).validate_credentials("stand-in", {**CREDENTIALS, **wrong})


def test_a_question_is_answered():
    answer = ask(parameters={"temperature": 0.1, "top_p": 1, "max_tokens": 64})

    assert answer.text.startswith("You said: Where is 'Ann' at 7?")
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.completion_tokens > 0


def test_an_answer_is_streamed():
    answer = ask(stream=True)

    assert answer.text == ask().text
    assert answer.pieces > 5
    assert answer.finish_reason == "stop"


def test_the_usage_of_a_stream_is_the_servers_when_asked_for():
    answer = ask(stream=True, parameters={"stream_options": {"include_usage": True}})

    assert answer.finish_reason == "stop"
    assert answer.usage.prompt_tokens == ask().usage.prompt_tokens


def test_stop_words_end_an_answer():
    assert ask(stop=["Ann"]).text == "You said: Where is '"


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called(stream):
    answer = ask([UserPromptMessage(content="add 3")], credentials=TOOLS, tools=[TOOL], stream=stream)

    (call,) = answer.calls
    assert call.id
    assert (call.type, call.function.name, json.loads(call.function.arguments)) == ("function", "add", {"a": 3, "b": 3})


def test_the_result_of_a_tool_is_heard():
    function = AssistantPromptMessage.ToolCall.ToolCallFunction(name="add", arguments='{"a": 3, "b": 3}')
    call = AssistantPromptMessage.ToolCall(id="call_1", type="function", function=function)
    messages = [
        UserPromptMessage(content="add 3"),
        AssistantPromptMessage(content="", tool_calls=[call]),
        ToolPromptMessage(content="It is 6.", tool_call_id="call_1"),
    ]

    assert ask(messages, credentials=TOOLS, tools=[TOOL]).text.startswith("You said: It is 6.")


def test_an_answer_fits_a_schema():
    answer = ask(parameters={"response_format": "json_schema", "json_schema": json.dumps(SCHEMA)})

    assert json.loads(answer.text) == {"who": "Ann", "hour": 7}


def test_an_answer_is_json():
    assert json.loads(ask(parameters={"response_format": "json_object"}).text)


def test_a_picture_is_looked_at():
    picture = ImagePromptMessageContent(format="png", base64_data="AAAA", mime_type="image/png", detail="low")
    messages = [UserPromptMessage(content=[TextPromptMessageContent(data="What is this?"), picture])]

    answer = ask(messages, credentials={**CREDENTIALS, "vision_support": "support"})

    assert "image/png" in answer.text


def test_thoughts_are_told_apart():
    thought, _, said = ask(model="stand-in-reasoning", stream=True).text.partition("</think>")

    assert "Somebody asks" in thought
    assert said.strip().startswith("You said")


@pytest.mark.parametrize(
    "parameters",
    [{"enable_thinking": False}, {"thinking": {"type": "disabled"}}, {"chat_template_kwargs": {"enable_thinking": 0}}],
)
def test_parameters_of_other_servers_do_no_harm(parameters):
    assert ask(parameters={**parameters, "reasoning_effort": "low"}).text


def test_a_text_is_continued():
    asked, credentials = [UserPromptMessage(content="Once")], {**CREDENTIALS, "mode": "completion"}

    answer = ask(asked, credentials=credentials)

    assert answer.text.startswith("You said: Once")
    assert ask(asked, credentials=credentials, stream=True).text == answer.text


def test_an_error_says_what_is_wrong():
    with pytest.raises(InvokeError, match="model_not_found"):
        Chat([])._invoke("no-such-model", CREDENTIALS, ASKED, {}, stream=False)


def test_texts_become_vectors():
    model = Embedding([])
    credentials = {**CREDENTIALS, "max_chunks": 2}
    model.validate_credentials("stand-in-embedding", credentials)

    result = model.invoke("stand-in-embedding", credentials, TEXTS, user="ann")

    assert [len(row) for row in result.embeddings] == [64, 64, 64]
    assert result.usage.total_tokens > 0


def test_passages_are_ranked():
    model = OAICompatRerankModel([])
    model.validate_credentials("stand-in-rerank", CREDENTIALS)

    result = model.invoke("stand-in-rerank", CREDENTIALS, "a ship of Ann", TEXTS, top_n=2)

    assert [(one.index, one.text) for one in result.docs] == [(2, TEXTS[2]), (0, TEXTS[0])]


def test_sound_goes_both_ways():
    spoken = OAICompatText2SpeechModel([])
    sound = b"".join(spoken.invoke("stand-in-audio", "tenant", CREDENTIALS, "Ahoy!", "alloy"))
    file = io.BytesIO(sound)
    file.name = "ahoy.mp3"

    heard = OAICompatSpeech2TextModel([]).invoke("stand-in-audio", CREDENTIALS, file)

    assert heard == "I heard ahoy.mp3, which has 5 bytes."
