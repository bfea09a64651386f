"""Datasets over HTTP."""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from typing import IO, Annotated

from fastapi import APIRouter, File, Form, Query, UploadFile
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

from inhouse.core.api import permit
from inhouse.core.errors import Invalid
from inhouse.core.principal import Principal
from inhouse.data import catalogue
from inhouse.data.changes import KINDS, Kind
from inhouse.data.columns import Unfit, example_of
from inhouse.data.curation import Curation
from inhouse.data.datasets import BadRows, Datasets
from inhouse.data.examples import Example
from inhouse.data.examples import Form as RowForm
from inhouse.data.filters import Filter
from inhouse.data.near import THRESHOLD
from inhouse.data.reading import Mapped
from inhouse.data.schemas import (
    AugmentedOut,
    AugmenterList,
    ChangeOut,
    DatasetList,
    DatasetOut,
    DiffOut,
    ErasedOut,
    EraseIn,
    ExampleList,
    ExampleOut,
    FormatList,
    MixOut,
    NewAugmented,
    NewEdited,
    NewFiltered,
    NewMix,
    NewVersion,
    PreviewOut,
    ReportOut,
    VersionOut,
)
from inhouse.data.store import DatasetVersion

_BLOCK = 1 << 16
_SHOWN = 100

Reader = Annotated[Principal, permit("dataset:read")]
Writer = Annotated[Principal, permit("dataset:write")]
Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0)]


class BadMapping(Invalid):
    """The mapping is not a JSON object of column names."""


def router(datasets: Datasets, curation: Curation | None = None) -> APIRouter:
    curation = curation or Curation(datasets)
    routes = APIRouter(tags=["data"])
    _add_files(routes, datasets)
    _add_versions(routes, datasets, curation)
    _add_curation(routes, curation)

    return routes


def _add_files(routes: APIRouter, datasets: Datasets) -> None:
    """What comes in and goes out."""

    @routes.get("/data/formats")
    def formats(who: Reader) -> FormatList:
        """The formats of import and export. What a missing one needs is said, too."""
        return FormatList(items=catalogue.formats_out())

    @routes.post("/datasets/preview")
    def preview(
        who: Writer,
        file: Annotated[UploadFile, File()],
        mapping: Annotated[str, Form()] = "",
        form: Annotated[str, Form(max_length=32)] = "",
        format: Annotated[str, Form(max_length=64)] = "",
    ) -> PreviewOut:
        """Say what an import of this file would bring, with every bad row."""
        found = datasets.preview(file.file, file.filename or "", _mapping(mapping), form=form, format=format)
        return PreviewOut.of(found)

    @routes.post("/datasets", status_code=201)
    def create(
        who: Writer,
        name: Annotated[str, Form()],
        file: Annotated[UploadFile, File()],
        mapping: Annotated[str, Form()] = "",
        form: Annotated[str, Form(max_length=32)] = "",
        format: Annotated[str, Form(max_length=64)] = "",
        skip_bad_rows: Annotated[bool, Form()] = False,
    ) -> VersionOut:
        """Import a file as version 1 of a new dataset: all rows or none."""
        made = datasets.create(
            who,
            name,
            file.file,
            file.filename or "",
            _mapping(mapping),
            form=form,
            format=format,
            skip_bad_rows=skip_bad_rows,
        )
        return VersionOut.of(made)

    @routes.get("/datasets/{name}/versions/{number}/export", response_class=StreamingResponse)
    def export(
        name: str,
        number: int,
        who: Reader,
        format: Annotated[str, Query(max_length=64)] = "jsonl",
        split: str | None = None,
    ) -> StreamingResponse:
        """The rows as a file."""
        version = datasets.get(who, name, number)
        out = tempfile.TemporaryFile()  # noqa: SIM115  # closed when it was sent
        try:
            kind = datasets.write(version, format, out, split=split)
        except BaseException:
            out.close()
            raise
        filename = f"{name}-v{number}.{kind.suffixes[0]}"
        headers = {
            "content-disposition": f'attachment; filename="{filename}"',
            "content-length": str(out.tell()),
            "x-content-type-options": "nosniff",
        }
        out.seek(0)
        task = BackgroundTask(out.close)
        return StreamingResponse(_blocks(out), media_type=kind.media_type, headers=headers, background=task)


