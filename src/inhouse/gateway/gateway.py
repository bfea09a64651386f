"""One door to every chat model: the built-in one, and those of the connected model servers."""

import asyncio
import re
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Protocol

from inhouse.core.db import Database
from inhouse.core.errors import Conflict, InhouseError, Invalid, NotFound
from inhouse.core.http import Http, endpoint
from inhouse.core.ids import now
from inhouse.core.principal import DEFAULT_WORKSPACE, Principal
from inhouse.gateway import store
from inhouse.gateway.models import ChatDelta, ChatRequest, ListedModel, estimated_usage
from inhouse.gateway.quote import QUOTE, Quote
from inhouse.gateway.store import Connected
from inhouse.gateway.upstream import Patience, Upstream, UpstreamModel, UpstreamModelUnknown

DEFAULT = "default"
OLLAMA = "http://127.0.0.1:11434/v1"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.IGNORECASE)
_NOT_FOR_CHAT = re.compile(r"embed|rerank|whisper|tts|bge-|moderation", re.IGNORECASE)


class ModelNotFound(NotFound):
    """No chat model has that name."""


class UpstreamNotFound(NotFound):
    """No connected model server has that name."""


class UpstreamExists(Conflict):
    """The name is taken."""


class BadUpstream(Invalid):
    """The model server cannot be connected as described."""


