"""Users, keys and connected model servers."""

from collections.abc import Sequence

from inhouse.client.http import Http
from inhouse.client.types import FoundUpstream, Key, NewKey, Upstream, User


class Keys:
    """API keys."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self) -> Sequence[Key]:
        return self._http.get("keys")["items"]

    def create(
        self,
        name: str,
        scopes: Sequence[str],
        *,
        expires_at: float | None = None,
        models: Sequence[str] = (),
        team: str = "",
        priority: int = 0,
    ) -> NewKey:
        """Make a key. Its text is in this answer and nowhere else. Without `models` it may use all of them."""
        wanted = {"name": name, "scopes": [*scopes], "expires_at": expires_at}
        return self._http.post("keys", body={**wanted, "models": [*models], "team": team, "priority": priority})

    def revoke(self, key_id: str) -> None:
        self._http.send("DELETE", "keys", key_id)


class Users:
    """People who sign in."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self) -> Sequence[User]:
        return self._http.get("users")["items"]

    def create(self, name: str, *, role: str = "user", password: str | None = None, team: str = "") -> User:
        return self._http.post("users", body={"name": name, "role": role, "password": password, "team": team})

    def disable(self, name: str) -> User:
        """Stop the user's sessions and keys at once."""
        return self._http.send("PATCH", "users", name, body={"disabled": True})

    def enable(self, name: str) -> User:
        """Let a disabled user sign in again; their keys work again, too."""
        return self._http.send("PATCH", "users", name, body={"disabled": False})

    def set_team(self, name: str, team: str) -> User:
        """Put a user into a team, or with "" into none."""
        return self._http.send("PATCH", "users", name, body={"team": team})

    def link(self, name: str) -> str:
        """The path of a link that signs this user in once."""
        return self._http.post("users", name, "link")["path"]


class Upstreams:
    """Connected language model servers."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self) -> Sequence[Upstream]:
        return self._http.get("upstreams")["items"]

    def connect(self, name: str, url: str, *, key: str = "", model: str = "") -> Upstream:
        """Connect an OpenAI-compatible server, after asking it for its models."""
        return self._http.post("upstreams", body={"name": name, "url": url, "key": key, "model": model})

    def disconnect(self, name: str) -> None:
        self._http.send("DELETE", "upstreams", name)

    def probe(self, url: str, *, key: str = "") -> FoundUpstream:
        """Ask a server for its models, without connecting it."""
        return self._http.send("POST", "upstreams", "probe", body={"url": url, "key": key}, is_repeatable=True)

    def discover(self) -> Sequence[FoundUpstream]:
        """Model servers that run beside the platform."""
        return self._http.get("upstreams", "discover")["items"]
