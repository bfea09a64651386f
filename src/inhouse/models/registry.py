"""The model registry: immutable versions with lineage, and the aliases that point at them."""

import json
import re
import shutil
import threading
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from inhouse.core.blobs import Blobs
from inhouse.core.db import Database
from inhouse.core.errors import Conflict, Invalid, NotFound
from inhouse.core.ids import now
from inhouse.core.principal import Principal
from inhouse.models import store
from inhouse.models.manifest import NAME as MANIFEST
from inhouse.models.manifest import read_manifest
from inhouse.models.store import Evaluation, ModelVersion, Variant

_NAME = re.compile(r"[a-z0-9][a-z0-9._\-]{0,99}")
_ALIAS = re.compile(r"[a-z][a-z0-9_\-]{0,63}")
LIVE = "live"
CANDIDATE = "candidate"
RELEASED = (LIVE, CANDIDATE)
"""The aliases that releases move, and nobody else."""

_WEIGHTS = (".safetensors", ".onnx", ".pt", ".pt2")
"""What is freed with a version: large, and of no use to anything but models."""


class ModelNotFound(NotFound):
    """No model or version of this workspace has that name."""


class BadModelName(Invalid):
    """Not a name for a model."""


class BadAlias(Invalid):
    """Not an alias that can be given by hand."""


class VersionInUse(Conflict):
    """The version cannot be deleted as long as something holds on to it."""


class VariantNotFound(NotFound):
    """The version has not that variant, or its files were refused."""


class EvaluationNotFound(NotFound):
    """No evaluation of this workspace has that id."""


