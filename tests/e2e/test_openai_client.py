"""What other programs were written against: the official OpenAI client, and the plain addresses of the brief."""

from collections.abc import Iterator

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

pytestmark = [pytest.mark.conformance, pytest.mark.slow, pytest.mark.timeout(300)]

SOURCE = '<source id="1" title="VPN" page="2">VPN passwords expire every 90 days. They have 12 characters.</source>'
MESSAGES: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": f"Answer from the sources.\n{SOURCE}"},
    {"role": "user", "content": "How often do VPN passwords expire?"},
]


@pytest.fixture
def client(running_server: tuple[str, str]) -> Iterator[openai.OpenAI]:
    url, key = running_server
    with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
        yield client


@pytest.fixture
def http(running_server: tuple[str, str]) -> Iterator[httpx.Client]:
    url, key = running_server
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, trust_env=False) as http:
        yield http


def test_the_models_are_listed_and_found(client: openai.OpenAI):
    names = [model.id for model in client.models.list()]

    assert {"default", "quote"} <= set(names)
    assert client.models.retrieve("quote").id == "quote"


@pytest.mark.parametrize("model", ["default", "quote"])
def test_a_question_is_answered_from_the_sources_that_it_brings(client: openai.OpenAI, model: str):
    answer = client.chat.completions.create(model=model, messages=MESSAGES)

    said = answer.choices[0].message.content
    assert said is not None
    assert "VPN passwords expire every 90 days. [1]" in said
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


@pytest.mark.parametrize("model", ["default", "quote"])
def test_a_streamed_answer_is_the_same_and_ends_with_its_usage(client: openai.OpenAI, model: str):
    whole = client.chat.completions.create(model=model, messages=MESSAGES)

    stream = client.chat.completions.create(
        model=model, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)

    said = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert said == whole.choices[0].message.content
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason] == ["stop"]
    assert chunks[-1].usage == whole.usage


def test_a_wrong_key_is_an_authentication_error(client: openai.OpenAI):
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="ih_wrong").models.list()


def test_an_unknown_model_is_not_found(client: openai.OpenAI):
    with pytest.raises(openai.NotFoundError, match="no-such-model"):
        client.chat.completions.create(model="no-such-model", messages=MESSAGES)


def test_predict_answers_with_the_keys_of_the_brief(http: httpx.Client):
    answer = http.post("/predict", json={"text": "忘记密码了怎么办"})

    assert answer.status_code == 200
    body = answer.json()
    assert {"prediction", "scores", "model_version", "request_id"} <= body.keys()
    assert body["prediction"] == max(body["scores"], key=body["scores"].get) == "password_reset"
    assert sum(body["scores"].values()) == pytest.approx(1)
    assert body["request_id"] == answer.headers["x-request-id"]


def test_predict_without_a_key_is_refused(http: httpx.Client):
    answer = http.post("/predict", json={"text": "hello"}, headers={"authorization": ""})

    assert answer.status_code == 401
    assert answer.json()["error"]["hint"]


def test_health_needs_no_key(http: httpx.Client):
    answer = http.get("/health", headers={"authorization": ""})

    assert answer.json() == {"status": "ok", "gpu": False}


def test_one_question_is_one_request(http: httpx.Client):
    question = {"query": "How many unused leave days can I carry over to next year?", "context": "", "temperature": 0}

    body = http.get("/api/v1/chat", params=question).json()

    assert "5 days" in body["answer"]
    assert body["sources"][0]["document"] == "leave.en.pdf"
    assert body["sources"][0]["page"] >= 1
