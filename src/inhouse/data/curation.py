"""Making better versions: rows chosen, corrected, mixed, augmented, and without those of who asked to leave."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from threading import Lock
from typing import Any, Protocol

from inhouse.core.errors import Conflict, Invalid
from inhouse.core.principal import Principal
from inhouse.data.augmenter import BadAugmentation, Made, Order, Writer, augmenters, configured
from inhouse.data.changes import Change, compare
from inhouse.data.columns import Unfit, columns_of, example_of
from inhouse.data.datasets import DatasetNotFound, Datasets, refuse_leaks
from inhouse.data.examples import Example, Form, key, question
from inhouse.data.filters import Filter
from inhouse.data.mix import Ingredient, Mixed, mix
from inhouse.data.near import THRESHOLD
from inhouse.data.report import Report, report
from inhouse.data.store import DatasetVersion

_KEPT_REPORTS = 32


class NoSuchRow(Invalid):
    """An edit names a row that the version does not have."""


class BadEdit(Invalid):
    """A row cannot be changed like that."""


class NothingChosen(Invalid):
    """Nothing would be different."""


class DifferentForms(Invalid):
    """Datasets of different forms cannot be mixed."""


class NothingMade(Invalid):
    """No new row came out."""


class DatasetInUse(Conflict):
    """Something still names the dataset."""


class Lineage(Protocol):
    """What was made of dataset versions."""

    def trained_on(self, principal: Principal) -> Mapping[str, Sequence[str]]:
        """Dataset reference -> the model versions that were trained on it."""
        ...

    def fed_by(self, principal: Principal, dataset: str) -> Sequence[str]:
        """What else names a dataset, such as a labelling queue, for people to read."""
        ...


class Waiting(Protocol):
    """Rows that are in no dataset yet."""

    def erase(self, principal: Principal, user: str) -> int:
        """Remove those with this user's words; return how many there were."""
        ...


@dataclass(frozen=True, slots=True)
class Edit:
    """What to change about a row; what is None stays."""

    id: str
    text: str | None = None
    label: str | None = None
    content: Mapping[str, Any] | None = None
    remove: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """A dataset version that goes into a mix, the newest by default, and its share of the training rows."""

    dataset: str
    version: int | None
    share: float


@dataclass(frozen=True, slots=True)
class Augmented:
    """The version, and what making its new rows took. `dropped` would have repeated a row or leaked into the test."""

    version: DatasetVersion
    added: int
    dropped: int
    failed: int
    tokens: int
    cost: float | None


@dataclass(frozen=True, slots=True)
class Erased:
    """Where rows of a user were: every version has lost them, the new versions are those to go on with.

    `tasks` counts the rows that waited to be labelled.
    """

    rows: int
    tasks: int
    versions: list[str]
    made: list[str]
    models: list[str]


