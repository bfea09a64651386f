"""Studies over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query

from inhouse.core.api import permit
from inhouse.core.principal import Principal
from inhouse.training.studies.schemas import NewStudy, StudyList, StudyOut
from inhouse.training.studies.studies import Studies


def router(studies: Studies) -> APIRouter:
    routes = APIRouter(prefix="/studies", tags=["training"])

    @routes.post("", status_code=201)
    def start(body: NewStudy, who: Annotated[Principal, permit("run:write")]) -> StudyOut:
        """Queue a search for the best settings of a recipe."""
        return StudyOut.of(studies.start(who, **body.wishes()))

    @routes.get("")
    def list_studies(
        who: Annotated[Principal, permit("run:read")], limit: Annotated[int, Query(ge=1, le=1000)] = 100
    ) -> StudyList:
        """Newest first, without their trials."""
        return StudyList(items=[StudyOut.of(study) for study in studies.list(who, limit=limit)])

    @routes.get("/{study_id}")
    def get(study_id: str, who: Annotated[Principal, permit("run:read")]) -> StudyOut:
        study = studies.get(who, study_id)
        return StudyOut.of(study, studies.trials(who, study))

    @routes.post("/{study_id}/stop")
    def stop(study_id: str, who: Annotated[Principal, permit("run:write")]) -> StudyOut:
        """Start nothing more, end what is training, and keep the best so far."""
        return StudyOut.of(studies.stop(who, study_id))

    return routes
