"""What can be done with model versions, over HTTP."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Query, Response, UploadFile

from inhouse.core.api import permit
from inhouse.core.principal import Principal
from inhouse.models.schemas import EvaluationOut, ModelVersionOut, VariantList, VariantOut
from inhouse.training.versions.schemas import (
    ComparisonOut,
    ExplanationOut,
    Import,
    NewVariants,
    Question,
    ReportOut,
    RowList,
    RowsIn,
)
from inhouse.training.versions.versions import Versions


def router(versions: Versions) -> APIRouter:
    routes = APIRouter(tags=["models"])

    @routes.post("/models/import", status_code=201)
    def import_directory(body: Import, who: Annotated[Principal, permit("llm:write")]) -> ModelVersionOut:
        """Register a directory on the server's machine as the model's next version."""
        found = versions.import_directory(who, body.name, Path(body.path), kind=body.kind, note=body.note)
        return ModelVersionOut.of(found, {})

    @routes.post("/models/upload", status_code=201)
    def upload(
        who: Annotated[Principal, permit("model:write")],
        name: Annotated[str, Form()],
        file: Annotated[UploadFile, File()],
        kind: Annotated[str, Form()] = "",
        note: Annotated[str, Form(max_length=4000)] = "",
    ) -> ModelVersionOut:
        """The same from a zip or tar file."""
        return ModelVersionOut.of(versions.import_archive(who, name, file.file, kind=kind, note=note), {})

    @routes.get("/models/{name}/compare")
    def compare(
        name: str,
        who: Annotated[Principal, permit("model:read")],
        a: Annotated[int, Query(ge=1)],
        b: Annotated[int, Query(ge=1)],
    ) -> ComparisonOut:
        """Two versions side by side, on the rows that both were evaluated on."""
        return ComparisonOut.of(versions.compare(who, name, a, b))

    @routes.get("/models/{name}/versions/{number}/variants")
    def list_variants(name: str, number: int, who: Annotated[Principal, permit("model:read")]) -> VariantList:
        """The formats that the version was exported to, with what was measured of each."""
        return VariantList(items=[VariantOut.of(one) for one in versions.variants(who, name, number)])

    @routes.post("/models/{name}/versions/{number}/variants", status_code=202)
    def export(
        name: str, number: int, body: NewVariants, who: Annotated[Principal, permit("model:write")]
    ) -> VariantList:
        """Queue the making and measuring of variants."""
        queued = versions.export(who, name, number, body.variants, rows=body.rows(), max_loss=body.max_loss)
        return VariantList(items=[VariantOut.of(one) for one in queued])

    @routes.get("/models/{name}/versions/{number}/archive", response_class=Response)
    def archive(
        name: str,
        number: int,
        who: Annotated[Principal, permit("model:read")],
        variant: str = "",
        edge: bool = False,
    ) -> Response:
        """The files of a version or variant as a zip; with `edge`, what runs without the platform and without torch."""
        packed = versions.archive(who, name, number, variant=variant, edge=edge)
        suffix = "-edge" if edge else f"-{variant}" if variant else ""
        named = {"content-disposition": f'attachment; filename="{name}-{number}{suffix}.zip"'}
        return Response(packed, media_type="application/zip", headers=named)

    @routes.post("/models/{name}/versions/{number}/evaluations", status_code=202)
    def evaluate(
        name: str, number: int, body: RowsIn, who: Annotated[Principal, permit("model:write")]
    ) -> EvaluationOut:
        """Queue an evaluation on the rows of a split."""
        return EvaluationOut.of(versions.evaluate(who, name, number, body.rows()))

    @routes.get("/evaluations/{evaluation_id}")
    def get_evaluation(evaluation_id: str, who: Annotated[Principal, permit("model:read")]) -> EvaluationOut:
        return EvaluationOut.of(versions.evaluation(who, evaluation_id))

    @routes.get("/evaluations/{evaluation_id}/report")
    def get_report(evaluation_id: str, who: Annotated[Principal, permit("model:read")]) -> ReportOut:
        """Per class, confusion matrix and reliability."""
        report = versions.report(who, evaluation_id)
        return ReportOut(**{name: report[name] for name in ReportOut.model_fields if name in report})

    @routes.get("/evaluations/{evaluation_id}/rows")
    def get_rows(
        evaluation_id: str,
        who: Annotated[Principal, permit("dataset:read")],
        correct: bool | None = None,
        known: bool | None = None,
        golden: bool | None = None,
        label: str | None = None,
        predicted: str | None = None,
        text: str = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
        offset: Annotated[int, Query(ge=0)] = 0,
    ) -> RowList:
        """The rows, worst first: all that fit the filters."""
        wanted = {"correct": correct, "known": known, "golden": golden, "label": label, "predicted": predicted}
        rows = versions.report(who, evaluation_id)["rows"]
        found = [row for row in rows if _fits(row, wanted) and text.casefold() in row["text"].casefold()]
        return RowList(items=found[offset : offset + limit], total=len(found))

    @routes.post("/models/{name}/versions/{number}/explain")
    def explain(
        name: str, number: int, body: Question, who: Annotated[Principal, permit("model:read")]
    ) -> ExplanationOut:
        """Which parts of a text speak for a label, and how much."""
        found = versions.explain(who, name, number, body.text, other=body.other, label=body.label)
        return ExplanationOut(**found)

    return routes


def _fits(row: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(value is None or row.get(name) == value for name, value in wanted.items())