class Curation:
    """What can be done with the versions of datasets. None is ever changed but by erasing."""

    def __init__(
        self,
        datasets: Datasets,
        *,
        writer: Writer | None = None,
        lineage: Lineage | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        self._datasets = datasets
        self._waiting = waiting
        self._writer = writer
        self._lineage = lineage
        self._reports: OrderedDict[tuple[str, float], Report] = OrderedDict()
        self._lock = Lock()

    def diff(self, principal: Principal, name: str, old: int, new: int) -> list[Change]:
        before, after = (self._datasets.get(principal, name, number) for number in (old, new))
        return compare(self._datasets.rows(before), self._datasets.rows(after), after.form)

    def report(self, principal: Principal, name: str, number: int, threshold: float = THRESHOLD) -> Report:
        """What a version is like. Rows never change, so the last few reports are kept."""
        version = self._datasets.get(principal, name, number)
        with self._lock:
            known = self._reports.get((version.digest, threshold))
        if known is not None:
            return known
        made = report(self._datasets.rows(version), version.form, threshold)
        with self._lock:
            self._reports[version.digest, threshold] = made
            while len(self._reports) > _KEPT_REPORTS:
                self._reports.popitem(last=False)
        return made

    def filter(
        self, principal: Principal, name: str, chosen: Filter, *, version: int | None = None, note: str = ""
    ) -> DatasetVersion:
        """Make the next version with the rows that meet every condition."""
        base = self._datasets.get(principal, name, version)
        rows = self._datasets.rows(base)
        kept = [row for row in rows if chosen.passes(row)]
        if len(kept) == len(rows):
            raise NothingChosen("Every row meets these conditions, so nothing would be left out.")
        origin = {"op": "filter", "filter": chosen.said(), "removed": len(rows) - len(kept)}
        return self._datasets.follow(
            principal, base, kept, note=note or "Filtered.", origin=origin, is_branch=version is not None
        )

    def edit(
        self, principal: Principal, name: str, edits: Sequence[Edit], *, version: int | None = None, note: str = ""
    ) -> DatasetVersion:
        """Make the next version with rows changed or removed. Each stays in its split."""
        base = self._datasets.get(principal, name, version)
        rows = {row.id: row for row in self._datasets.rows(base)}
        wanted = {edit.id: edit for edit in edits}
        if missing := wanted.keys() - rows.keys():
            raise NoSuchRow(f"{base.reference} has no row {min(missing)!r}.", hint="Rows are named by their id.")
        form = Form(base.form)
        before = [row for row in rows.values() if row.id not in wanted]
        changed = [_edited(rows[edit.id], edit, form) for edit in wanted.values() if not edit.remove]
        refuse_leaks([row for row in changed if row.split == "train"], [*before, *changed], form)
        together = {key(row, form): row for row in [*before, *changed]}
        if len(together) < len(before) + len(changed):
            raise BadEdit("Two rows would say the same.", hint="Remove one of them.")
        if {row.id for row in together.values()} == rows.keys():
            raise NothingChosen("The rows are like that already.")
        origin = {"op": "edit", "changed": len(changed), "removed": len(wanted) - len(changed)}
        rows_now = list(together.values())
        return self._datasets.follow(
            principal, base, rows_now, note=note or "Edited.", origin=origin, is_branch=version is not None
        )

    def mix(
        self,
        principal: Principal,
        name: str,
        parts: Sequence[Part],
        *,
        size: int | None = None,
        seed: int = 0,
        note: str = "",
    ) -> tuple[DatasetVersion, Mixed]:
        """Make a dataset, or its next version, of others. What the one before held out stays held out."""
        sources = [self._datasets.get(principal, part.dataset, part.version) for part in parts]
        before = self._newest(principal, name)
        forms = {source.form for source in sources} | ({before.form} if before else set())
        if len(forms) > 1:
            raise DifferentForms("Only rows of one form can be mixed.", hint="Forms: " + ", ".join(sorted(forms)))
        ingredients = [
            Ingredient(source.reference, self._datasets.rows(source), part.share)
            for source, part in zip(sources, parts, strict=True)
        ]
        held = [row for row in self._datasets.rows(before) if row.split != "train"] if before else []
        mixed = mix(ingredients, sources[0].form, size=size, seed=seed, held=held)
        origin = {
            "op": "mix",
            "parents": {one.reference: one.share for one in ingredients},
            "taken": mixed.taken,
            "seed": seed,
            "size": size,
            "repeated": mixed.repeated,
            "leaking": mixed.leaking,
        }
        note = note or "Mixed from " + ", ".join(one.reference for one in ingredients) + "."
        if before is not None:
            return self._datasets.follow(principal, before, mixed.rows, note=note, origin=origin), mixed
        made = self._datasets.start(principal, name, mixed.rows, form=sources[0].form, note=note, origin=origin)
        return made, mixed

    async def augment(
        self,
        principal: Principal,
        name: str,
        how: str,
        settings: Mapping[str, Any],
        *,
        count: int,
        version: int | None = None,
        seed: int = 0,
        note: str = "",
    ) -> Augmented:
        """Make the next version with up to so many new training rows, made of the training rows that people wrote."""
        way = configured(how, dict(settings))
        if count > way.most:
            raise BadAugmentation(f"{how!r} makes {way.most:,} rows at once at most.")
        base = await asyncio.to_thread(self._datasets.get, principal, name, version)
        rows = await asyncio.to_thread(self._datasets.rows, base)
        form = Form(base.form)
        if form not in way.forms:
            able = [other for other in augmenters if form in augmenters[other].forms]
            raise BadAugmentation(
                f"{how!r} makes no rows of the form {form.value!r}.",
                hint="For such rows: " + (", ".join(able) or "none so far."),
            )
        sources = [row for row in rows if row.split == "train" and not row.is_synthetic]
        if not sources:
            raise BadAugmentation(f"{base.reference} has no training rows to make others of.")
        made = await way.make(Order(principal, sources, form, count, Random(seed), self._writer))
        new = _new(made, rows, form)
        if not new:
            raise NothingMade(
                f"None of the {len(made.rows)} rows that were made is new.",
                hint="Ask for others, or change the settings.",
            )
        origin = {
            "op": "augment",
            "how": how,
            "settings": dict(settings),
            "seed": seed,
            "added": len(new),
            "tokens": made.tokens,
            "cost": made.cost,
        }
        following = await asyncio.to_thread(
            self._datasets.follow,
            principal,
            base,
            [*rows, *new],
            note=note or f"{len(new)} synthetic rows ({how}).",
            origin=origin,
            is_branch=version is not None,
        )
        return Augmented(following, len(new), len(made.rows) - len(new), made.failed, made.tokens, made.cost)

    def erase(self, principal: Principal, user: str) -> Erased:
        """Take every row of a user out of every version, and make a new one where the newest had any."""
        touched: list[DatasetVersion] = []
        made: list[str] = []
        count = 0
        for newest in self._datasets.latest(principal):
            holding = [
                version
                for version in self._datasets.versions(principal, newest.dataset)
                if any(row.user == user for row in self._datasets.rows(version))
            ]
            if not holding:
                continue
            rows = self._datasets.rows(newest)
            left = [row for row in rows if row.user != user]
            if newest.number in {version.number for version in holding} and left:
                origin = {"op": "erase", "removed": len(rows) - len(left)}
                note = "Without the rows of a user who asked for it."
                made.append(self._datasets.follow(principal, newest, left, note=note, origin=origin).reference)
            for version in holding:
                after = self._datasets.take_out(principal, version, user)
                count += after.erased - version.erased
            touched += holding
        with self._lock:
            self._reports.clear()  # they quote rows
        references = [version.reference for version in touched]
        tasks = self._waiting.erase(principal, user) if self._waiting else 0
        return Erased(count, tasks, references, made, self._models(principal, references))

    def delete(self, principal: Principal, name: str) -> None:
        """Remove a dataset that no model was trained on and nothing feeds."""
        references = [version.reference for version in self._datasets.versions(principal, name)]
        users = [*self._models(principal, references), *self._others(principal, name)]
        if users:
            raise DatasetInUse(
                f"{name!r} is still needed by {', '.join(users[:5])}{' …' if len(users) > 5 else ''}.",
                hint="What a model learned from has to stay known as long as there is the model.",
                used_by=users,
            )
        self._datasets.delete(principal, name)

    def _newest(self, principal: Principal, name: str) -> DatasetVersion | None:
        try:
            return self._datasets.get(principal, name)
        except DatasetNotFound:
            return None

    def _models(self, principal: Principal, references: Sequence[str]) -> list[str]:
        if self._lineage is None:
            return []
        trained = self._lineage.trained_on(principal)
        return sorted({model for reference in references for model in trained.get(reference, ())})

    def _others(self, principal: Principal, name: str) -> Sequence[str]:
        return self._lineage.fed_by(principal, name) if self._lineage else []


def _edited(row: Example, edit: Edit, form: Form) -> Example:
    """The row as changed, checked like one of a file."""
    changed = replace(
        row,
        text=row.text if edit.text is None else edit.text,
        label=row.label if edit.label is None else edit.label,
        content={**row.content, **(edit.content or {})},
    )
    if edit.label is not None and form == Form.TEXT and edit.content is None:
        changed.content.pop("labels", None)
    try:
        return example_of({**columns_of(changed, form), "unlabelled": not changed.label}, form)
    except Unfit as error:
        raise BadEdit(f"Row {row.id!r} cannot be changed like that: {error.role}: {error.message}") from error


def _new(made: Made, rows: Sequence[Example], form: Form) -> list[Example]:
    """Those that say nothing that is there already and ask nothing that is held out."""
    present = {key(row, form) for row in rows}
    held = {question(row, form) for row in rows if row.split != "train"}
    new: dict[str, Example] = {}
    for row in made.rows:
        if row.text.strip() and key(row, form) not in present and question(row, form) not in held:
            new.setdefault(key(row, form), row)
    return list(new.values())
