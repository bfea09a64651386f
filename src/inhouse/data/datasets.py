"""Datasets: immutable versions, addressed by content, with splits that are frozen for ever."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from inhouse.core.blobs import Blobs
from inhouse.core.db import Database
from inhouse.core.errors import Conflict, Invalid, NotFound
from inhouse.core.ids import now
from inhouse.core.principal import Principal
from inhouse.data import importers, store
from inhouse.data.examples import Example, Form, normalise
from inhouse.data.importers import Preview
from inhouse.data.split import SHARES, LeaksIntoTest, leaks, split
from inhouse.data.store import DatasetVersion

_NAME = re.compile(r"[a-z0-9][a-z0-9._\-]{0,99}")


class DatasetNotFound(NotFound):
    """No dataset or version of this workspace has that name."""


class DatasetExists(Conflict):
    """The name is taken."""


class VersionMeanwhile(Conflict):
    """Somebody else made a version at the same time."""


class BadName(Invalid):
    """Not a name for a dataset."""


class BadRows(Invalid):
    """Some rows of the file cannot be imported, so none was."""


class NothingNew(Invalid):
    """Every row is in the dataset already."""


class Datasets:
    """All datasets of an installation."""

    def __init__(self, db: Database, blobs: Blobs) -> None:
        self.db = db
        self._blobs = blobs

    def preview(self, data: bytes, filename: str, mapping: Mapping[str, str] | None = None) -> Preview:
        """Say what an import would bring, without storing anything."""
        return importers.read(data, filename, mapping)

    def create(
        self,
        principal: Principal,
        name: str,
        data: bytes,
        filename: str,
        mapping: Mapping[str, str] | None = None,
        *,
        shares: Mapping[str, float] = SHARES,
        seed: int = 0,
        skip_bad_rows: bool = False,
    ) -> DatasetVersion:
        """Import a file as version 1. All rows or none, unless bad rows are skipped on purpose."""
        _check_name(name)
        found = importers.read(data, filename, mapping)
        if found.problem_count and not skip_bad_rows:
            first = found.problems[0]
            raise BadRows(
                f"{found.problem_count} of the rows cannot be imported; the first is row {first.row}, "
                f"column {first.column!r}: {first.message}",
                hint="Nothing was imported. Correct the rows, or import with skip_bad_rows.",
                problems=[{"row": p.row, "column": p.column, "message": p.message} for p in found.problems],
            )
        if not found.examples:
            raise BadRows("No row of the file can be imported.")
        note = f"Imported from {filename}."
        return self.create_from(principal, name, found.examples, note=note, shares=shares, seed=seed)

    def create_from(
        self,
        principal: Principal,
        name: str,
        examples: Iterable[Example],
        *,
        form: Form = Form.TEXT,
        note: str,
        shares: Mapping[str, float] = SHARES,
        seed: int = 0,
    ) -> DatasetVersion:
        """Make version 1 of these rows, split and frozen."""
        _check_name(name)
        rows = split(examples, shares=shares, seed=seed)
        draft = self._version(principal, name, rows, number=1, parent=None, note=note)
        version = replace(draft, form=form)
        with self.db.write() as conn:
            if store.dataset_id(conn, principal, name):
                raise DatasetExists(f"There already is a dataset named {name!r}.", hint="Add a version to it instead.")
            store.insert_version(conn, principal, store.insert_dataset(conn, principal, name), version)
        return version

    def add(
        self, principal: Principal, name: str, new: Iterable[Example], *, note: str, parent: int | None = None
    ) -> DatasetVersion:
        """Make the next version: the rows of the parent (the latest by default) and these, for training only.

        A new row replaces a training row with the same text. A row whose text is held out for testing is refused.
        """
        added = {normalise(row.text): row.into("train") for row in new}
        base = self.get(principal, name, parent)
        rows = self.examples(principal, name, base.number)
        if leaking := leaks(added.values(), rows):
            raise LeaksIntoTest(
                f"{len(leaking)} rows are among the held-out test rows, the first is {leaking[0].text!r}.",
                hint="They would make the test meaningless: leave them out.",
                texts=[row.text for row in leaking[:100]],
            )
        kept = [row for row in rows if normalise(row.text) not in added]
        merged = kept + list(added.values())
        if {(row.text, row.label) for row in merged} == {(row.text, row.label) for row in rows}:
            raise NothingNew(f"{base.reference} already has all of these rows.")
        draft = self._version(principal, name, merged, number=0, parent=base.number, note=note)
        with self.db.write() as conn:
            dataset = store.lock_dataset(conn, principal, name)
            newest = max(version.number for version in store.list_versions(conn, principal, name))
            if parent is None and newest != base.number:
                raise VersionMeanwhile(f"{name!r} has got version {newest} meanwhile.", hint="Try again.")
            version = replace(draft, number=newest + 1, form=base.form)
            store.insert_version(conn, principal, dataset, version)
        return version

    def latest(self, principal: Principal) -> list[DatasetVersion]:
        """The latest version of each dataset, newest first."""
        with self.db.read() as conn:
            every = store.list_versions(conn, principal)
        latest: dict[str, DatasetVersion] = {}
        for version in every:
            if version.dataset not in latest or version.number > latest[version.dataset].number:
                latest[version.dataset] = version
        return list(latest.values())

    def versions(self, principal: Principal, name: str) -> list[DatasetVersion]:
        with self.db.read() as conn:
            found = store.list_versions(conn, principal, name)
        if not found:
            raise DatasetNotFound(f"There is no dataset named {name!r}.", hint=self._known(principal))
        return sorted(found, key=lambda version: -version.number)

    def get(self, principal: Principal, name: str, number: int | None = None) -> DatasetVersion:
        """One version, the latest by default."""
        versions = self.versions(principal, name)
        if number is None:
            return versions[0]
        for version in versions:
            if version.number == number:
                return version
        raise DatasetNotFound(f"{name!r} has no version {number}.", hint=f"The latest is {versions[0].number}.")

    def examples(
        self, principal: Principal, name: str, number: int | None = None, *, split: str | None = None
    ) -> list[Example]:
        version = self.get(principal, name, number)
        rows = [Example.read(line) for line in self._blobs.get(version.digest).splitlines()]
        return [row for row in rows if split is None or row.split == split]

    def export(self, principal: Principal, name: str, number: int, directory: Path) -> DatasetVersion:
        """Write `train.jsonl`, `dev.jsonl`, `test.jsonl` and `dataset.json` for a training process."""
        version = self.get(principal, name, number)
        rows = self.examples(principal, name, number)
        directory.mkdir(parents=True, exist_ok=True)
        for part in ("train", "dev", "test"):
            lines = [json.dumps(row.wire(), ensure_ascii=False) for row in rows if row.split == part]
            (directory / f"{part}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        about = {
            "name": name,
            "version": number,
            "form": version.form,
            "digest": version.digest,
            "labels": version.labels,
        }
        (directory / "dataset.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
        return version

    def _version(
        self, principal: Principal, name: str, rows: list[Example], *, number: int, parent: int | None, note: str
    ) -> DatasetVersion:
        rows = sorted(rows, key=lambda row: (row.split, row.label, row.id))
        content = "".join(json.dumps(row.wire(), ensure_ascii=False, sort_keys=True) + "\n" for row in rows)
        return DatasetVersion(
            dataset=name,
            number=number,
            digest=self._blobs.put(content.encode()),
            parent=parent,
            count=len(rows),
            labels=dict(sorted(Counter(row.label for row in rows).items())),
            splits=dict(sorted(Counter(row.split for row in rows).items())),
            note=note,
            owner_id=principal.user_id,
            created_at=now(),
        )

    def _known(self, principal: Principal) -> str:
        names = ", ".join(version.dataset for version in self.latest(principal))
        return f"Known: {names}." if names else "Import one first: inhouse data import FILE --name NAME."


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadName(
            f"{name!r} cannot be a dataset's name.", hint="Lower-case letters, digits, '.', '_' and '-', up to 100."
        )
