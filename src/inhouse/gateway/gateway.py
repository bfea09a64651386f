"""One door to every model: the built-in one, those of this process, and those of the connected model servers."""

import asyncio
import logging
import re
import threading
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import msgspec

from inhouse.core.db import Database
from inhouse.core.errors import Conflict, InhouseError, Invalid, NotFound
from inhouse.core.fasthttp import FastHttp, Waits
from inhouse.core.http import endpoint
from inhouse.core.ids import now
from inhouse.core.principal import DEFAULT_WORKSPACE, Principal
from inhouse.gateway import store, wire
from inhouse.gateway.call import Call, Endpoint, Reply
from inhouse.gateway.catalogue import LOCAL, Catalogue, LocalEntry, ModelNotFound, RouteDocument, Sources
from inhouse.gateway.chain import Chain
from inhouse.gateway.dispatch import attempt
from inhouse.gateway.local import Beside, Local
from inhouse.gateway.models import ChatDelta, ChatRequest
from inhouse.gateway.moderation import moderation
from inhouse.gateway.policy import Settings, Surroundings
from inhouse.gateway.quote import Quote
from inhouse.gateway.remote import Remote, UpstreamModelUnknown
from inhouse.gateway.route import Route
from inhouse.gateway.store import Connected

OLLAMA = "http://127.0.0.1:11434/v1"
_PROBE = Waits(connect_s=3.0, head_s=10.0, idle_s=10.0)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.IGNORECASE)
_RESERVED = frozenset({"local", "inhouse"})
_NOT_FOR_CHAT = re.compile(r"embed|rerank|whisper|tts|bge-|moderation", re.IGNORECASE)
_log = logging.getLogger(__name__)


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


class Configuration(Protocol):
    """What administrators set, by workspace."""

    def workspaces(self) -> Collection[str]:
        """Those for which something of their own is set."""
        ...

    def policies(self, workspace_id: str) -> Mapping[str, Settings]: ...

    def routes(self, workspace_id: str) -> Mapping[str, RouteDocument]: ...


class LocalModels(Protocol):
    """The models that run on this machine."""

    def workspaces(self) -> Collection[str]:
        """Those that have any."""
        ...

    def list(self, workspace_id: str) -> Sequence[LocalEntry]: ...

    async def open(self, workspace_id: str, name: str) -> Any:
        """What answers for a model, loaded by now: the model itself, or a `ModelServer`."""
        ...


