"""Datasets: immutable versions, addressed by content, with splits that are frozen for ever."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from inhouse.core.blobs import Blobs
from inhouse.core.db import Database
from inhouse.core.errors import Conflict, Invalid, NotFound
from inhouse.core.ids import now
from inhouse.core.principal import Principal
from inhouse.data import reading, store, writing
from inhouse.data.examples import Example, Form, key, label_counts
from inhouse.data.file import FileKind
from inhouse.data.reading import Mapped, Preview
from inhouse.data.split import SHARES, LeaksIntoTest, complete, leaks, split
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


class NothingLeft(Invalid):
    """The version would have no rows."""


class Datasets:
    """All datasets of an installation."""

    def __init__(self, db: Database, blobs: Blobs) -> None:
        self.db = db
        self._blobs = blobs

    def preview(
        self,
        file: bytes | BinaryIO,
        filename: str,
        mapping: Mapped | None = None,
        *,
        form: str | None = None,
        format: str | None = None,
    ) -> Preview:
        """Say what an import would bring, without storing anything."""
        return reading.read(file, filename, mapping, form=form, format=format)

    def create(
        self,
        principal: Principal,
        name: str,
        file: bytes | BinaryIO,
        filename: str,
        mapping: Mapped | None = None,
        *,
        form: str | None = None,
        format: str | None = None,
        skip_bad_rows: bool = False,
    ) -> DatasetVersion:
        """Import a file as version 1. All rows or none, unless bad rows are skipped on purpose."""
        _check_name(name)
        found = reading.read(file, filename, mapping, form=form, format=format)
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
        origin = {
            "op": "import",
            "file": filename,
            "format": found.format,
            "encoding": found.encoding,
            "mapping": found.mapping,
            "skipped": found.problem_count,
        }
        rows = complete(found.examples, found.form)
        return self.start(principal, name, rows, form=found.form, note=f"Imported from {filename}.", origin=origin)

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
        rows = split(examples, shares=shares, seed=seed, form=form)
        return self.start(principal, name, rows, form=form, note=note, origin={"op": "create"})

    def start(
        self,
        principal: Principal,
        name: str,
        rows: Sequence[Example],
        *,
        form: str,
        note: str,
        origin: Mapping[str, Any],
    ) -> DatasetVersion:
        """Make version 1 of rows that have their splits."""
        _check_name(name)
        version = self._version(principal, name, rows, form=form, note=note, origin=origin)
        with self.db.write() as conn:
            if store.dataset_id(conn, principal, name):
                raise DatasetExists(f"There already is a dataset named {name!r}.", hint="Add a version to it instead.")
            store.insert_version(conn, principal, store.insert_dataset(conn, principal, name), version)
        return version

    def add(
        self, principal: Principal, name: str, new: Iterable[Example], *, note: str, parent: int | None = None
    ) -> DatasetVersion:
        """Make the next version: the rows of the parent (the latest by default) and these, for training only.

        A new row replaces a training row that says the same. One that asks what a held-out row asks is refused.
        """
        base = self.get(principal, name, parent)
        added = {key(row, base.form): row.into("train") for row in new}
        rows = self.examples(principal, name, base.number)
        refuse_leaks(added.values(), rows, base.form)
        kept = [row for row in rows if key(row, base.form) not in added]
        merged = kept + list(added.values())
        if {row.id for row in merged} == {row.id for row in rows}:
            raise NothingNew(f"{base.reference} already has all of these rows.")
        origin = {"op": "add", "rows": len(added)}
        return self.follow(principal, base, merged, note=note, origin=origin, is_branch=parent is not None)

    def follow(
        self,
        principal: Principal,
        base: DatasetVersion,
        rows: Sequence[Example],
        *,
        note: str,
        origin: Mapping[str, Any],
        is_branch: bool = False,
    ) -> DatasetVersion:
        """Make the next version with exactly these rows. Unless it is a branch, its base has to be the newest."""
        if not rows:
            raise NothingLeft("No row would be left.", hint="Choose fewer conditions.")
        draft = self._version(principal, base.dataset, rows, form=base.form, note=note, origin=origin)
        with self.db.write() as conn:
            dataset = store.lock_dataset(conn, principal, base.dataset)
            newest = max(version.number for version in store.list_versions(conn, principal, base.dataset))
            if not is_branch and newest != base.number:
                raise VersionMeanwhile(f"{base.dataset!r} has got version {newest} meanwhile.", hint="Try again.")
            version = replace(draft, number=newest + 1, parent=base.number)
            store.insert_version(conn, principal, dataset, version)
        return version

    def take_out(self, principal: Principal, version: DatasetVersion, user: str) -> DatasetVersion:
        """Let a stored version no longer have the rows of a user. What it was is told by its origin."""
        rows = self.examples(principal, version.dataset, version.number)
        left = [row for row in rows if row.user != user]
        trace = {"digest": version.digest, "rows": len(rows) - len(left), "at": now()}
        origin = {**version.origin, "erased": [*version.origin.get("erased", []), trace]}
        shorter = self._version(principal, version.dataset, left, form=version.form, note=version.note, origin=origin)
        changed = replace(
            version,
            digest=shorter.digest,
            count=shorter.count,
            labels=shorter.labels,
            splits=shorter.splits,
            origin=origin,
            erased=version.erased + len(rows) - len(left),
        )
        with self.db.write() as conn:
            store.replace_rows(conn, store.lock_dataset(conn, principal, version.dataset), changed)
        self._free([version.digest])
        return changed

    def delete(self, principal: Principal, name: str) -> None:
        """Remove every version. Whether anything still needs the dataset is for the caller to know."""
        digests = [version.digest for version in self.versions(principal, name)]
        with self.db.write() as conn:
            store.delete_dataset(conn, store.lock_dataset(conn, principal, name))
        self._free(digests)

    def latest(self, principal: Principal) -> list[DatasetVersion]:
        """The latest version of each dataset, newest first."""
        latest: dict[str, DatasetVersion] = {}
        for version in self.every(principal):
            if version.dataset not in latest or version.number > latest[version.dataset].number:
                latest[version.dataset] = version
        return list(latest.values())

    def every(self, principal: Principal) -> list[DatasetVersion]:
        """Every version of each dataset, newest first."""
        with self.db.read() as conn:
            return store.list_versions(conn, principal)

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
        return self.rows(self.get(principal, name, number), split=split)

    def rows(self, version: DatasetVersion, *, split: str | None = None) -> list[Example]:
        """The rows of a version that was got before."""
        rows = [Example.read(line) for line in self._blobs.get(version.digest).splitlines()]
        return [row for row in rows if split is None or row.split == split]

    def export(self, principal: Principal, name: str, number: int, directory: Path) -> DatasetVersion:
        """Write `train.jsonl`, `dev.jsonl`, `test.jsonl` and `dataset.json` for a training process."""
        version = self.get(principal, name, number)
        rows = self.rows(version)
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

    def write(self, version: DatasetVersion, format: str, out: BinaryIO, *, split: str | None = None) -> type[FileKind]:
        """Write the rows of a version as a file for other programs, and say which kind of file it is."""
        writing.write(self.rows(version, split=split), Form(version.form), format, out)
        return writing.kind_for(format, Form(version.form))

    def _version(
        self,
        principal: Principal,
        name: str,
        rows: Iterable[Example],
        *,
        form: str,
        note: str,
        origin: Mapping[str, Any],
    ) -> DatasetVersion:
        rows = sorted(rows, key=lambda row: (row.split, row.label, row.id))
        content = "".join(json.dumps(row.wire(), ensure_ascii=False, sort_keys=True) + "\n" for row in rows)
        return DatasetVersion(
            dataset=name,
            number=1,
            digest=self._blobs.put(content.encode()),
            parent=None,
            count=len(rows),
            labels=dict(sorted(label_counts(rows, form).items())),
            splits=dict(sorted(Counter(row.split for row in rows).items())),
            note=note,
            owner_id=principal.user_id,
            created_at=now(),
            form=form,
            origin=dict(origin),
        )

    def _free(self, digests: Iterable[str]) -> None:
        """Remove rows that no version has any more."""
        for digest in set(digests):
            with self.db.write() as conn:  # nobody can store a version with them meanwhile
                if not store.is_used(conn, digest):
                    self._blobs.remove(digest)

    def _known(self, principal: Principal) -> str:
        names = ", ".join(version.dataset for version in self.latest(principal))
        return f"Known: {names}." if names else "Import one first: inhouse data import FILE --name NAME."


def refuse_leaks(new: Iterable[Example], rows: Iterable[Example], form: str) -> None:
    """Raise `LeaksIntoTest` when a new training row asks what a held-out row asks."""
    if leaking := leaks(new, rows, form):
        raise LeaksIntoTest(
            f"{len(leaking)} rows are among the held-out test rows, the first is {leaking[0].text!r}.",
            hint="They would make the test meaningless: leave them out.",
            texts=[row.text for row in leaking[:100]],
        )


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadName(
            f"{name!r} cannot be a dataset's name.", hint="Lower-case letters, digits, '.', '_' and '-', up to 100."
        )
