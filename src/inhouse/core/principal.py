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

    @classmethod
    def system(cls, workspace_id: str = DEFAULT_WORKSPACE) -> "Principal":
        """The platform itself, for background work."""
        return cls(workspace_id, "system", frozenset({EVERYTHING}))

    def allows(self, permission: str) -> bool:
        noun = permission.partition(":")[0]
        return not self.scopes.isdisjoint((permission, f"{noun}:*", EVERYTHING))

    def require(self, permission: str) -> None:
        if not self.allows(permission):
            raise PermissionMissing(
                f"This needs the permission {permission!r}.", hint="Ask an administrator for a key or role that has it."
            )
