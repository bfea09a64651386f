import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from inhouse.core.errors import Unavailable
from inhouse.serving.lm.engine import EngineStopped
from inhouse.serving.lm.piece import ContextLengthExceeded, LanguageModel
from inhouse.serving.lm.request import BadParameter
from inhouse.serving.lm.runtimes.transformers import AdapterUnknown
from inhouse.testing.language import merged, tiny_adapter

from .conftest import Load, pieces, say
from .test_network import expected

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Paris", "Rom"]}, "days": {"type": "integer", "maximum": 9, "minimum": 1}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
IDS = [[40, 50, 60, 70] * 9, [41], [42, 52, 62]]


async def test_it_is_a_language_model(load: Load) -> None:
    assert isinstance(load().model(), LanguageModel)


async def test_requests_beside_each_other_get_what_the_library_writes(load: Load, tiny: Path) -> None:
    loaded = load()
    model = loaded.model()

    answers = await asyncio.gather(*(pieces(model, prompt=ids, max_tokens=10) for ids in IDS))

    said = ["".join(piece.text for piece in answer) for answer in answers]
    written = [expected(tiny, ids, 10) for ids in IDS]
    ends = [next((place for place, id in enumerate(ids) if id in loaded.ends), 10) for ids in written]
    decode = loaded.vocabulary._tokenizer.decode
    assert said == [decode(ids[:end]) for ids, end in zip(written, ends, strict=True)]


async def test_the_last_piece_tells_what_it_took(load: Load) -> None:
    answer = await pieces(load().model(), prompt=IDS[0], max_tokens=7)

    assert answer[-1].usage == (36, 7)
    assert answer[-1].finish_reason == "length"
    assert all(piece.usage is None and piece.finish_reason is None for piece in answer[:-1])


async def test_choices_share_the_prompt_and_go_their_own_ways(load: Load) -> None:
    loaded = load()

    answer = await pieces(loaded.model(), prompt=IDS[0], max_tokens=8, n=3, temperature=1.5, seed=1)

    texts = ["".join(piece.text for piece in answer if piece.index == index) for index in range(3)]
    assert len(set(texts)) == 3
    assert loaded.stats().tokens_read == len(IDS[0])
    assert answer[-1].usage == (36, loaded.stats().tokens_written)
    assert sum(piece.finish_reason is not None for piece in answer) == 3


async def test_a_seed_says_the_same_whoever_is_beside(load: Load) -> None:
    model = load().model()
    settings: dict[str, Any] = {"temperature": 1, "max_tokens": 16, "seed": 5}

    alone = await say(model, **settings)
    beside, *_ = await asyncio.gather(say(model, **settings), *(say(model, f"{n}", max_tokens=20) for n in range(3)))
    other = await say(model, **{**settings, "seed": 6})

    assert alone == beside != other


async def test_a_stop_text_ends_the_answer_and_is_not_shown(load: Load) -> None:
    model = load().model()
    whole = await say(model, max_tokens=12)
    stop = whole[3:6]

    messages = [{"role": "user", "content": "How many days?"}]
    answer = await pieces(model, messages=messages, max_tokens=12, stop=[stop])

    assert "".join(piece.text for piece in answer) == whole[: whole.index(stop)]
    assert answer[-1].finish_reason == "stop"


async def test_logprobs_agree_with_the_choice(load: Load) -> None:
    answer = await pieces(load().model(), prompt=IDS[2], max_tokens=6, logprobs=True, top_logprobs=3)

    items = [item for piece in answer for item in piece.logprobs or ()]
    assert len(items) == 6
    assert all(item["top_logprobs"][0]["logprob"] == item["logprob"] for item in items)
    assert all(len(item["top_logprobs"]) == 3 and item["logprob"] < 0 for item in items)
    assert b"".join(bytes(item["bytes"]) for item in items).decode(errors="replace") == "".join(p.text for p in answer)


@pytest.mark.parametrize("seed", range(3))
async def test_an_answer_fits_its_schema(load: Load, seed: int) -> None:
    parameters = TOOL["function"]["parameters"]
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": parameters}}

    answer = json.loads(await say(load().model(), temperature=1, seed=seed, max_tokens=100, response_format=wanted))

    assert answer["city"] in ("Paris", "Rom")
    assert 1 <= answer["days"] <= 9


async def test_a_required_tool_is_called(load: Load) -> None:
    messages = [{"role": "user", "content": "Weather?"}]

    answer = await pieces(
        load().model(), messages=messages, tools=[TOOL], tool_choice="required", max_tokens=200, temperature=1
    )

    [call] = [call for piece in answer for call in piece.tool_calls]
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"])["city"] in ("Paris", "Rom")
    assert answer[-1].finish_reason == "tool_calls"


async def test_a_template_that_opens_a_thought_makes_reasoning(load: Load) -> None:
    messages = [{"role": "user", "content": "hm"}]

    answer = await pieces(
        load().model(), messages=messages, max_tokens=8, chat_template_kwargs={"enable_thinking": True}
    )

    assert "".join(piece.reasoning for piece in answer)
    assert not "".join(piece.text for piece in answer)


