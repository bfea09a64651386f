"""The policies around one another, in the order that requests pass them."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from inhouse.gateway.audit.rows import shown
from inhouse.gateway.audit.search import AuditLog, Wanted
from inhouse.gateway.call import Call, Reply
from inhouse.gateway.chain import Chain
from inhouse.gateway.chunks import assemble, disassemble
from inhouse.gateway.guarded import ContentFiltered
from inhouse.gateway.policies.audit import AuditSettings
from inhouse.gateway.policies.cache import CacheSettings
from inhouse.gateway.policies.guard import GuardRule, GuardSettings
from inhouse.gateway.policies.queue import QueueSettings, Turns
from inhouse.gateway.policy import Surroundings

from . import doubles
from .doubles import Blocks

PRIVATE = GuardRule(name="private", kind="pii", action="mask", restore=True, where="input")
WORDS = GuardRule(name="words", kind="words", words=("forbidden",))


class Model:
    """Repeats what it is asked, and notes it."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def __call__(self, chain: Chain, call: Call) -> Reply:
        self.heard.append(call.json("messages")[0]["content"])
        reply = doubles.answer(f"You said: {self.heard[-1]}")
        return Reply(events=Blocks(*disassemble(reply.body))) if call.stream else reply


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def chain(tmp_path: Path, model: Model) -> Iterator[Chain]:
    chain = Chain(Surroundings(home=tmp_path), model)
    chain.configure(
        {
            "audit": AuditSettings(enabled=True),
            "guard": GuardSettings(rules=(PRIVATE, WORDS)),
            "cache": CacheSettings(enabled=True, only_deterministic=False),
            "queue": QueueSettings(rules=(Turns(max_running=1),)),
        }
    )
    yield chain
    chain.close()


def chat(text: str, *, stream: bool = False) -> Call:
    call = doubles.call(stream=stream, request_id=f"req {text}")
    call.put("messages", [{"role": "user", "content": text}])
    call.body = msgspec.json.encode(call.fields)
    return call


async def said(reply: Reply) -> str:
    body: bytes | None = reply.body
    if reply.events is not None:
        blocks: list[bytes] = []
        while block := await reply.events.part():
            blocks.append(block)
        body = assemble(blocks)
    assert body is not None
    return msgspec.json.decode(body)["choices"][0]["message"]["content"]


@pytest.mark.parametrize("stream", [False, True])
async def test_the_model_and_the_cache_never_see_personal_data(chain: Chain, model: Model, stream: bool) -> None:
    first = await said(await chain.run(chat("I am ann@example.org", stream=stream)))
    again = await said(await chain.run(chat("I am bob@example.org", stream=not stream)))

    assert model.heard == ["I am [EMAIL_1]"]
    assert (first, again) == ("You said: I am ann@example.org", "You said: I am bob@example.org")


@pytest.mark.parametrize("stream", [False, True])
async def test_everything_is_given_back_and_noted_at_the_end(chain: Chain, tmp_path: Path, stream: bool) -> None:
    await said(await chain.run(chat("fine", stream=stream)))
    with pytest.raises(ContentFiltered):
        await chain.run(chat("forbidden", stream=stream))
    chain.close()

    refused, answered = AuditLog(tmp_path).find("default", Wanted()).rows

    assert chain["queue"].running == {}
    assert (answered.status, refused.status, refused.error) == (200, 400, "content_filter")
    assert refused.flags == ["words"]
    body = shown(AuditLog(tmp_path).get("default", "req fine").response)
    assert body["choices"][0]["message"]["content"] == "You said: fine"


async def test_a_client_that_leaves_frees_its_turn(chain: Chain) -> None:
    reply = await chain.run(chat("hi", stream=True))
    assert reply.events is not None
    assert chain["queue"].running == {"workspace m": 1}

    reply.events.abort()

    assert chain["queue"].running == {}
    assert len(chain["cache"]) == 0


async def test_no_request_slips_past_the_guard_while_settings_change(chain: Chain, model: Model):
    settings = {"guard": GuardSettings(rules=(WORDS,)), "queue": QueueSettings(rules=(Turns(max_running=9),))}
    is_over = threading.Event()

    def change() -> None:
        while not is_over.is_set():
            chain.configure(settings)

    changing = threading.Thread(target=change)
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    changing.start()
    try:
        for _ in range(1000):
            with pytest.raises(ContentFiltered):
                await chain.run(chat("something forbidden"))
    finally:
        is_over.set()
        sys.setswitchinterval(usual_s)
        changing.join()

    assert model.heard == []
