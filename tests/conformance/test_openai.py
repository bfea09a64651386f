"""The official Python client against a running server: each way to ask once. `make conformance` goes further."""

import functools
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import openai
import pytest
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam
from pydantic import BaseModel

from conformance.conftest import Endpoint

pytestmark = [pytest.mark.conformance, pytest.mark.slow]

MODEL = "stand-in"
ASKED: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Tell 'Ann' about 3 ships."}]
SAID = "You said: Tell 'Ann' about 3 ships. That has 5 words."
PIXEL = "data:image/png;base64,AAAA"


class Ships(BaseModel):
    captain: str
    count: int


TOOL = openai.pydantic_function_tool(Ships, name="count_ships")


@pytest.fixture(scope="module")
def client(endpoint: Endpoint) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=endpoint.url, api_key=endpoint.key, max_retries=0) as client:
        yield client


@pytest.fixture
async def async_client(endpoint: Endpoint) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=endpoint.url, api_key=endpoint.key, max_retries=0) as client:
        yield client


def text_of(chunks: list[ChatCompletionChunk], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
    return "".join(choice.delta.content or "" for choice in choices)


def test_models_are_listed_and_found(client: openai.OpenAI) -> None:
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).owned_by == "lab"


def test_choices_differ_and_one_seed_says_the_same_again(client: openai.OpenAI) -> None:
    first, second = (client.chat.completions.create(model=MODEL, messages=ASKED, n=2, seed=7) for _ in range(2))

    texts = [choice.message.content for choice in first.choices]
    assert texts == [choice.message.content for choice in second.choices]
    assert texts[0] != texts[1]
    assert first.usage is not None
    assert first.usage.total_tokens == first.usage.prompt_tokens + first.usage.completion_tokens > 20


@pytest.mark.parametrize(
    ("limits", "said", "reason"),
    [
        ({"max_completion_tokens": 2}, "You said:", "length"),
        ({"max_tokens": 2}, "You said:", "length"),
        ({"stop": ["zebra", " 'Ann'"]}, "You said: Tell", "stop"),
        ({"stop": "zebra", "max_tokens": 500}, None, "stop"),
    ],
)
def test_an_answer_keeps_to_its_limits(client: openai.OpenAI, limits: dict, said: str | None, reason: str) -> None:
    (choice,) = client.chat.completions.create(model=MODEL, messages=ASKED, **limits).choices

    assert choice.finish_reason == reason
    assert said in (None, choice.message.content)


async def test_a_stream_is_the_whole_answer_in_pieces_with_its_usage(async_client: openai.AsyncOpenAI) -> None:
    whole = await async_client.chat.completions.create(model=MODEL, messages=ASKED, n=2)

    stream = await async_client.chat.completions.create(
        model=MODEL, messages=ASKED, n=2, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = [chunk async for chunk in stream]

    assert [text_of(chunks, index) for index in (0, 1)] == [choice.message.content for choice in whole.choices]
    assert len({(chunk.id, chunk.object, chunk.model) for chunk in (*chunks, last)}) == 1
    assert all(chunk.usage is None for chunk in chunks)
    assert (last.choices, last.usage) == ([], whole.usage)


async def test_nobody_gets_the_usage_of_a_stream_unasked(async_client: openai.AsyncOpenAI) -> None:
    stream = await async_client.chat.completions.create(model=MODEL, messages=ASKED, stream=True)
    chunks = [chunk async for chunk in stream]

    assert all(len(chunk.choices) == 1 and chunk.usage is None for chunk in chunks)
    assert text_of(chunks).startswith(SAID)


def test_an_answer_may_speak_of_how_streams_end(client: openai.OpenAI) -> None:
    asked: list[ChatCompletionMessageParam] = [{"role": "user", "content": 'Say data:[DONE] and {"error":1} twice.'}]

    chunks = list(client.chat.completions.create(model=MODEL, messages=asked, stream=True))

    assert text_of(chunks).startswith('You said: Say data:[DONE] and {"error":1} twice. That has 5 words.')
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("stream", [False, True])
def test_probabilities_come_with_the_tokens(client: openai.OpenAI, stream: bool) -> None:
    options = {"model": MODEL, "messages": ASKED, "logprobs": True, "top_logprobs": 2, "stop": " 'Ann'"}
    if stream:
        with client.chat.completions.stream(**options) as events:
            answer = events.get_final_completion()
    else:
        answer = client.chat.completions.create(**options)

    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert [one.token for one in logprobs.content or ()] == ["You", " said:", " Tell"]
    assert all(len(one.top_logprobs) == 2 for one in logprobs.content or ())


def test_a_tool_is_called_and_its_result_heard(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=ASKED, tools=[TOOL])
    assert answer.choices[0].finish_reason == "tool_calls"
    (call,) = answer.choices[0].message.tool_calls or ()
    assert call.type == "function"
    assert json.loads(call.function.arguments) == {"captain": "Ann", "count": 3}
    told: ChatCompletionMessageParam = {"role": "tool", "tool_call_id": call.id, "content": "Ann has 3."}

    final = client.chat.completions.create(
        model=MODEL, messages=[*ASKED, answer.choices[0].message.to_dict(), told], tools=[TOOL]
    )

    assert (final.choices[0].message.content or "").startswith("You said: Ann has 3.")


def test_tools_called_side_by_side_arrive_in_pieces(client: openai.OpenAI) -> None:
    tools = [openai.pydantic_function_tool(Ships, name=name) for name in ("first", "second")]
    asked: list[ChatCompletionMessageParam] = [{"role": "user", "content": "first and second of 'Ann', 3"}]

    with client.chat.completions.stream(model=MODEL, messages=asked, tools=tools, tool_choice="required") as stream:
        (choice,) = stream.get_final_completion().choices

    calls = choice.message.tool_calls or ()
    assert [call.function.name for call in calls] == ["first", "second"]
    assert [call.function.parsed_arguments for call in calls] == [Ships(captain="Ann", count=3)] * 2


def test_an_answer_fits_a_schema(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(model=MODEL, messages=ASKED, response_format=Ships)

    assert answer.choices[0].message.parsed == Ships(captain="Ann", count=3)


def test_a_streamed_answer_fits_a_schema(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model=MODEL, messages=ASKED, response_format=Ships) as stream:
        answer = stream.get_final_completion()

    assert answer.choices[0].message.parsed == Ships(captain="Ann", count=3)


def test_an_answer_is_json(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=ASKED, response_format={"type": "json_object"})

    assert json.loads(answer.choices[0].message.content or "")


def test_a_picture_is_looked_at(client: openai.OpenAI) -> None:
    asked: list[ChatCompletionMessageParam] = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": PIXEL}}],
        }
    ]

    answer = client.chat.completions.create(model=MODEL, messages=asked)

    assert "[image/png, 4 characters]" in (answer.choices[0].message.content or "")