@runtime_checkable
class ModelServer(Protocol):
    """A server beside this one that runs one model and its adapters."""

    @property
    def url(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def model(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Found:
    """A model server that answered: the URL that worked, and what it offers."""

    url: str
    models: tuple[str, ...]


@dataclass(slots=True)
class _Workspace:
    """What is in memory for one workspace. A refresh makes a new catalogue and keeps the rest."""

    chain: Chain
    catalogue: Catalogue
    moderation: Route


class Gateway:
    """Models by name, behind the policies of their workspace.

    `refresh()` once at start, and again whenever another process changed servers or settings. It has its own way out:
    only registered model servers are reachable through it, whatever their address. `changed` is called after a server
    was connected or disconnected; it has to lead to a `refresh()`, which it is by default.
    """

    def __init__(
        self,
        db: Database,
        secrets: Secrets,
        *,
        configuration: Configuration | None = None,
        local: LocalModels | None = None,
        surroundings: Surroundings | None = None,
        changed: Callable[[], None] | None = None,
        ollama_url: str = OLLAMA,
    ) -> None:
        self._db = db
        self._secrets = secrets
        self._configuration = configuration
        self._local = local
        self._surroundings = surroundings or Surroundings()
        self._changed = changed or self.refresh
        self._ollama_url = ollama_url
        self._http = FastHttp(self._is_registered)
        self._connected: list[Connected] = []
        self._attached: list[Connected] = []
        self._probed: list[tuple[str, int]] = []
        self._endpoints: frozenset[tuple[str, int]] = frozenset()
        self._beside: dict[tuple[str, str], Remote] = {}
        self._workspaces: dict[str, _Workspace] = {}
        self._refreshing = threading.RLock()
        self._started_at = now()

    def refresh(self) -> None:
        """Read servers and settings again. Safe from any thread."""
        with self._refreshing:  # or an older reading could overtake a newer one
            with self._db.read() as conn:
                self._connected = store.every_upstream(conn)
            self._rebuild()

    def rebuild(self) -> None:
        """Look again at what is in memory elsewhere: the models of this machine. Safe from any thread."""
        with self._refreshing:
            self._rebuild()

    async def close(self) -> None:
        """Write what policies still hold, and hang up."""
        for workspace in self._workspaces.values():
            await asyncio.to_thread(workspace.chain.close)
        await self._http.close()

    # Answering

    def routes(self, principal: Principal) -> list[Route]:
        """The models that this caller's key names."""
        return self._workspace(principal.workspace_id).catalogue.allowed(principal.models)

    def usable(self, principal: Principal) -> list[Route]:
        """The models that this caller may use, by its key and by the rules of the workspace."""
        keys = self.chain(principal.workspace_id)["keys"]
        return [route for route in self.routes(principal) if keys.allows(principal, route.name)]

    def route(self, principal: Principal, name: str) -> Route:
        """The model of that name, whether or not this caller may use it: that is up to the policies."""
        route = self._workspace(principal.workspace_id).catalogue.find(name)
        if route is None:
            raise ModelNotFound.among(self.usable(principal), name)
        return route

    def usable_route(self, principal: Principal, name: str) -> Route:
        """The model of that name if this caller may use it; else it is as if there were none."""
        route = self.route(principal, name)
        if not self.chain(principal.workspace_id)["keys"].allows(principal, route.name, name):
            raise ModelNotFound.among(self.usable(principal), name)
        return route

    def moderation(self, principal: Principal) -> Route:
        """What answers `/v1/moderations`."""
        return self._workspace(principal.workspace_id).moderation

    def answer(self, call: Call) -> Coroutine[Any, Any, Reply]:
        """Send a call through the policies of its workspace to a model."""
        return self._workspace(call.principal.workspace_id).chain.run(call)

    def chain(self, workspace_id: str) -> Chain:
        """The policies of a workspace, for those who want their figures."""
        return self._workspace(workspace_id).chain

    async def stream(self, principal: Principal, request: ChatRequest) -> AsyncGenerator[ChatDelta]:
        """Stream an answer to who asks from within; usage always comes, estimated if need be."""
        fields = {name: wire.raw(value) for name, value in _body(request).items()}
        call = Call(
            principal,
            Endpoint.CHAT,
            request.model,
            self.route(principal, request.model),
            wire.encode(fields),
            fields,
            stream=True,
            include_usage=True,
            max_tokens=request.max_tokens or 0,
            session=request.user,
            priority=principal.priority,
        )
        events = (await self.answer(call)).events
        assert events is not None
        counted = False
        try:
            while block := await events.part():
                for data in wire.frames(block):
                    if data != b"[DONE]":
                        delta = _delta(data)
                        counted = counted or delta.usage is not None
                        yield delta
        finally:
            events.abort()
        if not counted and call.usage is not None:
            yield ChatDelta(usage=call.usage.wire())

    # Model servers

    def upstreams(self, principal: Principal) -> list[Connected]:
        """The model servers of a workspace, in the order in which their models are preferred."""
        return self._servers(principal.workspace_id)

    async def connect(self, principal: Principal, name: str, url: str, *, key: str = "", model: str = "") -> Connected:
        """Check that a model server answers, and make its models available; an empty model takes the first."""
        self._check_name(principal, name)
        key = _sendable(key)
        found = await self.probe(url, key=key)
        model = _preferred(found, model)

        def save() -> Connected:
            secret = self._secrets.encrypt(key) if key else ""
            with self._db.write() as conn:
                connected = store.insert_upstream(
                    conn, principal, name=name, url=found.url, secret=secret, model=model, models=found.models
                )
            self._changed()
            return connected

        return await asyncio.to_thread(save)

    async def attach(self, name: str, url: str, *, key: str = "", model: str = "") -> Connected:
        """Connect a model server that the settings name: kept for the life of this process, and preferred."""
        principal = Principal.system(DEFAULT_WORKSPACE)
        self._check_name(principal, name)
        key = _sendable(key)
        found = await self.probe(url, key=key)
        secret = self._secrets.encrypt(key) if key else ""
        model = _preferred(found, model)
        attached = Connected(principal.workspace_id, name, found.url, secret, model, found.models, now())
        with self._refreshing:
            self._attached.append(attached)
            self._rebuild()
        return attached

    def disconnect(self, principal: Principal, name: str) -> None:
        with self._db.write() as conn:
            found = store.delete_upstream(conn, principal, name)
        if not found:
            raise UpstreamNotFound(
                f"There is no connected model server named {name!r}.",
                hint="One that comes from the settings is removed there.",
            )
        self._changed()

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
        return Found(url, tuple(await Remote(self._http, url, url, key=key).models(_PROBE)))

    def _check_name(self, principal: Principal, name: str) -> None:
        if not _NAME.fullmatch(name) or name in _RESERVED:
            raise BadUpstream(f"{name!r} cannot be a name.", hint="Use up to 63 letters, digits, dots, - and _.")
        if any(one.name == name for one in self.upstreams(principal)):
            raise UpstreamExists(f"A model server named {name!r} is connected already.", hint="Choose another name.")

    # What is in memory

    def _rebuild(self) -> None:
        registered = [endpoint(one.url) for one in (*self._attached, *self._connected)]
        self._endpoints = frozenset(registered)
        self._forget_beside()
        for workspace_id in {*self._workspaces, *self._inhabited()} - {DEFAULT_WORKSPACE}:
            self._renew(workspace_id)
        if DEFAULT_WORKSPACE in self._workspaces:
            self._renew(DEFAULT_WORKSPACE)
        else:
            self._open(DEFAULT_WORKSPACE)  # what fails at the start is told at once

    def _inhabited(self) -> set[str]:
        """Workspaces that have something here. They are opened now, rather than under their first request."""
        found = {one.workspace_id for one in self._connected}
        for others in (self._configuration, self._local):
            found.update(others.workspaces() if others is not None else ())
        return found

    def _renew(self, workspace_id: str) -> None:
        workspace = self._workspaces.get(workspace_id)
        try:
            if workspace is None:
                self._open(workspace_id)
            else:
                self._fill(workspace_id, workspace)
        except Exception:  # the others go on, and this one with what it had
            _log.exception("The gateway of the workspace %r keeps its old settings.", workspace_id)

    def _forget_beside(self) -> None:
        """Let go of model servers of this machine that are gone. Those that run may be asked just now."""
        running = {(one.url, one.key) for workspace_id in list(self._workspaces) for one in self._entries(workspace_id)}
        for place in list(self._beside):
            if place not in running:
                self._beside.pop(place, None)

    def _entries(self, workspace_id: str) -> Sequence[LocalEntry]:
        return self._local.list(workspace_id) if self._local is not None else ()

    def _workspace(self, workspace_id: str) -> _Workspace:
        workspace = self._workspaces.get(workspace_id)
        if workspace is not None:
            return workspace
        with self._refreshing:
            return self._workspaces.get(workspace_id) or self._open(workspace_id)

    def _open(self, workspace_id: str) -> _Workspace:
        chain = Chain(self._surroundings.of(workspace_id, self._find(workspace_id)), attempt)
        workspace = _Workspace(chain, Catalogue(self._sources(workspace_id), {}), moderation(chain))
        self._configure(workspace_id, chain, workspace.catalogue)
        self._workspaces[workspace_id] = workspace
        return workspace

    def _fill(self, workspace_id: str, workspace: _Workspace) -> None:
        workspace.catalogue = Catalogue(self._sources(workspace_id), workspace.catalogue.targets)
        self._configure(workspace_id, workspace.chain, workspace.catalogue)

    def _configure(self, workspace_id: str, chain: Chain, catalogue: Catalogue) -> None:
        settings = self._configuration.policies(workspace_id) if self._configuration else {}
        chain.configure(settings, catalogue.every())

    def _find(self, workspace_id: str) -> Callable[[str], Route | None]:
        return lambda name: self._workspace(workspace_id).catalogue.find(name)

    def _sources(self, workspace_id: str) -> Sources:
        quote = Quote()

        async def open_quote(workspace_id: str, name: str) -> Quote:
            return quote

        here = Local(LOCAL, workspace_id, self._opened)
        servers = [(one, self._remote(one)) for one in self._servers(workspace_id)]
        return Sources(
            servers=[(one, backend) for one, backend in servers if backend is not None],
            local=[(entry, here) for entry in self._entries(workspace_id)],
            quote=Local("inhouse", workspace_id, open_quote),
            documents=self._configuration.routes(workspace_id) if self._configuration else {},
            started_at=self._started_at,
        )

    def _remote(self, connected: Connected) -> Remote | None:
        """None where the key cannot be read any more: the others go on."""
        try:
            key = self._secrets.decrypt(connected.secret) if connected.secret else ""
        except InhouseError as error:
            _log.error("The key of the model server %r cannot be read: %s", connected.name, error)
            return None
        return Remote(self._http, connected.name, connected.url, key=key)

    async def _opened(self, workspace_id: str, name: str) -> Any:
        """A model of this machine; one in a server of its own as the backend that asks there."""
        assert self._local is not None
        found = await self._local.open(workspace_id, name)
        if not isinstance(found, ModelServer):
            return found
        place = (found.url, found.key)
        known = self._beside.get(place)
        if known is None:
            known = self._beside[place] = Remote(self._http, LOCAL, found.url, key=found.key)
        return Beside(known, found.model)

    def _servers(self, workspace_id: str) -> list[Connected]:
        return [one for one in (*self._attached, *self._connected) if one.workspace_id == workspace_id]

    def _is_registered(self, host: str, port: int) -> bool:
        asked = (host, port)
        if asked in self._endpoints or asked in self._probed:
            return True
        return any(asked == endpoint(url) for url, _ in list(self._beside))

    @contextmanager
    def _probing(self, url: str) -> Iterator[None]:
        target = endpoint(url)
        self._probed.append(target)
        try:
            yield
        finally:
            self._probed.remove(target)


def _sendable(key: str) -> str:
    """The key without the blanks that copying leaves around it."""
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise BadUpstream(
            "The key of the model server holds characters that no key has.",
            hint="Copy it again: letters, digits and signs of ASCII in one line.",
        )
    return key


def _preferred(found: Found, model: str) -> str:
    if not model:
        return next((name for name in found.models if not _NOT_FOR_CHAT.search(name)), found.models[0])
    if model not in found.models:
        raise BadUpstream(
            f"The server at {found.url!r} has no model named {model!r}.", hint="It has: " + ", ".join(found.models[:20])
        )
    return model


def _body(request: ChatRequest) -> dict[str, Any]:
    known = {
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        "stop": request.stop,
        "user": request.user or None,
    }
    return {
        **{name: value for name, value in request.extra.items() if name not in wire.OVERRIDES},
        **{name: value for name, value in known.items() if value is not None},
        "model": request.model,
        "messages": request.messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


class _Choice(msgspec.Struct):
    index: int = 0
    delta: dict[str, Any] | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    model: str | None = ""
    choices: list[_Choice] = msgspec.field(default_factory=list)
    usage: dict[str, Any] | None = None


def _delta(data: bytes) -> ChatDelta:
    chunk = msgspec.json.decode(data, type=_Chunk)
    choice = next((choice for choice in chunk.choices if choice.index == 0), _Choice())
    fields = {name: value for name, value in (choice.delta or {}).items() if name != "role" and value is not None}
    text = fields.pop("content", "")
    usage = chunk.usage and {name: value for name, value in chunk.usage.items() if isinstance(value, int)}
    return ChatDelta(str(text), choice.finish_reason, usage or None, chunk.model or "", fields)
