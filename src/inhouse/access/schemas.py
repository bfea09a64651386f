"""Wire shapes of users, sessions and keys."""

from typing import Annotated, Self

from pydantic import BaseModel, Field, FiniteFloat

from inhouse.access import store

Pattern = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\s\[\]?]+$")]
Team = Annotated[str, Field(max_length=64, pattern=r"^([\w][\w .&+-]*)?$")]
Scope = Annotated[str, Field(max_length=64, pattern=r"^(\*|[a-z-]+:(\*|[a-z-]+))$")]


class SignIn(BaseModel):
    username: str = Field(max_length=120)
    password: str = Field(max_length=1000)


class NewPassword(BaseModel):
    password: str = Field(max_length=1000)


class Me(BaseModel):
    """Who the caller is and what they may do."""

    user_id: str
    workspace_id: str
    permissions: list[str]


class NewUser(BaseModel):
    name: str = Field(min_length=1, max_length=120)
    role: str = "user"
    password: str | None = Field(default=None, max_length=1000)
    team: Team = ""


class UserChange(BaseModel):
    """What is to change; what is absent stays."""

    disabled: bool | None = Field(default=None, description="Whether sessions and keys of the user stop working.")
    team: Team | None = Field(default=None, description="The team that limits and budgets count the user to.")


class UserOut(BaseModel):
    id: str
    name: str
    role: str
    team: str
    disabled: bool
    created_at: float

    @classmethod
    def of(cls, user: store.User) -> Self:
        return cls(
            id=user.id,
            name=user.name,
            role=user.role,
            team=user.team,
            disabled=user.disabled,
            created_at=user.created_at,
        )


class UserList(BaseModel):
    items: list[UserOut]


class LinkOut(BaseModel):
    """A path that signs a user in once."""

    path: str


class NewKeyIn(BaseModel):
    name: str = Field(min_length=1, max_length=120)
    scopes: list[Scope] = Field(min_length=1, max_length=50, description="Permissions such as app:use or chat:run.")
    expires_at: FiniteFloat | None = Field(default=None, description="Unix seconds; never when absent.")
    models: list[Pattern] = Field(
        default=[], max_length=100, description="The only models it may use, such as chat-*; all where empty."
    )
    team: Team = Field(default="", description="The team it counts to; the team of its user where empty.")
    priority: int = Field(default=0, ge=-100, le=100, description="Higher goes first where requests queue.")


class KeyOut(BaseModel):
    id: str
    name: str
    scopes: list[str]
    created_at: float
    expires_at: float | None
    owner_id: str
    models: list[str]
    team: str
    priority: int

    @classmethod
    def of(cls, key: store.Key) -> Self:
        return cls(
            id=key.id,
            name=key.name,
            scopes=list(key.scopes),
            created_at=key.created_at,
            expires_at=key.expires_at,
            owner_id=key.owner_id,
            models=list(key.models),
            team=key.team,
            priority=key.priority,
        )


class KeyCreated(KeyOut):
    """The only answer that shows the key itself."""

    key: str = ""


class KeyList(BaseModel):
    items: list[KeyOut]
