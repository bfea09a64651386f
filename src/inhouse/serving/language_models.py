"""The language models, encoders and rerankers that this server runs, by name."""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from inhouse.core.db import Database
from inhouse.core.errors import Conflict, Invalid, NotFound
from inhouse.core.ids import now
from inhouse.core.principal import DEFAULT_WORKSPACE, Principal
from inhouse.core.registry import Registry
from inhouse.core.settings import LocalModel
from inhouse.serving import store
from inhouse.serving.lm.checkpoint import Adapter, Kind, open_adapter
from inhouse.serving.lm.handles import Slot, handle
from inhouse.serving.lm.residents import Key, Order, Resident, Residents, in_thread
from inhouse.serving.lm.runtime import LanguageRuntime, Local, Server, language_runtimes
from inhouse.serving.lm.wanted import Ground, Wanted, examine, examined
from inhouse.serving.store import StoredModel

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.IGNORECASE)
_REFERENCE = re.compile(r"([a-z0-9][a-z0-9._-]{0,99}):([a-z0-9][a-z0-9_-]{0,63})")
_SETTINGS = ("dtype", "max_batch", "kv_tokens", "idle_s")


class LanguageModelNotFound(NotFound):
    """This server runs no model of that name."""


class AdapterNotFound(NotFound):
    """The model has no adapter of that name."""


class BadName(Invalid):
    """The name cannot be used."""


class FromSettings(Conflict):
    """The model comes from the settings and is changed there."""


class Versions(Protocol):
    """Where the versions of trained models lie."""

    def find(self, workspace_id: str, name: str, version: str) -> Path:
        """The directory of a version, given by number or alias."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A model that this server runs, and how it is doing."""

    name: str
    kind: Kind
    state: str
    """`unloaded`, `loading`, `loaded`, `restarting` or `failed`."""
    error: str
    runtime: str
    path: str
    adapters: Mapping[str, str]
    """Each adapter's name and version; a model `name:adapter` answers with it."""
    created_at: float
    version: str
    source: str
    """`settings` or `api`."""
    url: str = ""
    """Where the model has a server of its own, once it runs: everything under it is OpenAI's API."""
    key: str = field(default="", repr=False)
    """What that server wants as bearer token."""


