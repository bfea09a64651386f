"""Disabled users, and how far keys reach."""

import pytest

from inhouse.access.identity import Identity, LinkUsed, ReachNotYours, UserNotFound, WrongCredentials, YourselfDisabled
from inhouse.core.db import Database
from inhouse.core.errors import Denied
from inhouse.core.principal import Principal

PASSWORD = "correct horse battery"


@pytest.fixture
def identity(db: Database) -> Identity:
    return Identity(db)


@pytest.fixture
def ann(identity: Identity, principal: Principal) -> Principal:
    """A builder who has signed in."""
    identity.add_user(principal, "ann", "builder", PASSWORD, team="red")
    return signed_in(identity, identity.sign_in(principal, "ann", PASSWORD, "10.0.0.1"))


def signed_in(identity: Identity, token: str) -> Principal:
    found = identity.by_session(token)
    assert found is not None
    return found


def shown(identity: Identity, key: str) -> Principal:
    found = identity.by_key(key)
    assert found is not None
    return found


def test_sessions_keys_and_links_of_a_disabled_user_stop_at_once(identity: Identity, principal: Principal) -> None:
    user = identity.add_user(principal, "ann", "admin", PASSWORD)
    token = identity.sign_in(principal, "ann", PASSWORD, "10.0.0.1")
    link = identity.make_link(principal, "ann")
    _, key = identity.add_key(signed_in(identity, token), "hers", ("app:use",))
    _, of_her_key = identity.add_key(Principal("default", "key_x", frozenset("*"), owner_id=user.id), "b", ("app:use",))

    identity.change_user(principal, "ann", disabled=True)

    assert [identity.by_session(token), identity.by_key(key), identity.by_key(of_her_key)] == [None] * 3
    with pytest.raises(LinkUsed):
        identity.sign_in_by_link(link)
    with pytest.raises(WrongCredentials):
        identity.sign_in(principal, "ann", PASSWORD, "10.0.0.1")


def test_keys_come_back_with_their_user_and_sessions_do_not(identity: Identity, principal: Principal) -> None:
    identity.add_user(principal, "ann", "admin", PASSWORD)
    token = identity.sign_in(principal, "ann", PASSWORD, "10.0.0.1")
    _, key = identity.add_key(signed_in(identity, token), "hers", ("app:use",))
    identity.change_user(principal, "ann", disabled=True)

    changed = identity.change_user(principal, "ann", disabled=False)

    assert not changed.disabled
    assert identity.by_key(key) is not None
    assert identity.by_session(token) is None


def test_nobody_disables_themselves_or_who_may_do_more(
    identity: Identity, principal: Principal, ann: Principal
) -> None:
    admin = identity.add_user(principal, "boss", "admin")
    boss = Principal("default", "key_b", frozenset({"*"}), owner_id=admin.id)
    clerk = Principal("default", "user_c", frozenset({"user:write"}))

    with pytest.raises(YourselfDisabled):
        identity.change_user(boss, "boss", disabled=True)
    with pytest.raises(Denied):
        identity.change_user(clerk, "boss", disabled=True)


def test_another_workspace_disables_nobody(identity: Identity, stranger: Principal, ann: Principal) -> None:
    with pytest.raises(UserNotFound):
        identity.change_user(stranger, "ann", disabled=True)

    assert not identity.user(ann, "ann").disabled


def test_a_key_carries_its_owner_team_models_and_priority(identity: Identity, principal: Principal, ann: Principal):
    key, text = identity.add_key(ann, "hers", ("chat:run",), models=("chat-*",))
    _, lent = identity.add_key(principal, "lent", ("chat:run",), team="blue", priority=5)

    hers, theirs = shown(identity, text), shown(identity, lent)

    assert (hers.key_id, hers.person, hers.team, hers.models) == (key.id, ann.user_id, "red", ("chat-*",))
    assert (theirs.team, theirs.priority, theirs.models) == ("blue", 5, ())


def test_a_key_follows_its_user_into_another_team(identity: Identity, principal: Principal, ann: Principal) -> None:
    _, text = identity.add_key(ann, "hers", ("chat:run",))

    identity.change_user(principal, "ann", team="green")

    assert shown(identity, text).team == "green"


def test_a_key_made_by_a_key_belongs_to_the_same_user(identity: Identity, ann: Principal) -> None:
    maker = Principal("default", "key_y", frozenset({"chat:run"}), key_id="y", owner_id=ann.user_id, team="red")

    _, text = identity.add_key(maker, "child", ("chat:run",))

    assert shown(identity, text).person == ann.user_id


@pytest.mark.parametrize(
    "reach",
    [{"models": ()}, {"models": ("*",)}, {"models": ("chat-a", "other")}, {"team": "blue"}, {"priority": 4}],
    ids=str,
)
def test_a_key_makes_none_that_reaches_further(identity: Identity, reach: dict[str, tuple[str, ...]]) -> None:
    key = Principal(
        "default", "key_z", frozenset({"key:write"}), key_id="z", team="red", models=("chat-*",), priority=3
    )

    with pytest.raises(ReachNotYours):
        identity.add_key(key, "more", ("key:write",), **{"models": ("chat-a",), **reach})  # type: ignore[arg-type]
    made, _ = identity.add_key(key, "less", ("key:write",), models=("chat-a", "chat-b*"), priority=3)

    assert made.team == "red"
