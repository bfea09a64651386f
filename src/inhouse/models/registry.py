"""The model registry: immutable versions with lineage, and the aliases that point at them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from inhouse.core.blobs import Blobs
from inhouse.core.db import Database
from inhouse.core.errors import Invalid, NotFound
from inhouse.core.ids import now
from inhouse.core.principal import Principal
from inhouse.models import store
from inhouse.models.manifest import read_manifest
from inhouse.models.store import ModelVersion

_NAME = re.compile(r"[a-z0-9][a-z0-9._\-]{0,99}")
LIVE = "live"
CANDIDATE = "candidate"


class ModelNotFound(NotFound):
    """No model or version of this workspace has that name."""


class BadModelName(Invalid):
    """Not a name for a model."""


class ModelRegistry:
    """All models of an installation."""

    def __init__(self, db: Database, blobs: Blobs, cache: Path) -> None:
        self.db = db
        self._blobs = blobs
        self._cache = cache

    def register(
        self,
        principal: Principal,
        name: str,
        directory: Path,
        *,
        kind: str,
        metrics: Mapping[str, Any],
        lineage: Mapping[str, Any],
    ) -> ModelVersion:
        """Store an artifact directory as the model's next version.

        A run registers once: the same `lineage["run_id"]` again gives the version it already made.
        """
        check_name(name)
        manifest = read_manifest(directory)
        digest = self._blobs.put_tree(directory)
        size = sum(entry["size"] for entry in self._blobs.tree(digest).values())
        with self.db.write() as conn:
            run_id = lineage.get("run_id")
            if run_id and (made := store.version_of_run(conn, principal, run_id)):
                return made
            model = store.ensure_model(conn, principal, name)
            version = ModelVersion(
                model=name,
                number=store.next_number(conn, model),
                kind=kind,
                digest=digest,
                size_bytes=size,
                labels=list(manifest.get("labels", [])),
                metrics=dict(metrics),
                lineage=dict(lineage),
                owner_id=principal.user_id,
                created_at=now(),
            )
            store.insert_version(conn, principal, model, version)
        return version

    def latest(self, principal: Principal) -> list[ModelVersion]:
        """The newest version of each model."""
        with self.db.read() as conn:
            every = store.list_versions(conn, principal)
        newest: dict[str, ModelVersion] = {}
        for version in every:
            if version.model not in newest or version.number > newest[version.model].number:
                newest[version.model] = version
        return list(newest.values())

    def versions(self, principal: Principal, name: str) -> list[ModelVersion]:
        """All versions of a model, newest first."""
        with self.db.read() as conn:
            found = store.list_versions(conn, principal, name)
        if not found:
            names = ", ".join(version.model for version in self.latest(principal))
            hint = f"Known: {names}." if names else "Train one first: inhouse train start."
            raise ModelNotFound(f"There is no model named {name!r}.", hint=hint)
        return sorted(found, key=lambda version: -version.number)

    def get(self, principal: Principal, name: str, version: int | str = LIVE) -> ModelVersion:
        """One version by number or alias."""
        versions = self.versions(principal, name)
        wanted = version
        if isinstance(version, str):
            wanted = self.aliases(principal, name).get(version)
            if wanted is None:
                raise ModelNotFound(f"{name!r} has no alias {version!r}.")
        for found in versions:
            if found.number == wanted:
                return found
        raise ModelNotFound(f"{name!r} has no version {wanted}.", hint=f"The newest is {versions[0].number}.")

    def directory(self, principal: Principal, name: str, number: int) -> Path:
        """A local directory with the version's files, every digest verified."""
        return self._blobs.materialize(self.get(principal, name, number).digest, self._cache)

    def aliases(self, principal: Principal, name: str) -> dict[str, int]:
        return self.every_alias(principal).get(name, {})

    def every_alias(self, principal: Principal) -> dict[str, dict[str, int]]:
        """Model name -> alias -> version number."""
        with self.db.read() as conn:
            return store.list_aliases(conn, principal)

    def lock(self, conn: Connection, principal: Principal, name: str) -> dict[str, int]:
        """Hold a model until the caller's transaction ends, and give its aliases as they are now."""
        store.lock_model(conn, principal, name)
        return store.list_aliases(conn, principal).get(name, {})

    def set_alias(self, conn: Connection, principal: Principal, name: str, alias: str, number: int | None) -> None:
        """Point an alias at a version (or remove it) inside the caller's transaction."""
        store.set_alias(conn, principal, name, alias, number)


def check_name(name: str) -> None:
    """Raise `BadModelName` unless the name can be a model's (checked before a run starts, too)."""
    if not _NAME.fullmatch(name):
        raise BadModelName(
            f"{name!r} cannot be a model's name.", hint="Lower-case letters, digits, '.', '_' and '-', up to 100."
        )
