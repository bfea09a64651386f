"""Which models a workspace has, and which servers answer for each."""

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from inhouse.core.errors import NotFound
from inhouse.gateway.call import Backend
from inhouse.gateway.quote import QUOTE
from inhouse.gateway.route import Route, Target
from inhouse.gateway.store import Connected

DEFAULT = "default"
ANY = "*"
"""The name of a route that answers for every name that nobody else has."""
LOCAL = "local"
INHOUSE = "inhouse"


class ModelNotFound(NotFound):
    """No model has that name, or none that the caller may use."""

    @classmethod
    def among(cls, usable: Sequence[Route], name: str) -> "ModelNotFound":
        """The error for this name, with the models that the caller may use instead."""
        known = ", ".join(route.name for route in usable[:50])
        message = f"There is no model named {name[:200]!r}."
        return cls(message, hint=f"Known: {known}", param="model", code="model_not_found")


TargetKey = tuple[str, str, str, str]
"""Route, server, model and arm."""


class LocalEntry(Protocol):
    """A model of this machine."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def created_at(self) -> float: ...
    @property
    def adapters(self) -> Mapping[str, str]:
        """Each adapter's name and version; the model `name:adapter` answers with it."""
        ...

    @property
    def url(self) -> str:
        """Where it has a server of its own, once that runs."""
        ...

    @property
    def key(self) -> str:
        """What that server wants as bearer token."""
        ...


class TargetDocument(Protocol):
    @property
    def upstream(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def weight(self) -> float: ...
    @property
    def arm(self) -> str: ...


class ShadowDocument(Protocol):
    @property
    def upstream(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def share(self) -> float: ...


class RouteDocument(Protocol):
    """How an administrator describes a model."""

    @property
    def targets(self) -> Sequence[TargetDocument]: ...
    @property
    def balance(self) -> str: ...
    @property
    def fallbacks(self) -> Sequence[str]: ...
    @property
    def shadow(self) -> Sequence[ShadowDocument]: ...
    @property
    def prompt(self) -> str: ...
    @property
    def aliases(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class Sources:
    """What a catalogue is made of. The first server of `servers` is preferred."""

    servers: Sequence[tuple[Connected, Backend]]
    local: Sequence[tuple[LocalEntry, Backend]]
    quote: Backend
    documents: Mapping[str, RouteDocument]
    started_at: float


class Catalogue:
    """A workspace's models by name. Targets are kept from one catalogue to the next, with what is known of them."""

    def __init__(self, sources: Sources, known: Mapping[TargetKey, Target]) -> None:
        self.targets: dict[TargetKey, Target] = {}
        self._known = known
        self._sources = sources
        self._backends: dict[str, Backend] = {INHOUSE: sources.quote}
        self._backends.update({one.name: backend for one, backend in reversed(sources.servers)})
        self._versions: dict[tuple[str, str], str] = {}
        """What answers now for a model of a server, or of this machine."""
        self._routes: dict[str, Route] = {}
        self._aliases: dict[str, str] = {}
        self._fill()

    def every(self) -> list[Route]:
        """All routes, that for every other name among them."""
        return list(self._routes.values())

    def routes(self) -> list[Route]:
        """What `/v1/models` lists."""
        return [route for route in self._routes.values() if route.name != ANY]

    def find(self, name: str) -> Route | None:
        route = self._routes.get(name)
        if route is None and name in self._aliases:
            route = self._routes.get(self._aliases[name])
        return route or self._routes.get(ANY)

    def allowed(self, patterns: Sequence[str]) -> list[Route]:
        """The models that a key with these patterns may use."""
        if not patterns:
            return self.routes()
        return [one for one in self.routes() if any(fnmatch.fnmatchcase(one.name, pattern) for pattern in patterns)]

    def _fill(self) -> None:
        sources = self._sources
        at = sources.started_at
        self._routes[QUOTE] = Route(QUOTE, (self._target(QUOTE, sources.quote, QUOTE),), INHOUSE, at, version=QUOTE)
        for entry, _ in sources.local:
            self._versions.update(((LOCAL, model), version) for model, version in _with_adapters(entry))
        for server, _ in sources.servers:
            self._versions.update(((server.name, model), str(server.created_at)) for model in server.models)
        default = self._default()
        self._routes[DEFAULT] = Route(DEFAULT, (default,), INHOUSE, at, version=self._version((default,)))
        for entry, backend in sources.local:
            for model, version in _with_adapters(entry):
                name = self._free(model, LOCAL)
                target = self._target(name, backend, model)
                self._routes[name] = Route(name, (target,), LOCAL, entry.created_at, version=version)
        for server, backend in sources.servers:
            for model in server.models:
                name = self._free(model, server.name)
                target = self._target(name, backend, model)
                version = f"{server.name} {server.created_at}"
                self._routes[name] = Route(name, (target,), server.name, server.created_at, version=version)
        for name, document in sources.documents.items():
            self._routes[name] = self._described(name, document)
            self._aliases.update({alias: name for alias in document.aliases if alias not in self._routes})

    def _default(self) -> Target:
        """The first connected server's model, else the first local one that writes, else `quote`."""
        for server, backend in self._sources.servers:
            return self._target(DEFAULT, backend, server.model)
        for entry, backend in self._sources.local:
            if entry.kind == "chat":
                return self._target(DEFAULT, backend, entry.name)
        return self._target(DEFAULT, self._sources.quote, QUOTE)

    def _described(self, name: str, document: RouteDocument) -> Route:
        targets = [self._find_target(name, one.upstream, one.model, one.weight, one.arm) for one in document.targets]
        shadows = [self._find_target(name, one.upstream, one.model, one.share, "shadow") for one in document.shadow]
        present = tuple(target for target in targets if target is not None)
        return Route(
            name,
            present,
            INHOUSE,
            self._sources.started_at,
            balance=document.balance,
            fallbacks=tuple(document.fallbacks),
            shadow=tuple(target for target in shadows if target is not None),
            version=self._version(present),
            prompt=document.prompt,
        )

    def _find_target(self, route: str, upstream: str, model: str, weight: float, arm: str) -> Target | None:
        """None while the server that a route names is not connected."""
        if upstream == LOCAL:
            base = model.partition(":")[0]
            found = next((backend for entry, backend in self._sources.local if entry.name == base), None)
        else:
            found = self._backends.get(upstream)
        return None if found is None else self._target(route, found, model, weight, arm)

    def _target(self, route: str, backend: Backend, model: str, weight: float = 1.0, arm: str = "") -> Target:
        key = (route, backend.name, model, arm)
        target = self.targets.get(key) or self._known.get(key) or Target(backend, model, weight, arm)
        target.backend, target.weight = backend, weight
        self.targets[key] = target
        return target

    def _version(self, targets: Sequence[Target]) -> str:
        """Changes when other weights answer for one of these targets."""
        return " ".join(sorted(f"{one.id}@{self._versions.get((one.backend.name, one.model), '')}" for one in targets))

    def _free(self, name: str, owner: str) -> str:
        """The name itself, or `owner/name` where an earlier server has one of that name."""
        return name if name not in self._routes else f"{owner}/{name}"


def _with_adapters(entry: LocalEntry) -> list[tuple[str, str]]:
    """The model and its adapters, each under its name with its version."""
    adapters = [(f"{entry.name}:{name}", f"{entry.version} {version}") for name, version in entry.adapters.items()]
    return [(entry.name, entry.version), *adapters]
