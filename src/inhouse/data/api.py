"""Datasets over HTTP."""

import json
from typing import Annotated

from fastapi import APIRouter, File, Form, Query, UploadFile

from inhouse.core.api import permit
from inhouse.core.errors import Invalid
from inhouse.core.principal import Principal
from inhouse.data.datasets import Datasets
from inhouse.data.examples import Example
from inhouse.data.schemas import DatasetList, DatasetOut, ExampleList, ExampleOut, NewVersion, PreviewOut, VersionOut


class BadMapping(Invalid):
    """The mapping is not a JSON object of column names."""


def router(datasets: Datasets) -> APIRouter:
    routes = APIRouter(prefix="/datasets", tags=["data"])

    @routes.post("/preview")
    def preview(
        who: Annotated[Principal, permit("dataset:write")],
        file: Annotated[UploadFile, File()],
        mapping: Annotated[str, Form()] = "",
    ) -> PreviewOut:
        """Say what an import of this file would bring, with every bad row."""
        return PreviewOut.of(datasets.preview(file.file, file.filename or "", _mapping(mapping)))

    @routes.post("", status_code=201)
    def create(
        who: Annotated[Principal, permit("dataset:write")],
        name: Annotated[str, Form()],
        file: Annotated[UploadFile, File()],
        mapping: Annotated[str, Form()] = "",
        skip_bad_rows: Annotated[bool, Form()] = False,
    ) -> VersionOut:
        """Import a file as version 1 of a new dataset: all rows or none."""
        return VersionOut.of(
            datasets.create(who, name, file.file, file.filename or "", _mapping(mapping), skip_bad_rows=skip_bad_rows)
        )

    @routes.get("")
    def list_datasets(who: Annotated[Principal, permit("dataset:read")]) -> DatasetList:
        """The latest version of each dataset."""
        return DatasetList(items=[VersionOut.of(version) for version in datasets.latest(who)])

    @routes.get("/{name}")
    def get(name: str, who: Annotated[Principal, permit("dataset:read")]) -> DatasetOut:
        return DatasetOut(name=name, versions=[VersionOut.of(version) for version in datasets.versions(who, name)])

    @routes.post("/{name}/versions", status_code=201)
    def add(name: str, body: NewVersion, who: Annotated[Principal, permit("dataset:write")]) -> VersionOut:
        """Make the next version by adding training examples."""
        new = [Example(row.text.strip(), row.label.strip(), source=f"api:{who.user_id}") for row in body.examples]
        return VersionOut.of(datasets.add(who, name, new, note=body.note, parent=body.parent))

    @routes.get("/{name}/versions/{number}/examples")
    def examples(
        name: str,
        number: int,
        who: Annotated[Principal, permit("dataset:read")],
        split: str | None = None,
        label: str | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        offset: Annotated[int, Query(ge=0)] = 0,
    ) -> ExampleList:
        rows = datasets.examples(who, name, number, split=split)
        rows = [row for row in rows if label is None or row.label == label]
        return ExampleList(items=[ExampleOut.of(row) for row in rows[offset : offset + limit]], total=len(rows))

    return routes


def _mapping(text: str) -> dict[str, str] | None:
    if not text:
        return None
    try:
        mapping = json.loads(text)
    except (ValueError, RecursionError):
        mapping = None
    if not isinstance(mapping, dict) or not all(isinstance(column, str) for column in mapping.values()):
        raise BadMapping("The mapping is not a JSON object.", hint='Like {"text": "question", "label": "intent"}.')
    return mapping