class Secrets(Protocol):
    """Encrypts what must not lie about in the database."""

    def encrypt(self, text: str) -> str: ...

    def decrypt(self, token: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Found:
    """A model server that answered: the URL that worked, and what it offers."""

    url: str
    models: tuple[str, ...]


class Gateway:
    """Chat models by name. `refresh()` once at start, and again whenever another process changed the upstreams.

    It has its own way out: only registered model servers are reachable through it, whatever their address.
    """

    def __init__(
        self, db: Database, secrets: Secrets, *, patience: Patience = Patience(), ollama_url: str = OLLAMA
    ) -> None:
        self._db = db
        self._secrets = secrets
        self._patience = patience
        self._ollama_url = ollama_url
        self._http = Http(self._is_registered)
        self._connected: list[Connected] = []
        self._attached: list[Connected] = []
        self._probed: list[tuple[str, int]] = []
        self._endpoints: frozenset[tuple[str, int]] = frozenset()
        self._catalogues: dict[str, dict[str, ListedModel]] = {}
        self._refreshing = threading.Lock()
        self._started_at = now()

    def refresh(self) -> None:
        """Read the connected model servers again. Safe from any thread."""
        with self._refreshing:  # or an older reading could overtake a newer one
            with self._db.read() as conn:
                self._connected = store.every_upstream(conn)
            self._forget()

    async def close(self) -> None:
        await self._http.close()

    def models(self, principal: Principal) -> list[ListedModel]:
        return list(self._catalogue(principal.workspace_id).values())

    def model(self, principal: Principal, name: str) -> ListedModel:
        catalogue = self._catalogue(principal.workspace_id)
        if name not in catalogue:
            raise ModelNotFound(f"There is no model named {name!r}.", hint="Known: " + ", ".join(catalogue))
        return catalogue[name]

    async def stream(self, principal: Principal, request: ChatRequest) -> AsyncGenerator[ChatDelta]:
        """Stream the answer of the model that the request names; its usage always comes, estimated if need be."""
        listed = self.model(principal, request.model)
        said: list[str] = []
        counted = False
        async with aclosing(listed.model.stream(request)) as deltas:
            async for delta in deltas:
                said.append(delta.text)
                counted = counted or delta.usage is not None
                yield delta
        if not counted:
            yield ChatDelta(usage=estimated_usage(request.messages, "".join(said)))

    def upstreams(self, principal: Principal) -> list[Connected]:
        """The model servers of a workspace, in the order in which their models are preferred."""
        return self._servers(principal.workspace_id)

    async def connect(self, principal: Principal, name: str, url: str, *, key: str = "", model: str = "") -> Connected:
        """Check that a model server answers, and make its models available; an empty model takes the first."""
        self._check_name(principal, name)
        found = await self.probe(url, key=key)
        model = _preferred(found, model)

        def save() -> Connected:
            secret = self._secrets.encrypt(key) if key else ""
            with self._db.write() as conn:
                connected = store.insert_upstream(
                    conn, principal, name=name, url=found.url, secret=secret, model=model, models=found.models
                )
            self.refresh()
            return connected

        return await asyncio.to_thread(save)

    async def attach(self, name: str, url: str, *, key: str = "", model: str = "") -> Connected:
        """Connect a model server that the settings name: kept for the life of this process, and preferred."""
        principal = Principal.system(DEFAULT_WORKSPACE)
        self._check_name(principal, name)
        found = await self.probe(url, key=key)
        secret = self._secrets.encrypt(key) if key else ""
        model = _preferred(found, model)
        attached = Connected(principal.workspace_id, name, found.url, secret, model, found.models, now())
        self._attached.append(attached)
        self._forget()
        return attached

    def disconnect(self, principal: Principal, name: str) -> None:
        with self._db.write() as conn:
            found = store.delete_upstream(conn, principal, name)
        if not found:
            raise UpstreamNotFound(
                f"There is no connected model server named {name!r}.",
                hint="One that comes from the settings is removed there.",
            )
        self.refresh()

    async def probe(self, url: str, *, key: str = "") -> Found:
        """Ask a model server for its models, at the URL as given and under /v1."""
        url = url.strip().rstrip("/").removesuffix("/chat/completions")
        with self._probing(url):
            try:
                found = await self._found(url, key)
            except UpstreamModelUnknown:
                found = await self._found(f"{url}/v1", key)
        if not found.models:
            raise BadUpstream(f"The server at {url!r} offers no model.", hint="Load or pull a model there first.")
        return found

    async def discover(self) -> list[Found]:
        """Model servers on this machine: a local Ollama, if one runs."""
        try:
            return [await self.probe(self._ollama_url)]
        except InhouseError:
            return []

    async def _found(self, url: str, key: str) -> Found:
        server = Upstream(self._http, url, url, key=key, patience=Patience(connect_s=3.0, first_token_s=10.0))
        return Found(url, tuple(await server.models()))

    def _check_name(self, principal: Principal, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise BadUpstream(f"{name!r} cannot be a name.", hint="Use up to 63 letters, digits, dots, - and _.")
        if any(one.name == name for one in self.upstreams(principal)):
            raise UpstreamExists(f"A model server named {name!r} is connected already.", hint="Choose another name.")

    def _catalogue(self, workspace_id: str) -> dict[str, ListedModel]:
        catalogues = self._catalogues  # a refresh meanwhile replaces it, so that nothing stale is kept
        if workspace_id not in catalogues:
            catalogues[workspace_id] = self._build(workspace_id)
        return catalogues[workspace_id]

    def _build(self, workspace_id: str) -> dict[str, ListedModel]:
        """Every model by its own name, or as `server/model` where an earlier server has one of that name."""
        servers = [(one, self._open(one)) for one in self._servers(workspace_id)]
        quote = Quote()
        default = UpstreamModel(servers[0][1], servers[0][0].model) if servers else quote
        catalogue = {
            QUOTE: ListedModel(QUOTE, "inhouse", self._started_at, quote),
            DEFAULT: ListedModel(DEFAULT, "inhouse", self._started_at, default),
        }
        for connected, upstream in servers:
            for model in connected.models:
                name = model if model not in catalogue else f"{connected.name}/{model}"
                catalogue[name] = ListedModel(
                    name, connected.name, connected.created_at, UpstreamModel(upstream, model)
                )
        return catalogue

    def _open(self, connected: Connected) -> Upstream:
        key = self._secrets.decrypt(connected.secret) if connected.secret else ""
        return Upstream(self._http, connected.name, connected.url, key=key, patience=self._patience)

    def _servers(self, workspace_id: str) -> list[Connected]:
        return [one for one in (*self._attached, *self._connected) if one.workspace_id == workspace_id]

    def _forget(self) -> None:
        registered = [endpoint(one.url) for one in (*self._attached, *self._connected)]
        self._endpoints = frozenset(registered)
        self._catalogues = {}

    def _is_registered(self, host: str, port: int) -> bool:
        return (host, port) in self._endpoints or (host, port) in self._probed

    @contextmanager
    def _probing(self, url: str) -> Iterator[None]:
        target = endpoint(url)
        self._probed.append(target)
        try:
            yield
        finally:
            self._probed.remove(target)


def _preferred(found: Found, model: str) -> str:
    if not model:
        return next((name for name in found.models if not _NOT_FOR_CHAT.search(name)), found.models[0])
    if model not in found.models:
        raise BadUpstream(
            f"The server at {found.url!r} has no model named {model!r}.", hint="It has: " + ", ".join(found.models[:20])
        )
    return model
