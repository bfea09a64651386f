"""Wire shapes of the gateway's API."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from inhouse.gateway.store import Connected, Prompt, UsageRow

if TYPE_CHECKING:
    from inhouse.gateway.gateway import Found

ModelName = Annotated[str, Field(max_length=200, pattern=r"^(\*|[A-Za-z0-9][\w.:/@+-]*)$")]
PromptName = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9][\w.-]*$")]


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
    def of(cls, found: "Found") -> "FoundOut":
        return cls(url=found.url, models=list(found.models))


class FoundList(BaseModel):
    items: list[FoundOut]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TargetDocument(_Document):
    """One model of one server."""

    upstream: str = Field(
        min_length=1, max_length=64, description="A connected server, `local` for this process, or `inhouse`."
    )
    model: str = Field(min_length=1, max_length=200, description="The model's name there.")
    weight: float = Field(default=1.0, ge=0, le=1e6, description="Its share of the requests, against the others.")
    arm: str = Field(default="", max_length=64, description="The arm of an experiment that it belongs to.")


class ShadowDocument(_Document):
    """A model that gets a copy of requests. Its answers reach nobody."""

    upstream: str = Field(min_length=1, max_length=64, description="A connected server, `local` or `inhouse`.")
    model: str = Field(min_length=1, max_length=200, description="The model's name there.")
    share: float = Field(default=1.0, ge=0, le=1, description="The share of requests that are copied.")


class RouteDocument(_Document):
    """A model as clients know it, and where its requests go."""

    targets: tuple[TargetDocument, ...] = Field(min_length=1, max_length=100, description="What answers.")
    balance: Literal["weighted", "least-loaded", "sticky"] = Field(
        default="weighted", description="How one of the targets is chosen."
    )
    fallbacks: tuple[ModelName, ...] = Field(
        default=(), max_length=20, description="Models that are asked in turn when none of the targets answers."
    )
    shadow: tuple[ShadowDocument, ...] = Field(default=(), max_length=20, description="What gets copies.")
    prompt: str = Field(default="", max_length=64, description="A prompt that comes before the messages.")
    aliases: tuple[ModelName, ...] = Field(default=(), max_length=100, description="Other names of the model.")

    @model_validator(mode="after")
    def _has_weight(self) -> "RouteDocument":
        if not any(target.weight for target in self.targets):
            raise ValueError("at least one target needs a weight")
        return self


Source = Literal["default", "api", "toml", "found"]
"""Where something comes from: nowhere but the code, an administrator, the settings file, or a connected server."""


class ProblemOut(BaseModel):
    """Settings that are stored and no longer make sense; they don't count."""

    what: str
    message: str


class GatewayOut(BaseModel):
    """How the gateway is doing."""

    file_error: str
    problems: list[ProblemOut]
    models: int
    upstreams: int
    in_flight: int
    waiting: int
    breakers: dict[str, str]
    cached: int
    usage_overflowed: int


class PolicyOut(BaseModel):
    """A policy, its settings, and what is needed to draw its form."""

    name: str
    order: int
    texts: dict[str, Any]
    settings_schema: dict[str, Any]
    settings: dict[str, Any]
    source: Source
    is_active: bool


class PolicyList(BaseModel):
    items: list[PolicyOut]


class TargetOut(BaseModel):
    """A target, and how it is doing."""

    upstream: str
    model: str
    weight: float
    arm: str
    in_flight: int
    latency_s: float
    breaker: str


class ArmOut(BaseModel):
    """What one arm of an experiment has done since the server started."""

    arm: str
    requests: int
    errors: int
    prompt_tokens: int
    completion_tokens: int
    cost: float
    mean_s: float
    mean_first_token_s: float


class ModelOut(BaseModel):
    """A model as clients know it."""

    name: str
    owner: str
    source: Source
    document: RouteDocument | None
    targets: list[TargetOut]
    arms: list[ArmOut]


class ModelList(BaseModel):
    items: list[ModelOut]


class NewPrompt(BaseModel):
    name: PromptName
    template: str = Field(min_length=1, max_length=65_536, description="Text with {{ name }} places.")
    note: str = Field(default="", max_length=1000, description="What changed.")


class PromptChoice(BaseModel):
    version: int = Field(ge=1, le=2**31 - 1, description="The version that requests get which name none.")


class PromptOut(BaseModel):
    """One version of a prompt."""

    name: str
    version: int
    template: str
    variables: list[str]
    note: str
    is_default: bool
    created_at: float

    @classmethod
    def of(cls, prompt: Prompt, variables: list[str]) -> "PromptOut":
        return cls(
            name=prompt.name,
            version=prompt.version,
            template=prompt.template,
            variables=variables,
            note=prompt.note,
            is_default=prompt.is_default,
            created_at=prompt.created_at,
        )


class PromptList(BaseModel):
    items: list[PromptOut]


class UsageOut(BaseModel):
    """What one key, user, team, model, target or arm has used, or what was used in one hour."""

    name: str
    requests: int
    errors: int
    cached: int
    prompt_tokens: int
    completion_tokens: int
    cost: float

    @classmethod
    def of(cls, row: UsageRow) -> "UsageOut":
        found = row.amounts
        return cls(
            name=row.name,
            requests=found.requests,
            errors=found.errors,
            cached=found.cached,
            prompt_tokens=found.prompt_tokens,
            completion_tokens=found.completion_tokens,
            cost=found.cost,
        )


class UsageList(BaseModel):
    items: list[UsageOut]
    currency: str
