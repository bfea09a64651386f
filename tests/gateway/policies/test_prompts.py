from typing import Any

import msgspec
import pytest

from inhouse.gateway.call import Call, Endpoint
from inhouse.gateway.policies.prompts import BadPrompt, PromptNotFound, Prompts, PromptsSettings, fill
from inhouse.gateway.policy import Surroundings

from .doubles import call, route, targets


class Templates:
    """Two versions of one prompt."""

    def find(self, workspace_id: str, name: str, version: int | None = None) -> str | None:
        versions = {None: "You help {{ who }}.", 1: "Help!", 2: "You help {{ who }}."}
        return versions.get(version) if name == "desk" else None


def prompts(**settings: Any) -> Prompts:
    found = Prompts(Surroundings(prompts=Templates()))
    found.configure(PromptsSettings(**settings))
    return found


def asks(prompt: object = None, messages: object = None, **more: Any) -> Call:
    made = call(route(*targets("lab"), **more))
    if messages is not None:
        made.put("messages", messages)
    if prompt is not None:
        made.put("prompt", prompt)
    made.changed = False
    return made


USER = {"role": "user", "content": "hi"}


def test_a_request_without_a_prompt_is_left_alone():
    asked = asks()

    prompts().admit(asked)

    assert not asked.changed


def test_the_named_prompt_comes_first_with_its_variables():
    asked = asks({"name": "desk", "variables": {"who": "Ann {{ who }}"}})

    prompts().admit(asked)

    assert asked.json("messages") == [{"role": "system", "content": "You help Ann {{ who }}."}, USER]
    assert "prompt" not in asked.fields
    assert asked.changed


def test_a_version_can_be_named():
    asked = asks({"name": "desk", "version": 1})

    prompts().admit(asked)

    assert asked.json("messages")[0]["content"] == "Help!"


def test_it_goes_into_the_system_message_that_is_there():
    asked = asks({"name": "desk", "version": 1}, [{"role": "system", "content": "Be brief."}, USER])

    prompts().admit(asked)

    assert asked.json("messages") == [{"role": "system", "content": "Help!\n\nBe brief."}, USER]


def test_a_route_or_the_settings_may_name_it():
    by_route, by_settings = asks(prompt={"name": "desk", "version": 1}), asks()
    by_route.fields.pop("prompt")
    by_route.route = route(*targets("lab"), prompt="missing")

    with pytest.raises(PromptNotFound, match="'missing'"):
        prompts(default="desk").admit(by_route)
    with pytest.raises(BadPrompt, match="'who'"):
        prompts(default="desk").admit(by_settings)


def test_a_request_cannot_take_another_prompt_than_its_route():
    asked = asks({"name": "other"})
    asked.route = route(*targets("lab"), prompt="desk")

    with pytest.raises(BadPrompt, match="of its own") as raised:
        prompts().admit(asked)

    assert raised.value.details["param"] == "prompt"


@pytest.mark.parametrize("named", [{"name": "desk", "version": 1}, {"name": "desk"}, {}], ids=str)
def test_a_request_only_fills_the_prompt_of_its_route(named: dict[str, object]):
    asked = asks({**named, "variables": {"who": "Ann"}})
    asked.route = route(*targets("lab"), prompt="desk")

    prompts().admit(asked)

    assert asked.json("messages")[0]["content"] == "You help Ann."
    assert "prompt" not in asked.fields


@pytest.mark.parametrize(
    "prompt",
    ["desk", 1, {}, {"name": 1}, {"name": "desk", "version": "1"}, {"name": "desk", "version": True}]
    + [{"name": "desk", "variables": found} for found in ([], ["who"], {"who": None}, {"who": {"a": 1}}, {})],
    ids=str,
)
def test_a_prompt_that_makes_no_sense_is_refused(prompt: object):
    with pytest.raises(BadPrompt) as raised:
        prompts().admit(asks(prompt))

    assert raised.value.details["param"] == "prompt"


def test_an_unknown_version_is_told():
    with pytest.raises(PromptNotFound, match="'desk' version 7"):
        prompts().admit(asks({"name": "desk", "version": 7}))


def test_other_endpoints_have_prompts_of_their_own():
    asked = asks("Once upon a time")
    asked.endpoint = Endpoint.COMPLETIONS

    prompts(default="desk").admit(asked)

    assert asked.json("prompt") == "Once upon a time"


def test_a_filled_prompt_stays_within_its_bounds():
    with pytest.raises(BadPrompt, match="characters"):
        fill("{{ x }}" * 1000, {"x": "y" * 1000})


def test_the_request_is_counted_with_its_prompt():
    asked = asks({"name": "desk", "version": 1}, [USER])
    before = asked.prompt_estimate

    prompts().admit(asked)

    assert asked._estimate == -1
    assert msgspec.json.decode(asked.fields["messages"])
    assert before > 0
