"""From rows to an answer: language models that were trained here, registered and served by the same server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from inhouse.client import Client
from inhouse.core.errors import InhouseError
from inhouse.testing.language import tiny_language_model
from servers import Server, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

THINGS = ("car", "house", "tree", "cup", "door", "lamp", "boat", "pen", "hat", "ring", "bag", "box")
ANSWER = "Blue as the sea."
SMALL = {"epochs": 12, "learning_rate": 5e-3, "batch_size": 4, "max_length": 128, "patience": 0, "samples": 0}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("trained") / "home") as server:
        yield server


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_language_model(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="module")
def api(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    talks = [[user(f"What colour is the {thing}?"), {"role": "assistant", "content": ANSWER}] for thing in THINGS]
    file = tmp_path_factory.mktemp("rows") / "colours.jsonl"
    file.write_text("".join(json.dumps({"messages": talk}) + "\n" for talk in talks), encoding="utf-8")
    with server.client() as api:
        api.datasets.create("colours", file)
        yield api


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def trained(api: Client, model: str, **config: Any) -> str:
    run = api.runs.start(dataset="colours", model=model, recipe="sft", config={**SMALL, **config})
    done = api.runs.wait(run["id"])
    assert done["status"] == "succeeded", done["error"]
    return f"{model}:{done['model_version']}"


def said(server: Server, model: str, question: str) -> str:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        asked: Any = [user(question)]
        answer = client.chat.completions.create(model=model, messages=asked, max_tokens=16, temperature=0)
    return answer.choices[0].message.content or ""


def test_a_model_from_scratch_answers_what_it_was_taught(server: Server, api: Client):
    version = trained(api, "colours")

    api.language_models.load("painter", version, runtime="transformers")

    assert said(server, "painter", "What colour is the car?") == ANSWER


def test_an_adapter_answers_beside_its_base_and_not_beside_another(
    server: Server, api: Client, base: Path, tmp_path: Path
):
    version = trained(api, "legal", base=str(base), learning_rate=2e-2)
    other = tiny_language_model(tmp_path / "other", seed=9)
    api.language_models.load("base", str(base), runtime="transformers")
    api.language_models.load("other", str(other), runtime="transformers")

    api.language_models.add_adapter("base", "legal", version)
    with pytest.raises(InhouseError, match="was made for") as refused:
        api.language_models.add_adapter("other", "legal", version)
    with pytest.raises(InhouseError, match="answers only together with its base"):
        api.language_models.load("alone", version)

    plain, tuned = (said(server, name, "What colour is the car?") for name in ("base", "base:legal"))
    assert plain != tuned
    assert "made for" in refused.value.hint


def test_a_version_that_does_not_exist_is_named(api: Client):
    with pytest.raises(InhouseError, match="There is no model named 'nobody'"):
        api.language_models.load("nobody", "nobody:7")
