"""The model registry over HTTP."""

from typing import Annotated

from fastapi import APIRouter

from inhouse.core.api import permit
from inhouse.core.principal import Principal
from inhouse.models.registry import ModelRegistry
from inhouse.models.schemas import ModelList, ModelOut, ModelSummary, ModelVersionOut


def router(registry: ModelRegistry) -> APIRouter:
    routes = APIRouter(prefix="/models", tags=["models"])

    @routes.get("")
    def list_models(who: Annotated[Principal, permit("model:read")]) -> ModelList:
        """Each model with its newest version and aliases."""
        aliases = registry.every_alias(who)
        return ModelList(
            items=[
                ModelSummary(
                    name=version.model,
                    aliases=aliases.get(version.model, {}),
                    newest=ModelVersionOut.of(version, aliases.get(version.model, {})),
                )
                for version in registry.latest(who)
            ]
        )

    @routes.get("/{name}")
    def get_model(name: str, who: Annotated[Principal, permit("model:read")]) -> ModelOut:
        aliases = registry.aliases(who, name)
        versions = [ModelVersionOut.of(version, aliases) for version in registry.versions(who, name)]
        return ModelOut(name=name, aliases=aliases, versions=versions)

    @routes.get("/{name}/versions/{number}")
    def get_version(name: str, number: int, who: Annotated[Principal, permit("model:read")]) -> ModelVersionOut:
        return ModelVersionOut.of(registry.get(who, name, number), registry.aliases(who, name))

    return routes
