"""What every request to a model passes: policies, one file each in `policies/`, in a fixed order.

A policy is a plug-in with settings. Its `Settings` draw the console's form and validate what TOML and API say; changing
them while requests run keeps what the policy has counted so far.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from inhouse.core.principal import Principal
from inhouse.core.registry import Registry
from inhouse.gateway.call import Call, Outcome, Reply
from inhouse.gateway.prices import Prices, Used

if TYPE_CHECKING:
    import numpy as np

    from inhouse.gateway.route import Route

Proceed = Callable[[Call], Awaitable[Reply]]


class Settings(BaseModel):
    """The settings of a policy. Its fields have defaults: a policy without settings does no harm."""

    model_config = ConfigDict(frozen=True, extra="forbid")


SettingsT = TypeVar("SettingsT", bound=Settings)


class Policy(Generic[SettingsT]):
    """One rule of the house. It overrides the hooks that it needs, the others cost nothing.

    There is one instance for each workspace. Hooks run in the event loop, so they neither block nor wait for a
    database; `admit` and `settle` are called for every request, `around` may wait.
    """

    name: ClassVar[str]
    order: ClassVar[int]
    """Lower is further out: it sees a request earlier and its answer later."""
    settings_type: ClassVar[type[Settings]]

    def __init__(self, surroundings: "Surroundings") -> None:
        self.surroundings = surroundings
        self.settings: SettingsT = self.settings_type()  # pyright: ignore[reportAttributeAccessIssue]

    def configure(self, settings: SettingsT) -> None:
        """Take new settings; what has been counted so far stays."""
        self.settings = settings

    @property
    def is_active(self) -> bool:
        """Whether it has anything to do with these settings; if not, requests don't pass it at all."""
        return True

    def admit(self, call: Call) -> None:
        """Let a call in, possibly changed, or raise. Whatever it takes it gives back in `settle`."""

    def surrounds(self, routes: Sequence["Route"]) -> bool:
        """Whether `around` has anything to do for these routes; if not, requests are spared it."""
        return True

    async def around(self, call: Call, proceed: Proceed) -> Reply:
        """Answer a call, usually by `proceed`: once, several times, or not at all."""
        return await proceed(call)

    def settle(self, call: Call, outcome: Outcome) -> None:
        """Take note of the end of a call that this policy admitted. Called exactly once, whatever happened."""

    def close(self) -> None:
        """Write what is still to be written."""


class Classifier(Protocol):
    """The served classifiers: each text's label, score and whether it is in scope."""

    async def labels(self, workspace_id: str, model: str, texts: Sequence[str]) -> list[tuple[str, float]]: ...


class Embedder(Protocol):
    """Turns texts into unit vectors, one row a text (float32), for the named model."""

    async def embed(self, workspace_id: str, model: str, texts: Sequence[str]) -> "np.ndarray": ...


Series = tuple[str, int, str, str, str, str, str, str]
"""Workspace, hour since 1970, key, user, team, model, target, arm."""


class Spending(Protocol):
    """What has been used so far, as stored: budgets start from it after a restart."""

    def since(self, workspace_id: str, start: float) -> Iterable["Spent"]: ...

    def record(self, series: Series, status: int, is_cached: bool, used: Used) -> None:
        """Add a request. Never waits."""
        ...


class PromptTemplates(Protocol):
    """Named prompts with their versions."""

    def find(self, workspace_id: str, name: str, version: int | None = None) -> str | None:
        """The text of a template, of its default version where none is named."""
        ...


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens and cost of one key, user, team and model since some time."""

    key_id: str
    user_id: str
    team: str
    model: str
    requests: int
    tokens: int
    cost: float


@dataclass(slots=True)
class Surroundings:
    """What policies may use of the world around them."""

    workspace_id: str = "default"
    home: Path | None = None
    """The data directory, for policies that keep files; without one they keep nothing."""
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    find: Callable[[str], "Route | None"] = lambda name: None
    """A model's route by its name, for fallbacks."""
    classifier: Classifier | None = None
    embedder: Embedder | None = None
    spending: Spending | None = None
    prompts: PromptTemplates | None = None
    prices: Prices = field(default_factory=Prices)
    """The price list of the workspace; the policy `usage` sets it."""
    may_use: Callable[[Principal, str], bool] = lambda principal, model: True
    """Whether somebody may use the model of that name; the policy `keys` sets it."""
    is_out: Callable[["Route"], bool] = lambda route: False
    """Whether all servers of a route are left alone at present; the policy `breaker` sets it."""

    def of(self, workspace_id: str, find: Callable[[str], "Route | None"]) -> "Surroundings":
        """The same for one workspace."""
        return replace(self, workspace_id=workspace_id, find=find, prices=Prices())


policies: Registry[type[Policy[Any]]] = Registry("policy", package="inhouse.gateway.policies")
PolicyT = TypeVar("PolicyT", bound=type[Policy[Any]])


def policy(name: str, *, order: int, settings: type[Settings]) -> Callable[[PolicyT], PolicyT]:
    """Register a policy under the name that settings and stored documents use."""

    def register(found: PolicyT) -> PolicyT:
        found.name = name
        found.order = order
        found.settings_type = settings
        policies.add(name, found)
        return found

    return register
