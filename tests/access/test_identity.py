import pytest

from inhouse.access import identity as identity_module
from inhouse.access import keys
from inhouse.access.identity import (
    Identity,
    KeyNotFound,
    LinkUsed,
    NoScopes,
    ScopeNotYours,
    UserExists,
    UserNotFound,
    WrongCredentials,
)
from inhouse.access.passwords import Throttle, TooManyAttempts, WeakPassword
from inhouse.core.db import Database
from inhouse.core.principal import Principal

PASSWORD = "correct horse battery"


@pytest.fixture
def identity(db: Database) -> Identity:
    return Identity(db)


def test_a_key_gives_its_scopes_and_no_more(identity: Identity, principal: Principal) -> None:
    _, text = identity.add_key(principal, "integration", ("app:use",))

    found = identity.by_key(text)

    assert found is not None
    assert found.allows("app:use")
    assert not found.allows("key:write")
    assert found.workspace_id == "default"


def test_a_key_is_stored_as_a_hash_only(identity: Identity, principal: Principal) -> None:
    key, text = identity.add_key(principal, "integration", ("app:use",))

    assert text not in str(identity.keys(principal))
    assert key.secret_hash == keys.secret_hash(text)


def test_a_revoked_key_stops_at_once(identity: Identity, principal: Principal) -> None:
    key, text = identity.add_key(principal, "integration", ("app:use",))

    identity.revoke_key(principal, key.id)

    assert identity.by_key(text) is None
    with pytest.raises(KeyNotFound):
        identity.revoke_key(principal, key.id)


def test_an_expired_key_is_no_key(identity: Identity, principal: Principal) -> None:
    _, text = identity.add_key(principal, "old", ("app:use",), expires_at=1.0)

    assert identity.by_key(text) is None


@pytest.mark.parametrize(
    "text",
    ["", "' OR 1=1 --", "ih_key_AAAAAAAA_" + "x" * 43 + "00000000", "\0" * 10, "“quotes”", "ih_key_" + "a" * 1_000_000],
)
def test_nonsense_is_no_key(identity: Identity, text: str) -> None:
    assert identity.by_key(text) is None


def test_nobody_gives_away_more_than_they_have(identity: Identity) -> None:
    builder = Principal("default", "user_bob", frozenset({"app:use"}))

    with pytest.raises(ScopeNotYours, match="'key:write'"):
        identity.add_key(builder, "mine", ("app:use", "key:write"))
    with pytest.raises(NoScopes):
        identity.add_key(builder, "mine", ())


def test_another_workspace_cannot_revoke(identity: Identity, principal: Principal, stranger: Principal) -> None:
    key, text = identity.add_key(principal, "integration", ("app:use",))

    with pytest.raises(KeyNotFound):
        identity.revoke_key(stranger, key.id)

    assert identity.by_key(text) is not None


def test_another_server_sees_keys_after_a_refresh(identity: Identity, principal: Principal, db: Database) -> None:
    other = Identity(db)
    _, text = identity.add_key(principal, "integration", ("app:use",))

    assert other.by_key(text) is None
    other.refresh()

    assert other.by_key(text) is not None


def test_a_password_signs_in_and_out(identity: Identity, principal: Principal) -> None:
    user = identity.add_user(principal, "ann", "builder", PASSWORD)

    token = identity.sign_in(principal, "ann", PASSWORD, "10.0.0.1")

    found = identity.by_session(token)
    assert found is not None
    assert found.user_id == user.id
    identity.sign_out(token)
    assert identity.by_session(token) is None


@pytest.mark.parametrize(("name", "password"), [("ann", "wrong password"), ("nobody", PASSWORD), ("keyless", PASSWORD)])
def test_every_wrong_sign_in_says_the_same(identity: Identity, principal: Principal, name: str, password: str) -> None:
    identity.add_user(principal, "ann", "user", PASSWORD)
    identity.add_user(principal, "keyless", "user")

    with pytest.raises(WrongCredentials, match=r"^The name or the password is wrong\.$"):
        identity.sign_in(principal, name, password, "10.0.0.1")


def test_a_link_signs_in_once(identity: Identity, principal: Principal) -> None:
    identity.add_user(principal, "ann", "user")
    link = identity.make_link(principal, "ann")

    assert identity.by_session(identity.sign_in_by_link(link)) is not None
    with pytest.raises(LinkUsed):
        identity.sign_in_by_link(link)


def test_an_old_link_is_refused(identity: Identity, principal: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    identity.add_user(principal, "ann", "user")
    monkeypatch.setattr(identity_module, "LINK_S", -1.0)
    link = identity.make_link(principal, "ann")

    with pytest.raises(LinkUsed):
        identity.sign_in_by_link(link)


def test_a_new_password_ends_every_session(identity: Identity, principal: Principal) -> None:
    user = identity.add_user(principal, "ann", "user", PASSWORD)
    token = identity.sign_in(principal, "ann", PASSWORD, "10.0.0.1")

    identity.set_password(principal, user.id, "another long password")

    assert identity.by_session(token) is None


def test_users_have_one_name_each_and_a_decent_password(identity: Identity, principal: Principal) -> None:
    identity.add_user(principal, "ann", "user")

    with pytest.raises(UserExists):
        identity.add_user(principal, "ann", "admin")
    with pytest.raises(WeakPassword):
        identity.add_user(principal, "bob", "user", "short")
    with pytest.raises(UserNotFound):
        identity.make_link(principal, "bob")


def test_guessing_gets_slower_for_the_guesser_only() -> None:
    time = [0.0]
    throttle = Throttle(free=3, clock=lambda: time[0])
    for _ in range(3):
        throttle.check("ann", "1.1.1.1")
        throttle.failed("ann", "1.1.1.1")

    with pytest.raises(TooManyAttempts) as raised:
        throttle.check("ann", "1.1.1.1")

    assert raised.value.details["retry_after_s"] == 1.0
    throttle.check("ann", "2.2.2.2")
    time[0] = 1.0
    throttle.check("ann", "1.1.1.1")
