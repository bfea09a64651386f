"""What administrators set: settings of policies and routes of models, from the settings file and from the database."""

import importlib.resources
import logging
import os
import sys
import threading
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from inhouse.core.db import Database
from inhouse.core.errors import Conflict, InhouseError, Invalid, NotFound
from inhouse.core.principal import DEFAULT_WORKSPACE, Principal
from inhouse.core.settings import Gateway as FileSettings
from inhouse.gateway import store
from inhouse.gateway.policy import Settings, policies
from inhouse.gateway.schemas import ModelName, RouteDocument

LANGUAGES = ("en", "zh")
_NAME: TypeAdapter[str] = TypeAdapter(ModelName)
_log = logging.getLogger(__name__)
ShapeT = TypeVar("ShapeT", bound=BaseModel)


class BadPolicySettings(Invalid):
    """The settings of a policy cannot be used."""


class BadRoute(Invalid):
    """The description of a model cannot be used."""


class SetInFile(Conflict):
    """What the settings file says is changed there."""


class NotSet(NotFound):
    """There is nothing to take away."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something stored that cannot be used any more: a policy is gone, or its settings have changed."""

    workspace_id: str
    what: str
    message: str


@dataclass(frozen=True, slots=True)
class _FromFile:
    """What the settings file says. Its policies hold for every workspace, its models are those of the first."""

    policies: Mapping[str, Settings]
    routes: Mapping[str, RouteDocument]