class ModelRegistry:
    """All models of an installation."""

    def __init__(self, db: Database, blobs: Blobs, cache: Path) -> None:
        self.db = db
        self._blobs = blobs
        self._cache = cache
        self._storing = threading.Lock()

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
        with self._stored(directory) as (digest, size), self.db.write() as conn:
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

    def directory(self, principal: Principal, name: str, number: int, *, variant: str = "") -> Path:
        """A local directory with the files of a version, or of one of its variants, every digest verified."""
        digest = self.get(principal, name, number).digest
        if variant:
            digest = self._variant(principal, name, number, variant).digest
        return self._blobs.materialize(digest, self._cache)

    def manifest(self, principal: Principal, name: str, number: int) -> dict[str, Any]:
        """What the version's files say of themselves."""
        listing = self._blobs.tree(self.get(principal, name, number).digest)
        return json.loads(self._blobs.get(listing[MANIFEST]["digest"]))

    def annotate(
        self, principal: Principal, name: str, number: int, *, note: str | None = None, is_protected: bool | None = None
    ) -> ModelVersion:
        """Write a note on a version, or protect it from being deleted; None leaves what is there."""
        self.get(principal, name, number)
        given = {"note": note, "is_protected": is_protected}
        if changes := {column: value for column, value in given.items() if value is not None}:
            with self.db.write() as conn:
                store.update_version(conn, principal, name, number, **changes)
        return self.get(principal, name, number)

    def delete(self, principal: Principal, name: str, number: int, *, answering: Collection[int] = ()) -> None:
        """Forget a version and free its weights. What it was and who made it stays written down.

        `answering` are the versions that get traffic; neither they nor protected or aliased ones can be deleted.
        """
        version = self.get(principal, name, number)
        with self._storing:
            with self.db.write() as conn:
                aliases = self.lock(conn, principal, name)
                _check_free(version, aliases, answering)
                trees = {version.digest, *(one.digest for one in store.list_variants(conn, principal, name, number))}
                store.delete_figures(conn, principal, name, number)
                lineage = {
                    **version.lineage,
                    "kind": version.kind,
                    "deleted_by": principal.user_id,
                    "deleted_at": now(),
                }
                store.update_version(
                    conn, principal, name, number, kind=store.DELETED, lineage=lineage, is_protected=False
                )
                in_use = store.digests_in_use(conn)
            self._free(trees - {""}, in_use)

    def variants(self, principal: Principal, name: str, number: int) -> list[Variant]:
        """The formats that a version was exported to, with what was measured of each."""
        self.get(principal, name, number)
        with self.db.read() as conn:
            return store.list_variants(conn, principal, name, number)

    def put_variant(
        self, principal: Principal, name: str, number: int, variant: Variant, directory: Path | None = None
    ) -> Variant:
        """Note a variant, in place of the one of that name, with its files where it has any."""
        if directory is None:
            with self.db.write() as conn:
                store.put_variant(conn, principal, name, number, variant)
            return variant
        with self._stored(directory) as (digest, size), self.db.write() as conn:
            variant = Variant(**{**asdict(variant), "digest": digest, "size_bytes": size})
            store.put_variant(conn, principal, name, number, variant)
        return variant

    def evaluations(self, principal: Principal, name: str, number: int) -> list[Evaluation]:
        """Newest first."""
        self.get(principal, name, number)
        with self.db.read() as conn:
            return store.list_evaluations(conn, principal, name, number)

    def evaluation(self, principal: Principal, evaluation_id: str) -> Evaluation:
        with self.db.read() as conn:
            found = store.find_evaluation(conn, principal, evaluation_id)
        if found is None:
            raise EvaluationNotFound(f"There is no evaluation {evaluation_id!r}.")
        return found

    def put_evaluation(self, principal: Principal, evaluation: Evaluation) -> Evaluation:
        """Store a new evaluation, or how a known one ended."""
        with self.db.write() as conn:
            if store.find_evaluation(conn, principal, evaluation.id):
                store.update_evaluation(conn, principal, evaluation)
            else:
                store.insert_evaluation(conn, principal, evaluation)
        return evaluation

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

    def point(self, principal: Principal, name: str, alias: str, number: int | None) -> dict[str, int]:
        """Give a version an alias by hand, or take it away (None); return the aliases as they are then."""
        if not _ALIAS.fullmatch(alias):
            raise BadAlias(f"{alias!r} cannot be an alias.", hint="A lower-case letter, then letters, digits, _ or -.")
        if alias in RELEASED:
            raise BadAlias(f"The alias {alias!r} is moved by releases.", hint="Release the version instead.")
        self.get(principal, name, alias if number is None else number)
        with self.db.write() as conn:
            self.lock(conn, principal, name)
            self.set_alias(conn, principal, name, alias, number)
        return self.aliases(principal, name)

    def _variant(self, principal: Principal, name: str, number: int, variant: str) -> Variant:
        known = {one.name: one for one in self.variants(principal, name, number)}
        found = known.get(variant)
        if found is None:
            raise VariantNotFound(
                f"{name}:{number} has no variant {variant!r}.", hint="Known: " + (", ".join(known) or "none") + "."
            )
        if not found.digest:
            raise VariantNotFound(f"The variant {variant!r} of {name}:{number} is {found.status}.", hint=found.reason)
        return found

    @contextmanager
    def _stored(self, directory: Path) -> Generator[tuple[str, int]]:
        """Store a directory; give its digest and size. Nothing is freed until the caller has written it down."""
        with self._storing:
            digest = self._blobs.put_tree(directory)
            yield digest, sum(entry["size"] for entry in self._blobs.tree(digest).values())

    def _free(self, trees: Collection[str], in_use: Collection[str]) -> None:
        """Remove the weights of trees that nobody has any more. Small files stay: others may have stored the same."""
        kept = {entry["digest"] for tree in in_use if tree for entry in self._blobs.tree(tree).values()}
        for tree in set(trees) - set(in_use):
            for path, entry in self._blobs.tree(tree).items():
                if path.endswith(_WEIGHTS) and entry["digest"] not in kept:
                    self._blobs.remove(entry["digest"])
            shutil.rmtree(self._cache / tree.removeprefix("sha256:"), ignore_errors=True)


def _check_free(version: ModelVersion, aliases: Mapping[str, int], answering: Collection[int]) -> None:
    names = sorted(alias for alias, number in aliases.items() if number == version.number)
    if version.is_protected:
        raise VersionInUse(f"{version.reference} is protected.", hint="Take the protection away first.")
    if names:
        raise VersionInUse(f"{version.reference} has the alias {names[0]!r}.", hint="Point it elsewhere first.")
    if version.number in answering:
        raise VersionInUse(f"{version.reference} gets traffic.", hint="Deploy another version first.")


def check_name(name: str) -> None:
    """Raise `BadModelName` unless the name can be a model's (checked before a run starts, too)."""
    if not _NAME.fullmatch(name):
        raise BadModelName(
            f"{name!r} cannot be a model's name.", hint="Lower-case letters, digits, '.', '_' and '-', up to 100."
        )
