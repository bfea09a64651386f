"""Who is asking: every store call takes one."""

from dataclasses import dataclass

from inhouse.core.errors import Denied

DEFAULT_WORKSPACE = "default"
EVERYTHING = "*"


class PermissionMissing(Denied):
    """The caller is known but lacks the permission."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A user or key in one workspace, with what it may do.

    Scopes are permissions (`dataset:read`), whole nouns (`dataset:*`) or `*`.
    """

    workspace_id: str
    user_id: str
    scopes: frozenset[str]
    key_id: str = ""
    """The key that was shown; empty for a browser session."""
    owner_id: str = ""
    """The user that the key belongs to."""
    team: str = ""
    models: tuple[str, ...] = ()
    """The only models that the key may use, with `*` for any text; all of them where it is empty."""
    priority: int = 0
    """Higher goes first where requests queue."""

    @classmethod
    def system(cls, workspace_id: str = DEFAULT_WORKSPACE) -> "Principal":
        """The platform itself, for background work."""
        return cls(workspace_id, "system", frozenset({EVERYTHING}))

    @property
    def person(self) -> str:
        """Who is behind it: the user, or the user that the key belongs to."""
        return self.owner_id or self.user_id

    def allows(self, permission: str) -> bool:
        noun = permission.partition(":")[0]
        return not self.scopes.isdisjoint((permission, f"{noun}:*", EVERYTHING))

    def require(self, permission: str) -> None:
        if not self.allows(permission):
            raise PermissionMissing(
                f"This needs the permission {permission!r}.", hint="Ask an administrator for a key or role that has it."
            )
