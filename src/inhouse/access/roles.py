"""What each role may do."""

from inhouse.core.errors import NotFound

ROLES: dict[str, frozenset[str]] = {
    "admin": frozenset({"*"}),
    "builder": frozenset(
        {
            "app:*",
            "chat:*",
            "dataset:*",
            "feedback:*",
            "gateway:read",
            "knowledge:*",
            "label:write",
            "llm:read",
            "loop:*",
            "model:*",
            "predict:*",
            "run:*",
            "trace:read",
            "workflow:*",
        }
    ),
    "annotator": frozenset(
        {
            "app:read",
            "app:use",
            "dataset:read",
            "feedback:*",
            "knowledge:read",
            "label:write",
            "loop:read",
            "model:read",
            "trace:read",
        }
    ),
    "viewer": frozenset(
        {
            "app:read",
            "dataset:read",
            "gateway:read",
            "knowledge:read",
            "llm:read",
            "loop:read",
            "model:read",
            "run:read",
            "trace:read",
            "workflow:read",
        }
    ),
    "user": frozenset({"app:read", "app:use", "feedback:write", "knowledge:read", "model:read"}),
}


class RoleNotFound(NotFound):
    """No role has that name."""


def scopes_of(role: str) -> frozenset[str]:
    if role not in ROLES:
        raise RoleNotFound(f"There is no role named {role!r}.", hint="Known: " + ", ".join(ROLES))
    return ROLES[role] | {"self:read", "self:write"}
