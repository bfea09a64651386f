"""The model registry over HTTP."""

from collections.abc import Callable, Collection
from typing import Annotated

from fastapi import APIRouter

from inhouse.core.api import permit
from inhouse.core.principal import Principal
from inhouse.models.card import card
from inhouse.models.registry import ModelRegistry
from inhouse.models.schemas import (
    Aliases,
    Card,
    Change,
    EvaluationList,
    EvaluationOut,
    Lineage,
    ModelList,
    ModelOut,
    ModelSummary,
    ModelVersionOut,
    Pointer,
)

Answering = Callable[[Principal, str], Collection[int]]
"""The versions of a model that get traffic."""


def router(registry: ModelRegistry, answering: Answering = lambda who, name: ()) -> APIRouter:
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

    @routes.put("/{name}/aliases/{alias}")
    def set_alias(name: str, alias: str, body: Pointer, who: Annotated[Principal, permit("model:write")]) -> Aliases:
        """Point an alias at a version. `live` and `candidate` are moved by releases alone."""
        return Aliases(aliases=registry.point(who, name, alias, body.version))

    @routes.delete("/{name}/aliases/{alias}")
    def remove_alias(name: str, alias: str, who: Annotated[Principal, permit("model:write")]) -> Aliases:
        return Aliases(aliases=registry.point(who, name, alias, None))

    @routes.get("/{name}/versions/{number}")
    def get_version(name: str, number: int, who: Annotated[Principal, permit("model:read")]) -> ModelVersionOut:
        return ModelVersionOut.of(registry.get(who, name, number), registry.aliases(who, name))

    @routes.patch("/{name}/versions/{number}")
    def annotate(
        name: str, number: int, body: Change, who: Annotated[Principal, permit("model:write")]
    ) -> ModelVersionOut:
        """Write a note on a version, protect it from deletion, or take the protection away."""
        version = registry.annotate(who, name, number, note=body.note, is_protected=body.is_protected)
        return ModelVersionOut.of(version, registry.aliases(who, name))

    @routes.delete("/{name}/versions/{number}", status_code=204)
    def delete(name: str, number: int, who: Annotated[Principal, permit("model:write")]) -> None:
        """Delete a version and free its weights. Protected, aliased and deployed ones are refused."""
        registry.delete(who, name, number, answering=answering(who, name))

    @routes.get("/{name}/versions/{number}/card")
    def get_card(name: str, number: int, who: Annotated[Principal, permit("model:read")]) -> Card:
        """What the version is, what it learned from, how good it is, and where its limits lie."""
        version = registry.get(who, name, number)
        markdown = card(
            version,
            manifest=registry.manifest(who, name, number),
            aliases=[alias for alias, pointed in registry.aliases(who, name).items() if pointed == number],
            variants=registry.variants(who, name, number),
            evaluations=registry.evaluations(who, name, number),
        )
        return Card(markdown=markdown)

    @routes.get("/{name}/versions/{number}/lineage")
    def get_lineage(name: str, number: int, who: Annotated[Principal, permit("model:read")]) -> Lineage:
        """Dataset, base, code, settings, seed and machine that the version came from, and the digests of its files."""
        version = registry.get(who, name, number)
        files = registry.manifest(who, name, number)["files"]
        return Lineage(reference=version.reference, lineage=version.lineage, files=files)

    @routes.get("/{name}/versions/{number}/evaluations")
    def list_evaluations(name: str, number: int, who: Annotated[Principal, permit("model:read")]) -> EvaluationList:
        """Newest first."""
        return EvaluationList(items=[EvaluationOut.of(one) for one in registry.evaluations(who, name, number)])

    return routes