def _add_versions(routes: APIRouter, datasets: Datasets, curation: Curation) -> None:
    """What there is."""

    @routes.get("/datasets")
    def list_datasets(who: Reader) -> DatasetList:
        """The latest version of each dataset."""
        return DatasetList(items=[VersionOut.of(version) for version in datasets.latest(who)])

    @routes.get("/datasets/{name}")
    def get(name: str, who: Reader) -> DatasetOut:
        return DatasetOut(name=name, versions=[VersionOut.of(version) for version in datasets.versions(who, name)])

    @routes.delete("/datasets/{name}", status_code=204)
    def delete(name: str, who: Writer) -> None:
        """Delete a dataset that no model was trained on."""
        curation.delete(who, name)

    @routes.post("/datasets/{name}/versions", status_code=201)
    def add(name: str, body: NewVersion, who: Writer) -> VersionOut:
        """Make the next version by adding training examples."""
        base = datasets.get(who, name, body.parent)
        new = _examples(body, base, source=f"api:{who.user_id}")
        return VersionOut.of(datasets.add(who, name, new, note=body.note, parent=body.parent))

    @routes.get("/datasets/{name}/versions/{number}/examples")
    def examples(
        name: str,
        number: int,
        who: Reader,
        split: str | None = None,
        label: str | None = None,
        search: Annotated[str, Query(max_length=1000)] = "",
        source: Annotated[str, Query(max_length=200)] = "",
        limit: Limit = 100,
        offset: Offset = 0,
    ) -> ExampleList:
        chosen = Filter(labels=[] if label is None else [label], search=search, sources=[source] if source else [])
        rows = [row for row in datasets.examples(who, name, number, split=split) if chosen.passes(row)]
        return ExampleList(items=[ExampleOut.of(row) for row in rows[offset : offset + limit]], total=len(rows))

    @routes.get("/datasets/{name}/versions/{number}/report")
    def report(
        name: str, number: int, who: Reader, threshold: Annotated[float, Query(ge=0.5, le=1)] = THRESHOLD
    ) -> ReportOut:
        """Balance, lengths, duplicates, leaks, conflicts: what to know before training."""
        return ReportOut.of(curation.report(who, name, number, threshold))

    @routes.get("/datasets/{name}/diff")
    def diff(
        name: str,
        who: Reader,
        old: Annotated[int, Query(alias="from", ge=1)],
        new: Annotated[int, Query(alias="to", ge=1)],
        kind: Kind | None = None,
        limit: Limit = 100,
        offset: Offset = 0,
    ) -> DiffOut:
        """Rows added, removed and changed from one version to another."""
        changes = curation.diff(who, name, old, new)
        counts = {one: sum(change.kind == one for change in changes) for one in KINDS}
        chosen = [change for change in changes if kind in (None, change.kind)]
        items = [ChangeOut.of(change) for change in chosen[offset : offset + limit]]
        return DiffOut(**counts, items=items, total=len(chosen))


def _add_curation(routes: APIRouter, curation: Curation) -> None:
    """What is made of what there is."""

    @routes.post("/datasets/{name}/filter", status_code=201)
    def filter_rows(name: str, body: NewFiltered, who: Writer) -> VersionOut:
        """Make the next version with the rows that meet every condition."""
        made = curation.filter(who, name, body.filter.chosen(), version=body.version, note=body.note)
        return VersionOut.of(made)

    @routes.post("/datasets/{name}/edit", status_code=201)
    def edit(name: str, body: NewEdited, who: Writer) -> VersionOut:
        """Make the next version with rows changed or removed."""
        return VersionOut.of(curation.edit(who, name, body.wanted(), version=body.version, note=body.note))

    @routes.post("/datasets/mix", status_code=201)
    def mix(body: NewMix, who: Writer) -> MixOut:
        """Make a dataset, or its next version, of others by ratio."""
        version, mixed = curation.mix(who, body.name, body.wanted(), size=body.size, seed=body.seed, note=body.note)
        return MixOut(version=VersionOut.of(version), taken=mixed.taken, repeated=mixed.repeated, leaking=mixed.leaking)

    @routes.get("/data/augmenters")
    def list_augmenters(who: Reader) -> AugmenterList:
        """The ways of making rows, with their settings."""
        return AugmenterList(items=catalogue.augmenters_out())

    @routes.post("/datasets/{name}/augment", status_code=201)
    async def augment(name: str, body: NewAugmented, who: Writer) -> AugmentedOut:
        """Make the next version with new training rows, all marked as synthetic."""
        made = await curation.augment(
            who,
            name,
            body.how,
            body.settings,
            count=body.count,
            version=body.version,
            seed=body.seed,
            note=body.note,
        )
        return AugmentedOut(
            version=VersionOut.of(made.version),
            added=made.added,
            dropped=made.dropped,
            failed=made.failed,
            tokens=made.tokens,
            cost=made.cost,
        )

    @routes.post("/datasets/erase")
    def erase(body: EraseIn, who: Writer) -> ErasedOut:
        """Take every row of a user out of every version of every dataset."""
        return ErasedOut(**asdict(curation.erase(who, body.user)))


def _mapping(text: str) -> Mapped | None:
    if not text:
        return None
    try:
        mapping = json.loads(text)
    except (ValueError, RecursionError):
        mapping = None
    if not isinstance(mapping, dict) or not all(_is_column(column) for column in mapping.values()):
        raise BadMapping("The mapping is not a JSON object.", hint='Like {"text": "question", "label": "intent"}.')
    return mapping


def _is_column(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, str) for one in value))


def _examples(body: NewVersion, base: DatasetVersion, *, source: str) -> list[Example]:
    """The rows of a request, checked like those of a file: all or none."""
    rows: list[Example] = []
    problems: list[dict[str, object]] = []
    for number, given in enumerate(body.examples, 1):
        try:
            rows.append(example_of(given.row(source), RowForm(base.form)))
        except Unfit as error:
            problems.append({"row": number, "column": error.role, "message": error.message})
    if problems:
        first = problems[0]
        raise BadRows(
            f"{len(problems)} of the rows cannot be added; the first is row {first['row']}, "
            f"column {first['column']!r}: {first['message']}",
            hint=f"The dataset has rows of the form {base.form!r}.",
            problems=problems[:_SHOWN],
        )
    return rows


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(_BLOCK):
        yield block
