import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from inhouse.serving.lm.checkpoint import Kind, open_adapter, open_checkpoint
from inhouse.serving.lm.gguf import NotConvertible, is_convertible
from inhouse.serving.lm.piece import Piece
from inhouse.serving.lm.runtime import Plan
from inhouse.serving.lm.runtimes.openvino import OpenVinoRuntime
from inhouse.serving.lm.runtimes.transformers import TransformersLoaded, TransformersRuntime
from inhouse.testing.language import merged, tiny_adapter, tiny_language_model

from .playing import parrot_directory

needs_openvino = pytest.mark.skipif(
    not all(map(find_spec, ("openvino", "openvino_genai", "gguf"))),
    reason="OpenVINO is not installed: pip install 'inhouse[openvino]'",
)
QUESTIONS = ("How many days?", "我们公司每年有", "The quick brown fox " * 8)
Open = Callable[..., Awaitable[TransformersLoaded]]


@pytest.fixture
async def open_model(tmp_path: Path) -> AsyncIterator[Open]:
    opened: list[TransformersLoaded] = []

    async def open_model(directory: Path, runtime: Any = OpenVinoRuntime(), **plan: Any) -> TransformersLoaded:
        wanted = {"dtype": "float32", "kv_tokens": 2000, "cache": tmp_path / "cache", **plan}
        opened.append(runtime.load(Plan("tiny", open_checkpoint(directory), Kind.CHAT, **wanted)))
        return opened[-1]

    yield open_model
    for model in opened:
        await model.close()


async def ask(model: TransformersLoaded, question: str = QUESTIONS[0], **request: Any) -> list[Piece]:
    messages = [{"role": "user", "content": question}]
    asked = {"messages": messages, "max_tokens": 16, "temperature": 0, **request}
    return [piece async for piece in model.model().generate(asked)]


async def say(model: TransformersLoaded, question: str = QUESTIONS[0], **request: Any) -> str:
    return "".join(piece.text for piece in await ask(model, question, **request))


def biased(directory: Path, base: Path) -> Path:
    """The model with random biases, as trained Qwen2 models have them."""
    shutil.copytree(base, directory)
    weights, random = load_file(base / "model.safetensors"), np.random.default_rng(0)
    for name, weight in weights.items():
        if name.endswith(".bias"):
            weight += weight.new_tensor(random.normal(size=weight.shape))
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def eight_bits(directory: Path, base: Path) -> Path:
    """The same model with what is left of its weights in eight bits."""
    from gguf import GGMLQuantizationType, quants

    shutil.copytree(base, directory)
    weights, kind = load_file(base / "model.safetensors"), GGMLQuantizationType.Q8_0
    for name, weight in weights.items():
        if weight.ndim == 2 and weight.shape[1] % 32 == 0:
            weights[name] = weight.new_tensor(quants.dequantize(quants.quantize(weight.numpy(), kind), kind))
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


@needs_openvino
@pytest.mark.parametrize("family", ["qwen2", "qwen3", "llama"])
async def test_it_says_what_the_library_says_of_the_same_weights(open_model: Open, tmp_path: Path, family: str):
    base = biased(tmp_path / "base", tiny_language_model(tmp_path / "plain", family=family))
    ours = await open_model(base)
    library = await open_model(eight_bits(tmp_path / "rounded", base), TransformersRuntime())

    for question in QUESTIONS:
        found, expected = [await ask(one, question, logprobs=True, top_logprobs=3) for one in (ours, library)]

        assert [piece.text for piece in found] == [piece.text for piece in expected]
        assert logprobs(found) == pytest.approx(logprobs(expected), abs=0.01)


def logprobs(pieces: list[Piece]) -> list[float]:
    said = [token for piece in pieces for token in piece.logprobs or ()]
    return [one["logprob"] for token in said for one in (token, *token["top_logprobs"])]


@needs_openvino
async def test_many_at_once_say_what_each_says_alone(open_model: Open, tiny: Path):
    model = await open_model(tiny)
    questions = [f"{number} {question}" for number in range(5) for question in QUESTIONS]

    together = await asyncio.gather(*(say(model, question) for question in questions))

    assert together == [await say(model, question) for question in questions]


