"""Who a request comes from. Keys and sessions are checked in memory; the database is only read to refresh them."""

import hashlib
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from inhouse.access import keys, passwords, store
from inhouse.access.roles import scopes_of
from inhouse.core.db import Database
from inhouse.core.errors import Conflict, Denied, Invalid, NotFound, Unauthenticated
from inhouse.core.ids import now
from inhouse.core.principal import EVERYTHING, Principal

SESSION_S = 14 * 24 * 3600.0
LINK_S = 24 * 3600.0


class WrongCredentials(Unauthenticated):
    """Name or password is wrong. Says the same for unknown accounts."""


class LinkUsed(Unauthenticated):
    """The one-time link is used up, expired or unknown."""


class UserNotFound(NotFound):
    """No user of this workspace has that name."""


class UserExists(Conflict):
    """The name is taken."""


class KeyNotFound(NotFound):
    """No key of this workspace has that id."""


class ScopeNotYours(Denied):
    """Nobody can give away more than they have."""


class ReachNotYours(Denied):
    """A key cannot make one that reaches further than itself."""


class YourselfDisabled(Conflict):
    """Who disables themselves could not undo it."""


class NoScopes(Invalid):
    """A key without any permission is of no use."""


@dataclass(frozen=True, slots=True)
class _Known:
    principal: Principal
    expires_at: float