class Configuration:
    """Settings of policies and routes, in memory. `changed` is called after every change (other servers refresh).

    The settings file wins over the database. It is looked at by `watch`; while it cannot be used, what it said before
    holds, and `file_error` says why.
    """

    def __init__(
        self,
        db: Database,
        settings: FileSettings = FileSettings(),  # frozen
        *,
        file: Path | None = None,
        read: Callable[[], FileSettings] = FileSettings,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.file_error = ""
        self.problems: Sequence[Problem] = ()
        self._db = db
        self._file = file
        self._read = read
        self._changed = changed
        self._seen = _signature(file)
        self._from_file = _understood(settings)
        self._policies: dict[str, dict[str, Settings]] = {}
        self._routes: dict[str, dict[str, RouteDocument]] = {}
        self._refreshing = threading.Lock()

    def refresh(self) -> None:
        """Read what is stored again. Safe from any thread."""
        with self._refreshing:
            with self._db.read() as conn:
                stored_policies, stored_routes = store.every_policy(conn), store.every_route(conn)
            problems: list[Problem] = []
            self._policies = _by_workspace(stored_policies, policy_settings, "policy", problems)
            self._routes = _by_workspace(stored_routes, route_document, "model", problems)
            for problem in set(problems) - set(self.problems):
                _log.warning("What is stored for the %s is ignored: %s", problem.what, problem.message)
            self.problems = problems

    def watch(self) -> bool:
        """Take over the settings file when it has changed. Called every second; costs a look at the file."""
        seen = _signature(self._file)
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            self._from_file = _understood(self._read())
        except InhouseError as error:
            self.file_error = error.message
            _log.error("%s cannot be used, the settings of before hold: %s", self._file, error.message)
            return False
        self.file_error = ""
        try:
            self._changed()
        except BaseException:
            self._seen = None  # the database is away, say: try again
            raise
        _log.info("%s has changed and is in force.", self._file)
        return True

    def workspaces(self) -> set[str]:
        """Those for which something is stored."""
        return {*self._policies, *self._routes}

    def policies(self, workspace_id: str) -> Mapping[str, Settings]:
        """The settings of the policies that have any."""
        return {**self._policies.get(workspace_id, {}), **self._from_file.policies}

    def routes(self, workspace_id: str) -> Mapping[str, RouteDocument]:
        """The models that are described, by name."""
        return {**self._routes.get(workspace_id, {}), **self._file_routes(workspace_id)}

    def source_of_policy(self, principal: Principal, name: str) -> str:
        if name in self._from_file.policies:
            return "toml"
        return "api" if name in self._policies.get(principal.workspace_id, {}) else "default"

    def source_of_route(self, principal: Principal, name: str) -> str:
        if name in self._file_routes(principal.workspace_id):
            return "toml"
        return "api" if name in self._routes.get(principal.workspace_id, {}) else "found"

    def put_policy(self, principal: Principal, name: str, settings: Mapping[str, Any]) -> None:
        """Set what a policy does. Settings that are not named get their defaults."""
        self._check_policy(name)
        found = policy_settings(name, settings)
        with self._db.write() as conn:
            store.save_policy(conn, principal, name, found.model_dump(mode="json", exclude_unset=True))
        self._written()

    def delete_policy(self, principal: Principal, name: str) -> None:
        """Give a policy its default settings back."""
        self._check_policy(name)
        with self._db.write() as conn:
            found = store.delete_policy(conn, principal, name)
        if not found:
            raise NotSet(f"The policy {name!r} has its default settings.")
        self._written()

    def put_route(self, principal: Principal, name: str, document: RouteDocument) -> None:
        """Describe a model."""
        self._check_route(principal, name)
        with self._db.write() as conn:
            store.save_route(conn, principal, name, document.model_dump(mode="json", exclude_unset=True))
        self._written()

    def delete_route(self, principal: Principal, name: str) -> None:
        self._check_route(principal, name)
        with self._db.write() as conn:
            found = store.delete_route(conn, principal, name)
        if not found:
            raise NotSet(f"No model named {name!r} is described here.", hint="Models of servers go with their server.")
        self._written()

    def _check_policy(self, name: str) -> None:
        policies[name]  # raises for an unknown one
        if name in self._from_file.policies:
            raise SetInFile(f"The policy {name!r} is set in the settings file.", hint="Change it there.")

    def _check_route(self, principal: Principal, name: str) -> None:
        if name in self._file_routes(principal.workspace_id):
            raise SetInFile(f"The model {name!r} is described in the settings file.", hint="Change it there.")
        route_name(name)

    def _file_routes(self, workspace_id: str) -> Mapping[str, RouteDocument]:
        return self._from_file.routes if workspace_id == DEFAULT_WORKSPACE else {}

    def _written(self) -> None:
        self.refresh()
        self._changed()


def policy_settings(name: str, document: Mapping[str, Any]) -> Settings:
    """Settings of a policy, checked."""
    try:
        return policies[name].settings_type.model_validate(document)
    except ValidationError as error:
        raise BadPolicySettings(
            f"The policy {name!r} cannot have these settings: {_first(error)}", problems=_problems(error)
        ) from error


def route_document(name: str, document: Mapping[str, Any]) -> RouteDocument:
    """The description of a model, checked."""
    try:
        return RouteDocument.model_validate(document)
    except ValidationError as error:
        raise BadRoute(f"The model {name!r} cannot be described so: {_first(error)}") from error


def route_name(name: str) -> str:
    try:
        return _NAME.validate_python(name)
    except ValidationError as error:
        raise BadRoute(
            f"{name[:200]!r} is no name for a model.",
            hint="Use letters, digits and . : / @ + - _, up to 200, or just *.",
        ) from error


def texts(name: str) -> dict[str, Any]:
    """What the console calls a policy and its settings, in every language."""
    module = sys.modules[policies[name].__module__]
    return {language: _texts(module.__package__ or "", language).get(name, {}) for language in LANGUAGES}


@cache
def _texts(package: str, language: str) -> dict[str, Any]:
    path = importlib.resources.files(package) / "locale" / f"{language}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _understood(settings: FileSettings) -> _FromFile:
    return _FromFile(
        {name: policy_settings(name, document) for name, document in settings.policies.items()},
        {route_name(name): route_document(name, document) for name, document in settings.models.items()},
    )


def _by_workspace(
    rows: Sequence[store.Stored],
    understand: Callable[[str, Mapping[str, Any]], ShapeT],
    kind: str,
    problems: list[Problem],
) -> dict[str, dict[str, ShapeT]]:
    found: dict[str, dict[str, ShapeT]] = {}
    for row in rows:
        try:
            found.setdefault(row.workspace_id, {})[row.name] = understand(row.name, row.document)
        except InhouseError as error:  # an older or a newer release wrote it
            problems.append(Problem(row.workspace_id, f"{kind} {row.name!r}", error.message))
    return found


def _first(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}." if place else f"{first['msg']}."


def _problems(error: ValidationError) -> list[dict[str, Any]]:
    """What is wrong where, in the shape that every refused body has."""
    found = error.errors(include_input=False, include_url=False)
    return [{"place": list(one["loc"]), "message": one["msg"]} for one in found]


def _signature(file: Path | None) -> tuple[int, int, int] | None:
    """Changes with the file; None while there is none."""
    if file is None:
        return None
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