@needs_openvino
async def test_choices_of_one_request_go_their_own_ways_from_shared_pages(open_model: Open, tiny: Path):
    model = await open_model(tiny)
    request = {"temperature": 1.0, "seed": 7, "max_tokens": 40}

    pieces = await ask(model, QUESTIONS[2], n=4, **request)
    alone = await say(model, QUESTIONS[2], **request)

    texts = ["".join(piece.text for piece in pieces if piece.index == index) for index in range(4)]
    assert texts[0] == alone
    assert len(set(texts)) == 4


@needs_openvino
async def test_an_answer_fits_its_schema(open_model: Open, tiny: Path):
    model = await open_model(tiny)
    schema = {
        "type": "object",
        "properties": {"paid": {"type": "boolean"}, "unit": {"enum": ["days", "weeks"]}},
        "required": ["paid", "unit"],
        "additionalProperties": False,
    }

    wanted = {"type": "json_schema", "json_schema": {"name": "leave", "schema": schema}}
    answer = json.loads(await say(model, response_format=wanted, max_tokens=60))

    assert set(answer) == {"paid", "unit"}


@needs_openvino
async def test_pages_are_free_again_after_every_end(open_model: Open, tiny: Path):
    model = await open_model(tiny)
    pages = model.engine._network.pages
    free = pages.free

    await ask(model, QUESTIONS[2], n=3, temperature=1.0)
    left = model.model().generate({"prompt": "The quick", "max_tokens": 400, "temperature": 0, "ignore_eos": True})
    await anext(left)
    assert pages.free < free
    await left.aclose()
    await asyncio.to_thread(model.engine.run, lambda: None)

    assert pages.free == free


@needs_openvino
async def test_an_adapter_becomes_part_of_the_weights(open_model: Open, tiny: Path, adapter: Path, tmp_path: Path):
    with_adapter = await open_model(tiny, merged=open_adapter(adapter))
    as_one = await open_model(merged(tmp_path / "merged", tiny, adapter))
    without = await open_model(tiny)

    answers = [await say(model, max_tokens=24) for model in (with_adapter, as_one, without)]

    assert answers[0] == answers[1] != answers[2]


@needs_openvino
async def test_it_is_converted_once(open_model: Open, tiny: Path, tmp_path: Path):
    await open_model(tiny)
    [made] = (tmp_path / "cache" / "openvino").iterdir()
    before = {file.name: file.stat().st_mtime_ns for file in made.iterdir()}

    await open_model(tiny)

    assert list((tmp_path / "cache" / "openvino").iterdir()) == [made]
    assert {file.name: file.stat().st_mtime_ns for file in made.iterdir()} == before


@needs_openvino
async def test_an_adapter_of_another_model_leaves_nothing_behind(open_model: Open, tiny: Path, tmp_path: Path):
    other = tiny_language_model(tmp_path / "other", config={"intermediate_size": 96})
    adapter = open_adapter(tiny_adapter(tmp_path / "adapter", other))

    with pytest.raises(NotConvertible, match="another model"):
        await open_model(tiny, merged=adapter)

    assert list((tmp_path / "cache" / "openvino").iterdir()) == []


@pytest.mark.parametrize(
    ("family", "config"),
    [
        ("gpt2", {}),
        ("mistral", {}),
        ("llama", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
        ("llama", {"attention_bias": True}),
        ("qwen2", {"use_sliding_window": True}),
    ],
)
def test_what_it_cannot_run_is_left_to_others(tmp_path: Path, family: str, config: dict[str, Any]):
    checkpoint = open_checkpoint(tiny_language_model(tmp_path / "model", family=family, config=config))

    assert not OpenVinoRuntime().serves(checkpoint, Kind.CHAT)


def test_what_has_no_byte_level_tokenizer_is_left_to_others(tmp_path: Path):
    directory = parrot_directory(tmp_path / "model", model_type="llama")

    assert not is_convertible(open_checkpoint(directory))


def test_without_its_packages_it_says_how_to_get_them():
    missing = OpenVinoRuntime().missing()

    assert missing in ("", "pip install 'inhouse[openvino]'")
