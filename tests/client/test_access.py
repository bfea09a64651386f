import pytest

from inhouse.access.identity import Identity
from inhouse.client import Client
from inhouse.core.errors import Conflict, Denied
from inhouse.core.principal import Principal


def test_a_user_is_put_into_a_team_disabled_and_enabled(client: Client):
    client.users.create("kim", role="builder", team="red")

    teams = [client.users.set_team("kim", team)["team"] for team in ("blue", "")]
    states = [client.users.disable("kim")["disabled"], client.users.enable("kim")["disabled"]]

    assert teams == ["blue", ""]
    assert states == [True, False]


def test_a_key_is_made_for_models_a_team_and_a_priority(client: Client, identity: Identity):
    made = client.keys.create("app", ["chat:run"], models=["chat-*"], team="red", priority=3, expires_at=4e9)

    found = identity.by_key(made["key"])

    assert found is not None
    assert (found.models, found.team, found.priority) == (("chat-*",), "red", 3)
    assert (made["models"], made["team"], made["priority"], made["expires_at"]) == (["chat-*"], "red", 3, 4e9)


@pytest.mark.parametrize(
    "reach",
    [{"models": ["a b"]}, {"models": ["a[b]"]}, {"models": [""]}, {"team": " red"}, {"priority": 101}],
    ids=str,
)
def test_a_key_that_makes_no_sense_is_refused(client: Client, reach: dict):
    with pytest.raises(Exception, match=r"models|team|priority"):
        client.keys.create("app", ["chat:run"], **reach)


def test_nobody_disables_themselves(client: Client, address: str, identity: Identity):
    client.users.create("lee", role="admin")
    [lee] = [user for user in client.users.list() if user["name"] == "lee"]
    _, key = identity.add_key(Principal("default", lee["id"], frozenset({"*"})), "hers", ("*",))

    with Client(address, key) as hers, pytest.raises(Conflict):
        hers.users.disable("lee")
    client.users.disable("lee")

    with Client(address, key) as hers, pytest.raises(Denied):
        hers.me()
