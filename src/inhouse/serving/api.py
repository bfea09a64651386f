"""HTTP for deployments. Predictions themselves are in `asgi.py`."""

from typing import Annotated

from fastapi import APIRouter

from inhouse.core.api import permit
from inhouse.core.principal import Principal
from inhouse.serving.deployments import Deployments
from inhouse.serving.predictor import Predictor
from inhouse.serving.schemas import DeploymentList, DeploymentOut, Traffic


def router(deployments: Deployments, predictor: Predictor) -> APIRouter:
    routes = APIRouter(tags=["serving"])

    @routes.get("/deployments")
    async def list_deployments(who: Annotated[Principal, permit("model:read")]) -> DeploymentList:
        """The models that answer, newest first."""
        return DeploymentList(items=[DeploymentOut.of(one) for one in deployments.list(who)])

    @routes.put("/deployments/{model}")
    async def deploy(model: str, traffic: Traffic, who: Annotated[Principal, permit("model:promote")]) -> DeploymentOut:
        """Load the versions, then share the model's traffic between them."""
        return DeploymentOut.of(await predictor.deploy(who, model, traffic.weights, note=traffic.note))

    return routes