class Identity:
    """Users, sessions and keys of an installation. `changed` is called after every write (other servers refresh)."""

    def __init__(self, db: Database, *, changed: Callable[[], None] = lambda: None) -> None:
        self.db = db
        self.throttle = passwords.Throttle()
        self._changed = changed
        self._sessions: dict[str, _Known] = {}
        self._keys: dict[bytes, _Known] = {}
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Read all keys and live sessions into memory."""
        with self._lock:
            with self.db.read() as conn:
                users = {user.id: user for user in store.every_user(conn)}
                sessions, all_keys = store.every_session(conn), store.every_key(conn)
            self._sessions = {
                session.token_hash: _Known(_principal(user), session.expires_at) for session, user in sessions
            }
            owners = {f"key_{key.id}": key.owner_id for key in all_keys}
            self._keys = {
                bytes.fromhex(key.secret_hash): _Known(_principal_of_key(key, owner), key.expires_at or float("inf"))
                for key in all_keys
                if not (owner := _owner(key, owners, users)).disabled
            }

    def by_key(self, text: str) -> Principal | None:
        """The principal of an API key, None when it is malformed, unknown, revoked, expired, or its user disabled."""
        return self.by_digest(keys.digest(text)) if keys.is_possible(text) else None

    def by_digest(self, digest: bytes) -> Principal | None:
        """The same for the digest of a key.

        Every request comes through here. A digest is looked up, not a key: how long that takes tells nothing.
        """
        known = self._keys.get(digest)
        return known.principal if known is not None and known.expires_at > now() else None

    def by_session(self, token: str) -> Principal | None:
        known = self._sessions.get(_hash(token))
        return known.principal if known is not None and known.expires_at > now() else None

    def sign_in(self, workspace: Principal, name: str, password: str, address: str) -> str:
        """Check a password and return a new session token."""
        self.throttle.check(name, address)
        with self.db.read() as conn:
            user = store.find_user(conn, workspace, name)
        usable = user if user is not None and not user.disabled else None
        if not passwords.verify_password(password, usable.password_hash if usable else None) or usable is None:
            self.throttle.failed(name, address)
            raise WrongCredentials("The name or the password is wrong.")
        self.throttle.succeeded(name, address)
        return self._start_session(usable)

    def sign_in_by_link(self, token: str) -> str:
        """Use up a one-time link and return a new session token."""
        with self.db.write() as conn:
            user = store.take_link(conn, _hash(token))
        if user is None:
            raise LinkUsed(
                "This login link has been used or has expired.", hint="Make a new one with `inhouse user link`."
            )
        return self._start_session(user)

    def sign_out(self, token: str) -> None:
        with self.db.write() as conn:
            store.delete_session(conn, _hash(token))
        self._after_write()

    def add_user(
        self, principal: Principal, name: str, role: str, password: str | None = None, *, team: str = ""
    ) -> store.User:
        _check_gift(principal, scopes_of(role))
        if not name.strip():
            raise Invalid("A user needs a name.")
        hashed = passwords.hash_password(password) if password else None
        with self.db.write() as conn:
            if store.find_user(conn, principal, name):
                raise UserExists(f"There already is a user named {name!r}.")
            return store.insert_user(conn, principal, name=name, role=role, password_hash=hashed, team=team)

    def users(self, principal: Principal) -> list[store.User]:
        with self.db.read() as conn:
            return store.list_users(conn, principal)

    def user(self, principal: Principal, name: str) -> store.User:
        with self.db.read() as conn:
            user = store.find_user(conn, principal, name)
        if user is None:
            raise UserNotFound(f"There is no user named {name!r}.")
        return user

    def change_user(
        self, principal: Principal, name: str, *, disabled: bool | None = None, team: str | None = None
    ) -> store.User:
        """Set what is not None. The sessions and keys of who is disabled stop at once; keys come back with them."""
        user = self.user(principal, name)
        _check_gift(principal, scopes_of(user.role))
        if disabled and user.id == principal.person:
            raise YourselfDisabled("You cannot disable yourself.", hint="Ask another administrator.")
        given = {"disabled": disabled, "team": team}
        changes = {column: value for column, value in given.items() if value is not None}
        with self.db.write() as conn:
            changed = store.change_user(conn, principal, name, changes)
        self._after_write()
        return changed or user

    def make_link(self, principal: Principal, name: str) -> str:
        """A token that signs this user in once, within a day."""
        user = self.user(principal, name)
        _check_gift(principal, scopes_of(user.role))
        token = secrets.token_urlsafe(32)
        with self.db.write() as conn:
            store.insert_link(conn, user, _hash(token), now() + LINK_S)
        return token

    def set_password(self, principal: Principal, user_id: str, password: str) -> None:
        hashed = passwords.hash_password(password)
        with self.db.write() as conn:
            found = store.set_password(conn, principal, user_id, hashed)
        if not found:
            raise UserNotFound("Only users have passwords: this is a key.", hint="Sign in as the user.")
        self._after_write()

    def add_key(
        self,
        principal: Principal,
        name: str,
        scopes: tuple[str, ...],
        *,
        expires_at: float | None = None,
        models: tuple[str, ...] = (),
        team: str = "",
        priority: int = 0,
    ) -> tuple[store.Key, str]:
        """Make a key; the second value is its text, shown this once."""
        if not scopes:
            raise NoScopes("A key needs at least one permission.", hint="For example app:use, or chat:run.")
        _check_gift(principal, scopes)
        _check_reach(principal, models, team, priority)
        fresh = keys.generate()
        key = store.Key(
            id=fresh.public_id,
            workspace_id=principal.workspace_id,
            owner_id=principal.person,
            name=name,
            secret_hash=fresh.secret_hash,
            scopes=scopes,
            created_at=now(),
            expires_at=expires_at,
            models=models,
            team=team or (principal.team if principal.key_id else ""),
            priority=priority,
        )
        with self.db.write() as conn:
            store.insert_key(conn, key)
        self._after_write()
        return key, fresh.text

    def keys(self, principal: Principal) -> list[store.Key]:
        with self.db.read() as conn:
            return store.list_keys(conn, principal)

    def revoke_key(self, principal: Principal, key_id: str) -> None:
        with self.db.write() as conn:
            found = store.delete_key(conn, principal, key_id)
        if not found:
            raise KeyNotFound(f"There is no key {key_id!r}.")
        self._after_write()

    def _start_session(self, user: store.User) -> str:
        token = secrets.token_urlsafe(32)
        with self.db.write() as conn:
            store.insert_session(conn, user, _hash(token), now() + SESSION_S)
        self._after_write()
        return token

    def _after_write(self) -> None:
        self.refresh()
        self._changed()


def _check_gift(principal: Principal, scopes: Iterable[str]) -> None:
    """Every user may read and write what is their own: that is no gift."""
    beyond = [scope for scope in scopes if not scope.startswith("self:") and not principal.allows(scope)]
    if beyond:
        raise ScopeNotYours(f"You cannot give away {', '.join(map(repr, beyond))}: you don't have it yourself.")


def _check_reach(principal: Principal, models: Sequence[str], team: str, priority: int) -> None:
    """Who may not do everything stays within their own team and priority, and always within their own models."""
    own = principal.models
    if own and not (models and all(any(fnmatchcase(new, mine) for mine in own) for new in models)):
        raise ReachNotYours(f"This key may only use {', '.join(map(repr, own))}.", hint="Name some of these.")
    if principal.allows(EVERYTHING):
        return
    if team not in ("", principal.team):
        raise ReachNotYours(f"You are not in the team {team!r}.", hint="Ask an administrator to make the key.")
    if priority > principal.priority:
        raise ReachNotYours(f"Your own priority is {principal.priority}.", hint="Ask an administrator to make the key.")


def _principal(user: store.User) -> Principal:
    return Principal(user.workspace_id, user.id, scopes_of(user.role), team=user.team)


def _principal_of_key(key: store.Key, owner: "_Owner") -> Principal:
    return Principal(
        workspace_id=key.workspace_id,
        user_id=f"key_{key.id}",
        scopes=frozenset({"self:read", *key.scopes}),
        key_id=key.id,
        owner_id=owner.id,
        team=key.team or owner.team,
        models=key.models,
        priority=key.priority,
    )


@dataclass(frozen=True, slots=True)
class _Owner:
    """The user behind a key, or `system`."""

    id: str
    team: str = ""
    disabled: bool = False


def _owner(key: store.Key, owners: Mapping[str, str], users: Mapping[str, store.User]) -> _Owner:
    """Whose key it is. One that was made by another key belongs to who that one belongs to."""
    found = key.owner_id
    for _ in owners:
        if found not in owners:
            break
        found = owners[found]
    user = users.get(found)
    return _Owner(found, user.team, user.disabled) if user else _Owner(found)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
