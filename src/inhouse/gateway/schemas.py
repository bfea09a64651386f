"""Wire shapes of the upstreams API."""

from pydantic import BaseModel, Field, SecretStr

from inhouse.gateway.gateway import Found
from inhouse.gateway.store import Connected


class Address(BaseModel):
    url: str = Field(min_length=1, max_length=2000, description="Base URL, such as http://127.0.0.1:11434/v1.")
    key: SecretStr = Field(default=SecretStr(""), description="API key, if the server wants one.")


class NewUpstream(Address):
    name: str = Field(description="Under which name to list it.")
    model: str = Field(default="", description="The model that answers by default; empty takes the first.")


class UpstreamOut(BaseModel):
    """A connected model server. Its key is never shown again."""

    name: str
    url: str
    has_key: bool
    model: str
    models: list[str]
    created_at: float

    @classmethod
    def of(cls, connected: Connected) -> "UpstreamOut":
        return cls(
            name=connected.name,
            url=connected.url,
            has_key=bool(connected.secret),
            model=connected.model,
            models=list(connected.models),
            created_at=connected.created_at,
        )


class UpstreamList(BaseModel):
    items: list[UpstreamOut]


class FoundOut(BaseModel):
    """A model server that answered."""

    url: str
    models: list[str]

    @classmethod
    def of(cls, found: Found) -> "FoundOut":
        return cls(url=found.url, models=list(found.models))


class FoundList(BaseModel):
    items: list[FoundOut]