async def test_adapters_share_a_batch_and_say_what_merged_weights_say(
    load: Load, tiny: Path, adapter: Path, tmp_path: Path
) -> None:
    other = tiny_adapter(tmp_path / "other", tiny, seed=2)
    loaded = load(adapters={"one": adapter, "two": other})

    mixed = await asyncio.gather(*(say(loaded.model(name), max_tokens=10) for name in ("", "one", "two", "one")))

    apart = [await say(load().model(), max_tokens=10)]
    for name, directory in (("a", adapter), ("b", other)):
        apart.append(await say(load(merged(tmp_path / name, tiny, directory)).model(), max_tokens=10))
    assert mixed == [*apart, apart[1]]
    assert len(set(mixed)) == 3


async def test_an_adapter_comes_and_goes_while_the_model_runs(load: Load, adapter: Path) -> None:
    from inhouse.serving.lm.checkpoint import open_adapter

    loaded = load()
    plain = await say(loaded.model(), max_tokens=8)

    loaded.add_adapter("one", open_adapter(adapter))
    changed = await say(loaded.model("one"), max_tokens=8)
    loaded.remove_adapter("one")

    assert changed != plain
    assert await say(loaded.model(), max_tokens=8) == plain
    with pytest.raises(AdapterUnknown, match="'one'"):
        loaded.model("one")


async def test_leaving_frees_the_place_at_once(load: Load) -> None:
    loaded = load()
    stream = loaded.model().generate({"prompt": [40], "max_tokens": 400, "temperature": 1, "ignore_eos": True})
    await anext(stream)

    await stream.aclose()

    await asyncio.to_thread(loaded.engine.run, lambda: None)
    assert (loaded.stats().rows, loaded.stats().kv_tokens_used) == (0, 0)


async def test_a_late_short_request_does_not_wait_for_an_early_long_one(load: Load) -> None:
    loaded = load()
    model, seen = loaded.model(), list[str]()

    async def watch(name: str, request: dict[str, Any]) -> None:
        async for piece in model.generate({"ignore_eos": True, **request}):
            if name not in seen:
                started.set()
                seen.append(name)
            if piece.usage:
                seen.append(f"{name} ended")

    started = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch("long", {"prompt": [40] * 50, "max_tokens": 400}))
        await started.wait()
        tasks.create_task(watch("short", {"prompt": [41], "max_tokens": 3}))

    assert seen == ["long", "short", "short ended", "long ended"]


async def test_closing_fails_who_is_still_there(load: Load) -> None:
    loaded = load()
    stream = loaded.model().generate({"prompt": [40], "max_tokens": 400, "ignore_eos": True})
    await anext(stream)

    await loaded.close()

    with pytest.raises(EngineStopped):
        async for _ in stream:
            pass
    with pytest.raises(Unavailable):
        await pieces(loaded.model(), prompt=[40])
    assert loaded.state == "failed"


@pytest.mark.parametrize(
    "request_",
    [
        {"prompt": [40] * 600},
        {"prompt": [40], "max_tokens": 512},
        {"prompt": [40], "max_tokens": 10**9},
        {"prompt": "a " * 10_000_000},
        {"messages": [{"role": "user", "content": "a b " * 1000}]},
    ],
    ids=["prompt", "answer", "huge answer", "huge prompt", "messages"],
)
async def test_what_does_not_fit_the_context_is_refused(load: Load, request_: dict[str, Any]) -> None:
    with pytest.raises(ContextLengthExceeded) as refused:
        await pieces(load().model(), **request_)

    assert refused.value.details["code"] == "context_length_exceeded"
    assert refused.value.details["param"] in request_


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        ({"prompt": [10**6]}, "prompt"),
        ({"prompt": [40], "n": 100}, "n"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "messages"),
        ({"messages": ["hi"]}, "messages"),
        ({"prompt": "x", "response_format": {"type": "json_schema", "json_schema": {"schema": {"not": {}}}}}, None),
    ],
)
async def test_what_the_model_cannot_do_is_said_in_words(load: Load, request_: dict[str, Any], param: str) -> None:
    with pytest.raises(BadParameter) as refused:
        await pieces(load().model(), **request_)

    assert refused.value.details["param"] == (param or "response_format")


async def test_text_parts_are_joined(load: Load) -> None:
    model = load().model()
    parts = [{"type": "text", "text": "How many"}, {"type": "text", "text": " days?"}]

    answer = await pieces(model, messages=[{"role": "user", "content": parts}], max_tokens=5)

    assert "".join(piece.text for piece in answer) == await say(model, max_tokens=5)


async def test_a_prompt_can_be_echoed(load: Load) -> None:
    answer = await pieces(load().model(), prompt="The quick", echo=True, max_tokens=3, n=2)

    assert [(piece.index, piece.text) for piece in answer[:2]] == [(0, "The quick"), (1, "The quick")]


async def test_tokens_are_counted(load: Load) -> None:
    assert load().model().count(["🦊", "🦊🦊"]) == 12
