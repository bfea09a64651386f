"""What callers may see and use of a workspace, and what they cannot do to the others in it."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from inhouse.core.asgi import Receive, Scope, Send
from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.core.secrets import Secrets
from inhouse.gateway.gateway import Gateway
from inhouse.gateway.openai import OpenAIApp
from inhouse.gateway.policies.breaker import BreakerSettings
from inhouse.gateway.policies.budget import Budgeted, BudgetSettings
from inhouse.gateway.policies.cache import CacheSettings
from inhouse.gateway.policies.guard import GuardRule, GuardSettings
from inhouse.gateway.policies.keys import Allowed, KeysSettings
from inhouse.gateway.policies.retry import RetrySettings
from inhouse.gateway.policies.timeouts import TimeoutsSettings
from inhouse.gateway.policy import Settings
from inhouse.gateway.schemas import RouteDocument
from inhouse.testing.upstream import Reply, ScriptedUpstream, chunk, event, fails, streams, whole
from inhouse.workflow.context import ChatRequest

from .policies.doubles import call

HI = [{"role": "user", "content": "hi"}]
KEY = Principal("default", "key_1", frozenset({"chat:run"}), key_id="1", owner_id="user_ann", team="red")


@dataclass
class Set:
    """What an administrator has set."""

    policy: dict[str, Settings] = field(default_factory=dict)
    route: dict[str, RouteDocument] = field(default_factory=dict)

    def workspaces(self) -> tuple[str, ...]:
        return ()

    def policies(self, workspace_id: str) -> Mapping[str, Settings]:
        return self.policy

    def routes(self, workspace_id: str) -> Mapping[str, RouteDocument]:
        return self.route


@dataclass
class House:
    """A gateway behind its OpenAI surface; `who` asks."""

    gateway: Gateway
    set: Set
    upstream: ScriptedUpstream
    who: Principal = KEY

    async def get(self, path: str) -> httpx.Response:
        return await self._ask("GET", path)

    async def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return await self._ask("POST", path, json=body, headers=headers)

    async def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        app = OpenAIApp(self.gateway)

        async def signed_in(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "principal": self.who}, receive, send)

        transport = httpx.ASGITransport(signed_in)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://here/v1", trust_env=False) as http:
            return await http.request(method, path, **more)


@pytest.fixture
async def house(sqlite: Database, tmp_path: Path, upstream: ScriptedUpstream) -> AsyncIterator[House]:
    settings = Set()
    gateway = Gateway(sqlite, Secrets(tmp_path / "secret.key"), configuration=settings)
    await gateway.connect(KEY, "lab", upstream.url)
    yield House(gateway, settings, upstream)
    await gateway.close()


async def test_a_spent_budget_says_once_not_to_try_again(house: House):
    house.set.policy["budget"] = BudgetSettings(rules=(Budgeted(tokens=1),))
    house.gateway.refresh()

    answer = await house.post("chat/completions", {"model": "told", "messages": HI})

    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "insufficient_quota")
    assert answer.headers.get_list("x-should-retry") == ["false"]


async def test_a_key_learns_of_no_model_that_it_may_not_use(house: House):
    house.who = replace(KEY, models=("quote",))

    listed = await house.get("models")
    gone, hidden = await house.get("models/nowhere"), await house.get("models/told")
    asked = await house.post("chat/completions", {"model": "nowhere", "messages": HI})

    assert [one["id"] for one in listed.json()["data"]] == ["quote"]
    assert (await house.get("models/quote")).json()["id"] == "quote"
    for answer in (gone, hidden, asked):
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
        assert "Known: quote" in answer.json()["error"]["message"]
    assert gone.json()["error"]["message"].replace("nowhere", "told") == hidden.json()["error"]["message"]


async def test_the_rules_for_a_team_hold_for_the_list_too(house: House):
    house.set.policy["keys"] = KeysSettings(rules=(Allowed(subject="team:red", model="quote"),))
    house.gateway.refresh()

    assert [one["id"] for one in (await house.get("models")).json()["data"]] == ["quote"]
    assert (await house.get("models/told")).status_code == 404
    house.who = replace(KEY, team="blue")
    assert (await house.get("models/told")).status_code == 200


async def test_no_fallback_leads_to_a_model_that_is_not_allowed(house: House):
    target = {"upstream": "lab", "model": "told"}
    house.set.route["first"] = RouteDocument.model_validate({"targets": [target], "fallbacks": ["quote"]})
    house.set.policy["keys"] = KeysSettings(rules=(Allowed(subject="team:red", model="first"),))
    house.gateway.refresh()
    house.upstream.script(*[fails(500)] * 8)

    denied = await house.post("chat/completions", {"model": "first", "messages": HI})
    house.who = replace(KEY, team="blue")
    helped = await house.post("chat/completions", {"model": "first", "messages": HI})

    assert (denied.status_code, helped.status_code) == (503, 200)
    assert helped.headers["x-model-fallback"] == "quote"


async def test_an_upstream_that_cannot_stream_completions_loses_no_text(house: House):
    choice = {"index": 0, "text": "Hello.", "finish_reason": "stop"}
    body = {"id": "c", "object": "text_completion", "created": 1, "model": "told", "choices": [choice]}
    house.upstream.script(Reply([json.dumps(body).encode()]))

    answer = await house.post("completions", {"model": "told", "prompt": "Hi", "stream": True})

    assert '"text":"Hello."' in answer.text
    assert '"object":"text_completion"' in answer.text
    assert answer.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("body", [b'{"choices":[1]}', b'{"choices":[{"message":1}]}'])
async def test_nonsense_from_an_upstream_is_its_fault(house: House, body: bytes):
    house.upstream.script(*[Reply([body])] * 4)

    answer = await house.post("chat/completions", {"model": "told", "messages": HI, "stream": True})

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "upstream_garbled")


async def test_one_moderation_has_so_many_texts_at_most(house: House):
    house.set.policy["guard"] = GuardSettings(rules=(GuardRule(name="words", kind="words", words=("bad",)),))
    house.gateway.refresh()

    some = await house.post("moderations", {"input": ["good", "bad"]})
    many = await house.post("moderations", {"input": [""] * 100_000})

    assert [one["flagged"] for one in some.json()["results"]] == [False, True]
    assert (many.status_code, many.json()["error"]["param"]) == (400, "input")


async def test_clients_in_a_hurry_close_no_server_to_others(house: House):
    both = [{"upstream": "lab", "model": name} for name in ("told", "other")]
    house.set.route["m"] = RouteDocument.model_validate({"targets": both})
    house.set.policy["breaker"] = BreakerSettings(failures=1)
    house.gateway.refresh()
    house.upstream.script(Reply([10.0]), streams(b": wait\n\n", 10.0))

    for stream in (False, True):
        ask = {"model": "m", "messages": HI, "stream": stream}
        answer = await house.post("chat/completions", ask, **{"x-request-timeout-ms": "50"})
        assert answer.status_code == 504

    breaker = house.gateway.chain("default")["breaker"]
    assert set(breaker.states().values()) <= {"closed"}


async def test_a_blocked_answer_has_been_paid_for(house: House):
    rule = GuardRule(name="words", kind="words", words=("secret",), where="output")
    house.set.policy["guard"] = GuardSettings(rules=(rule,))
    house.set.policy["budget"] = BudgetSettings(rules=(Budgeted(tokens=10_000),))
    house.gateway.refresh()
    usage = {"prompt_tokens": 11, "completion_tokens": 7}
    house.upstream.script(Reply([whole({"role": "assistant", "content": "a secret"}, usage=usage)]))

    answer = await house.post("chat/completions", {"model": "told", "messages": HI})

    assert answer.json()["error"]["code"] == "content_filter"
    [(_, account)] = house.gateway.chain("default")["budget"].accounts.all()
    assert account.tokens == 18


async def test_a_fallbacks_answer_is_not_kept_for_the_model_that_was_away(house: House):
    target = {"upstream": "lab", "model": "told"}
    house.set.route["first"] = RouteDocument.model_validate({"targets": [target], "fallbacks": ["quote"]})
    house.set.policy["cache"] = CacheSettings(enabled=True)
    house.set.policy["retry"] = RetrySettings(retries=0)
    house.gateway.refresh()
    house.upstream.script(fails(500))
    ask = {"model": "first", "messages": HI, "temperature": 0}

    helped = await house.post("chat/completions", ask)
    after = await house.post("chat/completions", ask)

    assert helped.headers["x-model-fallback"] == "quote"
    assert after.json()["choices"][0]["message"]["content"] == "Hello from upstream."
    assert (await house.post("chat/completions", ask)).headers["x-cache"] == "hit"


async def test_a_server_that_sends_a_head_and_no_token_is_given_up_in_time(house: House):
    house.set.policy["timeouts"] = TimeoutsSettings(first_token_s=0.1, idle_s=60)
    house.set.policy["retry"] = RetrySettings(retries=0)
    house.gateway.refresh()
    house.upstream.script(streams(20.0))

    answer = await house.post("chat/completions", {"model": "told", "messages": HI, "stream": True})

    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "upstream_timed_out")


async def test_other_weights_under_a_described_name_are_another_version(house: House):
    target = {"upstream": "lab", "model": "told"}
    house.set.route["m"] = RouteDocument.model_validate({"targets": [target]})
    house.gateway.refresh()
    before = [house.gateway.route(KEY, name).version for name in ("m", "default")]

    house.gateway.disconnect(KEY, "lab")
    await house.gateway.connect(KEY, "lab", house.upstream.url)

    after = [house.gateway.route(KEY, name).version for name in ("m", "default")]
    assert all(one != other for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize("last", [{"delta": None}, {"delta": {}}])
async def test_workflows_read_what_lenient_servers_say(house: House, last: dict[str, Any]):
    end = {"model": None, "choices": [{"index": 0, "finish_reason": "stop", **last}]}
    house.upstream.script(streams(chunk({"content": "Hello."}), event(end), event(b"[DONE]")))

    request = ChatRequest("told", HI)
    said = [delta async for delta in house.gateway.stream(KEY, request)]

    assert "".join(delta.text for delta in said) == "Hello."


def test_what_a_policy_adds_to_a_request_is_estimated_too():
    asked = call()
    before = asked.prompt_estimate

    asked.put("messages", [{"role": "system", "content": "word " * 1000}, *HI])

    assert asked.prompt_estimate > before + 1000


@pytest.mark.parametrize(
    "more", [{"prompt": ["Hi"] * 50}, {"prompt": [[1, 2]] * 50}, {"prompt": "Hi", "n": 50}, {"prompt": "Hi", "n": 5}]
)
async def test_a_budget_is_asked_for_every_text_that_is_wanted(house: House, more: dict[str, Any]):
    house.set.policy["budget"] = BudgetSettings(rules=(Budgeted(tokens=1000),))
    house.gateway.refresh()

    answer = await house.post("completions", {"model": "told", "max_tokens": 100, **more})

    assert answer.status_code == (200 if more.get("n") == 5 else 429)
