"""Prompt templates with versions that never change."""

import threading
from collections.abc import Callable, Sequence

from inhouse.core.db import Database
from inhouse.core.errors import Invalid
from inhouse.core.principal import Principal
from inhouse.gateway import store
from inhouse.gateway.policies.prompts import PLACE, PromptNotFound
from inhouse.gateway.store import Prompt


class BadTemplate(Invalid):
    """The text is no template."""


class Prompts:
    """All prompts, in memory. `changed` is called after every write (other servers refresh)."""

    def __init__(self, db: Database, *, changed: Callable[[], None] = lambda: None) -> None:
        self._db = db
        self._changed = changed
        self._prompts: dict[tuple[str, str], dict[int | None, Prompt]] = {}
        self._refreshing = threading.Lock()

    def refresh(self) -> None:
        """Read all prompts again. Safe from any thread."""
        with self._refreshing:
            with self._db.read() as conn:
                every = store.every_prompt(conn)
            found: dict[tuple[str, str], dict[int | None, Prompt]] = {}
            for prompt in every:
                versions = found.setdefault((prompt.workspace_id, prompt.name), {})
                versions[prompt.version] = prompt
                if prompt.is_default:
                    versions[None] = prompt
            self._prompts = found

    def find(self, workspace_id: str, name: str, version: int | None = None) -> str | None:
        """The text of a template, of its default version where none is named."""
        prompt = self._prompts.get((workspace_id, name), {}).get(version)
        return prompt.template if prompt is not None else None

    def list(self, principal: Principal) -> Sequence[Prompt]:
        """The default version of every prompt, by name."""
        return [
            versions[None]
            for (workspace_id, _), versions in self._prompts.items()
            if workspace_id == principal.workspace_id and None in versions
        ]

    def versions(self, principal: Principal, name: str) -> Sequence[Prompt]:
        """Every version, the newest first."""
        found = self._prompts.get((principal.workspace_id, name), {})
        if not found:
            raise PromptNotFound(f"There is no prompt {name!r}.")
        return [prompt for version, prompt in found.items() if version is not None]

    def version(self, principal: Principal, name: str, number: int) -> Prompt:
        found = self._prompts.get((principal.workspace_id, name), {}).get(number)
        if found is None:
            raise PromptNotFound(f"There is no prompt {name!r} version {number}.")
        return found

    def add(self, principal: Principal, name: str, template: str, note: str = "") -> Prompt:
        """Add the next version. The first becomes the default one, later ones when they are chosen."""
        rest = PLACE.sub("", template)
        if "{{" in rest or "{%" in rest:
            raise BadTemplate("A place in a prompt looks like {{ name }}.", hint="There are no expressions or loops.")
        with self._db.write() as conn:
            prompt = store.insert_prompt(conn, principal, name, template, note)
        self._written()
        return prompt

    def choose(self, principal: Principal, name: str, number: int) -> Prompt:
        """Make a version the one that requests get which name none."""
        with self._db.write() as conn:
            found = store.choose_prompt(conn, principal, name, number)
        if not found:
            raise PromptNotFound(f"There is no prompt {name!r} version {number}.")
        self._written()
        return self.version(principal, name, number)

    def _written(self) -> None:
        self.refresh()
        self._changed()


def variables(template: str) -> list[str]:
    """The names of a template's places."""
    return sorted(set(PLACE.findall(template)))