class LanguageModels:
    """Names models, loads them on their first call and lets them go when idle.

    `refresh()` once at start, then `start()` in the event loop; everything else is called there too. Whoever holds
    what `open` gave keeps it: a model that was unloaded meanwhile is loaded again by its next request.
    """

    def __init__(
        self,
        db: Database,
        cache: Path,
        *,
        configured: Mapping[str, LocalModel] | None = None,
        changed: Callable[[], None] = lambda: None,
        runtimes: Registry[LanguageRuntime] = language_runtimes,
        versions: Versions | None = None,
    ) -> None:
        self._db = db
        self._configured = dict(configured or {})
        self._changed = changed
        self._versions = versions
        self._ground = Ground(runtimes, cache, changed, self._locate)
        self._wanted: dict[tuple[str, str], Wanted] = {}
        self._residents = Residents(changed)
        self._changing = asyncio.Lock()

    def refresh(self) -> None:
        """Read which models are wanted, from the database and the settings. Blocks."""
        with self._db.read() as conn:
            stored = [_wanted(row) for row in store.every_language_model(conn)]
        wanted = {(one.workspace_id, one.name): one for one in (*stored, *self._from_settings(self._configured))}
        self._wanted = {key: examined(one, self._ground) for key, one in wanted.items()}

    async def start(self) -> None:
        """Start the servers of the models that have one: nobody should wait minutes for a first answer."""
        for wanted in self._wanted.values():
            self._start_server(wanted)

    async def close(self) -> None:
        await self._residents.close()

    async def configure(self, configured: Mapping[str, LocalModel]) -> None:
        """Take new settings while running; models whose settings stay are left alone."""
        async with self._changing:
            before, self._configured = self._configured, dict(configured)
            for name in before.keys() - configured.keys():
                self._drop(DEFAULT_WORKSPACE, name)
            for one in self._from_settings(configured):
                if before.get(one.name) != one.model:
                    self._put(await asyncio.to_thread(examined, one, self._ground))
        self._changed()

    def runtimes(self) -> dict[str, str]:
        """Every runtime, and what to do before it can be used: empty where nothing."""
        return {name: self._ground.runtimes[name].missing() for name in self._ground.runtimes}

    def workspaces(self) -> set[str]:
        """Those that have models here."""
        return {workspace_id for workspace_id, _ in list(self._wanted)}

    def list(self, workspace_id: str) -> list[Entry]:
        """The workspace's models, oldest first."""
        mine = [one for one in self._wanted.values() if one.workspace_id == workspace_id]
        return [self._entry(one) for one in sorted(mine, key=lambda one: (one.created_at, one.name))]

    def get(self, workspace_id: str, name: str) -> Entry:
        return self._entry(self._find(workspace_id, name))

    async def open(self, workspace_id: str, name: str) -> Local | Server:
        """What answers for `name` or `name:adapter`, loaded by now."""
        base, _, adapter = name.partition(":")
        wanted = await self._ready(workspace_id, base)
        self._check_adapter(wanted, adapter)
        merged = adapter if self._ground.runtimes[wanted.runtime].merges_adapters else ""
        key = Key(workspace_id, base, merged)
        async with self._residents.using(key, wanted.order(self._ground, merged)) as resident:
            model = resident.loaded.model("" if merged else adapter)
        if isinstance(model, Server):
            return model
        slot = partial(self._slot, key, adapter)
        return handle(wanted.kind, name, model, Slot(self._residents, slot, key, "" if merged else adapter))

    async def load(self, principal: Principal, name: str, model: LocalModel) -> Entry:
        """Take a model up under a name, or give the name other weights, and start loading without waiting for it.

        Where the name answers already it does so with its former weights until the new ones are in.
        """
        if not _NAME.fullmatch(name):
            raise BadName(f"{name!r} cannot be a name.", hint="Use up to 63 letters, digits, dots, - and _.")
        for adapter in model.adapters:
            _check_adapter_name(adapter)
        async with self._changing:
            self._check_changeable(principal, name)
            former = self._wanted.get((principal.workspace_id, name))
            created_at = former.created_at if former else now()
            asked = Wanted(principal.workspace_id, name, model, created_at)
            wanted = await asyncio.to_thread(examine, asked, self._ground)
            await asyncio.to_thread(self._save, principal, name, model)
            self._put(wanted)
            self._residents.begin(self._key(wanted), wanted.order(self._ground))
        self._changed()
        return self._entry(wanted)

    async def unload(self, principal: Principal, name: str) -> None:
        """Forget a model. Requests that run on it finish."""
        async with self._changing:
            self._find(principal.workspace_id, name)
            self._check_changeable(principal, name)
            await asyncio.to_thread(self._delete, principal, name)
            self._drop(principal.workspace_id, name)
        self._changed()

    async def add_adapter(self, principal: Principal, name: str, adapter: str, path: str) -> Entry:
        """Give a model an adapter, or an adapter a new version, without touching the model itself."""
        _check_adapter_name(adapter)
        async with self._changing:
            wanted = self._changeable(principal, name)
            found = await asyncio.to_thread(self._open_adapter, wanted, path)
            model = wanted.model.model_copy(update={"adapters": {**wanted.model.adapters, adapter: path}})
            if resident := await self._beside(wanted):
                await in_thread(partial(resident.loaded.add_adapter, adapter, found), what=f"The adapter {adapter!r}")
            await asyncio.to_thread(self._save, principal, name, model)
            changed = replace(wanted, model=model, adapters={**wanted.adapters, adapter: found})
            entry = self._with_adapters(changed, adapter)
        self._changed()
        return entry

    async def remove_adapter(self, principal: Principal, name: str, adapter: str) -> Entry:
        async with self._changing:
            wanted = self._changeable(principal, name)
            self._check_adapter(wanted, adapter)
            adapters = {key: path for key, path in wanted.model.adapters.items() if key != adapter}
            model = wanted.model.model_copy(update={"adapters": adapters})
            await asyncio.to_thread(self._save, principal, name, model)
            rest = {key: one for key, one in wanted.adapters.items() if key != adapter}
            entry = self._with_adapters(replace(wanted, model=model, adapters=rest), adapter)
            if resident := await self._beside(wanted):
                await asyncio.to_thread(resident.loaded.remove_adapter, adapter)
        self._changed()
        return entry

    async def _slot(self, key: Key, adapter: str) -> tuple[Key, Order]:
        """Where a handle finds its model, whatever happened to it since it was opened."""
        wanted = self._find(key.workspace_id, key.name)
        if self._residents.get(key) is None:
            wanted = await self._ready(key.workspace_id, key.name)
        self._check_adapter(wanted, adapter)
        return key, wanted.order(self._ground, key.adapter)

    async def _ready(self, workspace_id: str, name: str) -> Wanted:
        """The model as its files are now, unless it is in memory already."""
        wanted = self._find(workspace_id, name)
        if wanted.problem is None and self._residents.of(workspace_id, name):
            return wanted
        fresh = await asyncio.to_thread(examine, wanted, self._ground)
        if self._wanted.get((workspace_id, name)) is not wanted:
            return self._find(workspace_id, name)
        if wanted.problem is None and all(fresh.version(one) == wanted.version(one) for one in ("", *fresh.adapters)):
            return wanted
        self._wanted[workspace_id, name] = fresh
        self._changed()
        return fresh

    def _locate(self, workspace_id: str, path: str) -> Path:
        """A directory of this machine, or `model:version` for a version of a trained model."""
        reference = _REFERENCE.fullmatch(path)
        if reference is None or self._versions is None or Path(path).exists():
            return Path(path)
        return self._versions.find(workspace_id, *reference.groups())

    def _open_adapter(self, wanted: Wanted, path: str) -> Adapter:
        return open_adapter(self._locate(wanted.workspace_id, path), wanted.checkpoint)

    def _find(self, workspace_id: str, name: str) -> Wanted:
        wanted = self._wanted.get((workspace_id, name))
        if wanted is None:
            known = sorted(name for workspace, name in self._wanted if workspace == workspace_id)
            hint = "Known: " + ", ".join(known) if known else "Load one first."
            raise LanguageModelNotFound(f"This server runs no model named {name!r}.", hint=hint)
        return wanted

    def _check_adapter(self, wanted: Wanted, adapter: str) -> None:
        if adapter and adapter not in wanted.adapters:
            raise AdapterNotFound(
                f"The model {wanted.name!r} has no adapter named {adapter!r}.",
                hint="It has: " + ", ".join(wanted.adapters) if wanted.adapters else "Add one first.",
            )

    def _changeable(self, principal: Principal, name: str) -> Wanted:
        wanted = self._find(principal.workspace_id, name)
        self._check_changeable(principal, name)
        if wanted.problem is not None:
            raise wanted.problem
        return wanted

    def _check_changeable(self, principal: Principal, name: str) -> None:
        if principal.workspace_id == DEFAULT_WORKSPACE and name in self._configured:
            raise FromSettings(
                f"The model {name!r} comes from the settings.", hint=f"Change [language_models.{name}] there."
            )

    def _from_settings(self, configured: Mapping[str, LocalModel]) -> "list[Wanted]":
        return [Wanted(DEFAULT_WORKSPACE, name, model, now(), is_configured=True) for name, model in configured.items()]

    def _put(self, wanted: Wanted) -> None:
        """Let other weights take over: those in memory answer until then, merged adapters are made again."""
        self._wanted[wanted.workspace_id, wanted.name] = wanted
        for key in self._residents.of(wanted.workspace_id, wanted.name):
            if key.adapter or wanted.problem is not None:
                self._residents.retire(key)
        self._start_server(wanted)

    def _drop(self, workspace_id: str, name: str) -> None:
        self._wanted.pop((workspace_id, name), None)
        for key in self._residents.of(workspace_id, name):
            self._residents.retire(key)

    def _start_server(self, wanted: Wanted) -> None:
        if wanted.problem is None and self._ground.runtimes[wanted.runtime].is_server:
            self._residents.begin(self._key(wanted), wanted.order(self._ground))

    async def _beside(self, wanted: Wanted) -> Resident | None:
        """The model in memory, where adapters are kept beside its weights."""
        merges = self._ground.runtimes[wanted.runtime].merges_adapters
        return None if merges else await self._residents.settled(self._key(wanted))

    def _with_adapters(self, wanted: Wanted, changed: str) -> Entry:
        """Keep the weights that are in memory; only the one with the changed adapter merged in goes."""
        merges = self._ground.runtimes[wanted.runtime].merges_adapters
        kept = {key: order for key, order in wanted.orders.items() if key != changed} if merges else {}
        wanted = replace(wanted, orders=kept)
        self._wanted[wanted.workspace_id, wanted.name] = wanted
        if merges:
            self._residents.retire(Key(wanted.workspace_id, wanted.name, changed))
        else:
            self._residents.reorder(self._key(wanted), wanted.order(self._ground))
        return self._entry(wanted)

    def _key(self, wanted: Wanted) -> Key:
        return Key(wanted.workspace_id, wanted.name)

    def _save(self, principal: Principal, name: str, model: LocalModel) -> None:
        settings = {name: getattr(model, name) for name in _SETTINGS}
        with self._db.write() as conn:
            store.save_language_model(
                conn,
                principal,
                name,
                kind=model.kind,
                path=model.path,
                runtime=model.runtime,
                settings=settings,
                adapters=model.adapters,
            )

    def _delete(self, principal: Principal, name: str) -> None:
        with self._db.write() as conn:
            store.delete_language_model(conn, principal, name)

    def _entry(self, wanted: Wanted) -> Entry:
        state, error = self._residents.state(self._key(wanted))
        if wanted.problem is not None:
            state, error = "failed", wanted.problem.message
        resident = self._residents.get(self._key(wanted))
        is_server = resident is not None and self._ground.runtimes[wanted.runtime].is_server
        model = resident.loaded.model() if resident and is_server and state != "failed" else None
        server = model if isinstance(model, Server) else None
        return Entry(
            name=wanted.name,
            kind=wanted.kind,
            state=state,
            error=error,
            runtime=wanted.runtime or wanted.model.runtime,
            path=wanted.model.path,
            adapters={name: wanted.version(name) for name in wanted.adapters},
            created_at=wanted.created_at,
            version=resident.order.version if resident else wanted.version(),
            source="settings" if wanted.is_configured else "api",
            url=server.url if server else "",
            key=server.key if server else "",
        )


def _wanted(row: StoredModel) -> Wanted:
    asked = {"kind": row.kind, "path": row.path, "runtime": row.runtime, "adapters": dict(row.adapters)}
    return Wanted(row.workspace_id, row.name, LocalModel(**asked, **row.settings), row.created_at)


def _check_adapter_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadName(
            f"{name!r} cannot be an adapter's name.", hint="Use up to 63 letters, digits, dots, - and _.", param="name"
        )