@pytest.mark.parametrize("stream", [False, True])
def test_thoughts_come_apart_from_the_answer(client: openai.OpenAI, stream: bool) -> None:
    options = {"model": "stand-in-reasoning", "messages": ASKED}
    if stream:
        deltas = [chunk.choices[0].delta for chunk in client.chat.completions.create(**options, stream=True)]
        said = "".join(delta.content or "" for delta in deltas)
        thought = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    else:
        message = client.chat.completions.create(**options).choices[0].message
        said, thought = message.content or "", message.reasoning_content

    assert said.startswith(SAID)
    assert thought.startswith("Somebody asks:")


def test_what_we_do_not_know_is_passed_on_and_overrides_are_not(client: openai.OpenAI, endpoint: Endpoint) -> None:
    extra = {"chat_template_kwargs": {"enable_thinking": False}, "api_base": "http://evil.test", "api_key": "theirs"}
    client.chat.completions.create(model=MODEL, messages=ASKED, extra_body=extra, reasoning_effort="low")

    heard = endpoint.behind.heard[-1].json
    assert heard["chat_template_kwargs"] == {"enable_thinking": False}
    assert heard["reasoning_effort"] == "low"
    assert not {"api_base", "api_key"} & heard.keys()


async def test_vectors_are_the_same_packed_and_plain(async_client: openai.AsyncOpenAI) -> None:
    texts = ["red apples", "the sea"]
    packed = await async_client.embeddings.create(model="stand-in-embedding", input=texts, dimensions=16)
    plain = await async_client.embeddings.create(
        model="stand-in-embedding", input=texts, dimensions=16, encoding_format="float"
    )

    assert [one.index for one in packed.data] == [0, 1]
    assert packed.data[1].embedding == pytest.approx(plain.data[1].embedding)
    assert packed.usage.total_tokens == plain.usage.total_tokens == 4


def test_token_numbers_become_vectors(client: openai.OpenAI) -> None:
    assert len(client.embeddings.create(model="stand-in-embedding", input=[[1, 2], [3]]).data) == 2


def test_texts_are_continued(client: openai.OpenAI) -> None:
    answer = client.completions.create(model=MODEL, prompt=["one", "two"], logprobs=1, echo=True, max_tokens=3)

    assert [choice.text for choice in answer.choices] == ["oneYou said: one", "twoYou said: two"]
    assert answer.choices[0].logprobs is not None
    assert answer.choices[0].logprobs.tokens == ["one", "You", " said:", " one"]


