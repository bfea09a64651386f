"""Wire shapes of users, sessions and keys."""

from typing import Annotated, Self

from pydantic import BaseModel, Field, FiniteFloat

from inhouse.access import store

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


class UserOut(BaseModel):
    id: str
    name: str
    role: str
    disabled: bool
    created_at: float

    @classmethod
    def of(cls, user: store.User) -> Self:
        return cls(id=user.id, name=user.name, role=user.role, disabled=user.disabled, created_at=user.created_at)


class UserList(BaseModel):
    items: list[UserOut]


class LinkOut(BaseModel):
    """A path that signs a user in once."""

    path: str


class NewKeyIn(BaseModel):
    name: str = Field(min_length=1, max_length=120)
    scopes: list[Scope] = Field(min_length=1, max_length=50, description="Permissions such as app:use or chat:run.")
    expires_at: FiniteFloat | None = Field(default=None, description="Unix seconds; never when absent.")


class KeyOut(BaseModel):
    id: str
    name: str
    scopes: list[str]
    created_at: float
    expires_at: float | None

    @classmethod
    def of(cls, key: store.Key) -> Self:
        return cls(
            id=key.id, name=key.name, scopes=list(key.scopes), created_at=key.created_at, expires_at=key.expires_at
        )


class KeyCreated(KeyOut):
    """The only answer that shows the key itself."""

    key: str = ""


class KeyList(BaseModel):
    items: list[KeyOut]
