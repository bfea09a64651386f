from collections.abc import Mapping
from typing import Any

import pytest

from inhouse.core.principal import Principal
from inhouse.gateway.call import Call, Endpoint
from inhouse.gateway.policies.keys import EndpointNotAllowed, Keys, KeysSettings, ModelNotAllowed
from inhouse.gateway.policy import Surroundings

from .doubles import call, route, targets


def keys(*rules: Mapping[str, Any]) -> Keys:
    found = Keys(Surroundings())
    found.configure(KeysSettings.model_validate({"rules": rules}))
    return found


def asks(*, model: str = "chat-a", models: tuple[str, ...] = (), team: str = "", asked_as: str = "") -> Call:
    made = call(route(*targets("lab"), name=model))
    made.principal = Principal("default", "key_1", frozenset(), key_id="1", team=team, models=models)
    made.model = asked_as or model
    return made


@pytest.mark.parametrize("models", [(), ("*",), ("chat-a",), ("x", "chat-*")])
def test_a_key_may_use_what_its_list_names(models: tuple[str, ...]):
    keys().admit(asks(models=models))


def test_a_key_may_use_nothing_that_its_list_does_not_name():
    policy = keys()

    for _ in range(2):
        with pytest.raises(ModelNotAllowed, match="'chat-a'") as raised:
            policy.admit(asks(models=("chat-b", "CHAT-A", "hat-a")))
        assert raised.value.status == 403
        assert raised.value.details["param"] == "model"


def test_another_name_of_an_allowed_model_will_do():
    keys().admit(asks(models=("chat-a",), asked_as="default"))
    keys().admit(asks(models=("default",), asked_as="default"))


def test_a_rule_binds_whom_it_names_and_nobody_else():
    policy = keys({"subject": "team:red", "model": "small"}, {"subject": "team:red", "model": "tiny-*"})

    policy.admit(asks())
    policy.admit(asks(team="red", model="small"))
    policy.admit(asks(team="red", model="tiny-1"))
    with pytest.raises(ModelNotAllowed):
        policy.admit(asks(team="red"))


def test_a_rule_may_name_endpoints():
    policy = keys({"endpoints": ["embeddings"]})
    embedding = asks()
    embedding.endpoint = Endpoint.EMBEDDINGS

    policy.admit(embedding)
    with pytest.raises(EndpointNotAllowed, match="chat/completions"):
        policy.admit(asks())


def test_new_rules_hold_at_once():
    policy = keys({"model": "chat-*"})
    policy.admit(asks())

    policy.configure(KeysSettings.model_validate({"rules": [{"model": "other"}]}))

    with pytest.raises(ModelNotAllowed):
        policy.admit(asks())