def test_a_continued_text_is_streamed(client: openai.OpenAI) -> None:
    stream = client.completions.create(
        model=MODEL, prompt="one", stream=True, stream_options={"include_usage": True}, max_tokens=3
    )
    *chunks, last = list(stream)

    assert "".join(chunk.choices[0].text for chunk in chunks) == "You said: one"
    assert chunks[-1].choices[0].finish_reason == "length"
    assert last.usage is not None


def test_texts_are_judged(client: openai.OpenAI) -> None:
    results = client.moderations.create(input=["hello", "world"]).results

    assert [result.flagged for result in results] == [False, False]


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # translations are OpenAI's past
def test_sound_and_pictures_are_forwarded(client: openai.OpenAI) -> None:
    spoken = client.audio.speech.create(model="stand-in-audio", input="Ahoy!", voice="alloy")
    assert (spoken.content, spoken.response.headers["content-type"]) == (b"Ahoy!", "audio/mpeg")
    for ways in (client.audio.transcriptions, client.audio.translations):
        heard = ways.create(model="stand-in-audio", file=("ahoy.mp3", spoken.content))
        assert heard.text == "I heard ahoy.mp3, which has 5 bytes."

    drawn = client.images.generate(model="stand-in-image", prompt="a ship", n=2)
    assert len(drawn.data or ()) == 2


def test_errors_have_their_classes(client: openai.OpenAI) -> None:
    ask = client.chat.completions.create
    with pytest.raises(openai.AuthenticationError) as denied:
        client.with_options(api_key="ih_wrong").chat.completions.create(model=MODEL, messages=ASKED)
    with pytest.raises(openai.NotFoundError) as unknown:
        ask(model="no-such-model", messages=ASKED)
    with pytest.raises(openai.BadRequestError) as bad:
        ask(model=MODEL, messages=ASKED, temperature=9)

    assert [error.value.code for error in (denied, unknown)] == ["invalid_api_key", "model_not_found"]
    assert (bad.value.param, bad.value.type) == ("temperature", "invalid_request_error")
    assert all((error.value.request_id or "").startswith("req_") for error in (denied, unknown, bad))


def test_the_wait_of_a_busy_model_server_reaches_the_client(endpoint: Endpoint, client: openai.OpenAI) -> None:
    with refusing(endpoint, 429, {"retry-after-ms": "7000"}), pytest.raises(openai.RateLimitError) as busy:
        client.embeddings.create(model="stand-in-embedding", input="x")

    assert busy.value.response.headers["retry-after-ms"] == "7000"
    assert busy.value.response.headers["x-should-retry"] == "true"


def test_a_client_does_not_ask_again_what_was_asked_again_here(endpoint: Endpoint, client: openai.OpenAI) -> None:
    before = len(endpoint.behind.heard)
    eager = client.with_options(max_retries=2)

    with refusing(endpoint, 500), pytest.raises(openai.InternalServerError) as failed:
        eager.embeddings.create(model="stand-in-embedding", input="x")

    assert failed.value.response.headers["x-should-retry"] == "false"
    assert 1 <= len(endpoint.behind.heard) - before <= 4


def test_a_client_over_its_limit_waits_as_long_as_we_say(endpoint: Endpoint, client: openai.OpenAI) -> None:
    eager = client.with_options(max_retries=5).embeddings.with_raw_response
    ask = functools.partial(eager.create, model="stand-in-embedding", input="x")
    rule = {"subject": "*", "model": "stand-in-embedding", "requests_per_minute": 600, "burst_s": 1}

    with limited(endpoint, rule):
        answers = [ask() for _ in range(12)]
        with pytest.raises(openai.RateLimitError) as refused:
            ask_often(client)

    assert any(answer.retries_taken for answer in answers)
    assert "x-ratelimit-remaining-requests" in answers[0].headers
    assert refused.value.code == "rate_limit_exceeded"
    assert 0 < int(refused.value.response.headers["retry-after-ms"]) <= 1000


def ask_often(client: openai.OpenAI) -> None:
    for _ in range(12):
        client.embeddings.create(model="stand-in-embedding", input="x")


@contextmanager
def refusing(endpoint: Endpoint, status: int, headers: dict[str, str] | None = None) -> Iterator[None]:
    """The model server refuses everything for a while."""
    endpoint.behind.refuse(status, headers)
    yield
    endpoint.behind.accept()


@contextmanager
def limited(endpoint: Endpoint, rule: dict[str, object]) -> Iterator[None]:
    """The gateway has a limit for a while."""
    with endpoint.server.client() as admin:
        admin.gateway.set("limits", {"rules": [rule]})
        yield
        admin.gateway.reset("limits")
