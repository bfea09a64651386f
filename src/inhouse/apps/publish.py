"""Apps: workflows that people can talk to."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from inhouse.apps import store
from inhouse.apps.store import App
from inhouse.core.db import Database
from inhouse.core.errors import Conflict, Invalid, NotFound
from inhouse.core.ids import new_id, now
from inhouse.core.principal import Principal
from inhouse.workflow.workflows import Workflows

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class AppNotFound(NotFound):
    """No app of this workspace has that name."""


class AppExists(Conflict):
    """The name is taken."""


class BadAppName(Invalid):
    """Not a name for an app."""


@dataclass(frozen=True, slots=True)
class Face:
    """What people see of an app, each text by language: `{"en": …, "zh": …}`."""

    title: dict[str, str]
    opener: dict[str, str]
    suggested: list[dict[str, str]]


class Apps:
    """The published apps, in memory for requests. `refresh()` at start, and when another server changed them.

    An app names its workflow, not a version: a saved edit is live with the next question.
    """

    def __init__(self, db: Database, workflows: Workflows, *, changed: Callable[[], None] = lambda: None) -> None:
        self._db = db
        self._workflows = workflows
        self._changed = changed
        self._known: dict[tuple[str, str], App] = {}

    def refresh(self) -> None:
        """Read all apps again. Safe from any thread."""
        with self._db.read() as conn:
            self._known = {(app.workspace_id, app.name): app for app in store.every_app(conn)}

    def list(self, principal: Principal) -> list[App]:
        """Newest first."""
        mine = [app for app in self._known.values() if app.workspace_id == principal.workspace_id]
        return mine[::-1]

    def get(self, principal: Principal, name: str) -> App:
        """The app of that name; without a name the one that was published first."""
        app = self._known.get((principal.workspace_id, name)) if name else next(reversed(self.list(principal)), None)
        if app is None:
            known = ", ".join(app.name for app in self.list(principal))
            raise AppNotFound(
                f"There is no app named {name!r}." if name else "There is no app yet.",
                hint=f"Known: {known}." if known else "Publish a workflow as an app first.",
            )
        return app

    def publish(self, principal: Principal, name: str, workflow: str, face: Face) -> App:
        """Make a new app of a workflow."""
        if not _NAME.fullmatch(name):
            raise BadAppName(
                f"An app cannot be called {name!r}.",
                hint="Use up to 64 lower-case letters, digits, - and _; begin with a letter or digit.",
            )
        self._workflows.get(principal, workflow)
        published = now()
        app = App(
            id=new_id("app"),
            workspace_id=principal.workspace_id,
            owner_id=principal.user_id,
            name=name,
            workflow=workflow,
            title=face.title,
            opener=face.opener,
            suggested=face.suggested,
            created_at=published,
            updated_at=published,
        )
        with self._db.write() as conn:
            if store.find_app(conn, principal, name):
                raise AppExists(f"There already is an app named {name!r}.", hint="Change it instead.")
            store.insert_app(conn, app)
        self._after_write()
        return app

    def change(self, principal: Principal, name: str, workflow: str, face: Face) -> App:
        """Give an app another workflow or face."""
        self._workflows.get(principal, workflow)
        app = replace(
            self.get(principal, name),
            workflow=workflow,
            title=face.title,
            opener=face.opener,
            suggested=face.suggested,
            updated_at=now(),
        )
        with self._db.write() as conn:
            store.update_app(conn, app)
        self._after_write()
        return app

    def _after_write(self) -> None:
        self.refresh()
        self._changed()
