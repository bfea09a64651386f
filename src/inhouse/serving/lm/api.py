"""HTTP for the language models, encoders and rerankers that this server runs. Paths are those of its machine."""

from typing import Annotated

from fastapi import APIRouter

from inhouse.core.api import permit
from inhouse.core.principal import Principal
from inhouse.core.settings import LocalModel
from inhouse.serving.language_models import LanguageModels
from inhouse.serving.lm.schemas import LanguageModelList, LanguageModelOut, NewAdapter, NewLanguageModel, RuntimeOut


def router(models: LanguageModels) -> APIRouter:
    routes = APIRouter(prefix="/language-models", tags=["language models"])

    @routes.get("")
    async def list_language_models(who: Annotated[Principal, permit("llm:read")]) -> LanguageModelList:
        """The models that this server runs, and what it could run them with."""
        items = [LanguageModelOut.of(entry) for entry in models.list(who.workspace_id)]
        runtimes = [RuntimeOut(name=name, missing=missing) for name, missing in models.runtimes().items()]
        return LanguageModelList(items=items, runtimes=runtimes)

    @routes.get("/{name}")
    async def get_language_model(name: str, who: Annotated[Principal, permit("llm:read")]) -> LanguageModelOut:
        """One model and how it is doing."""
        return LanguageModelOut.of(models.get(who.workspace_id, name))

    @routes.post("", status_code=201)
    async def load(body: NewLanguageModel, who: Annotated[Principal, permit("llm:write")]) -> LanguageModelOut:
        """Take a model directory up under a name, or give the name other weights; loading goes on in the background."""
        wanted = LocalModel.model_validate(body.model_dump(exclude={"name"}))
        return LanguageModelOut.of(await models.load(who, body.name, wanted))

    @routes.delete("/{name}", status_code=204)
    async def unload(name: str, who: Annotated[Principal, permit("llm:write")]) -> None:
        """Forget a model. What runs on it finishes."""
        await models.unload(who, name)

    @routes.post("/{name}/adapters", status_code=201)
    async def add_adapter(
        name: str, body: NewAdapter, who: Annotated[Principal, permit("llm:write")]
    ) -> LanguageModelOut:
        """Add a LoRA adapter, or a new version of one; the model goes on answering."""
        return LanguageModelOut.of(await models.add_adapter(who, name, body.name, body.path))

    @routes.delete("/{name}/adapters/{adapter}", status_code=204)
    async def remove_adapter(name: str, adapter: str, who: Annotated[Principal, permit("llm:write")]) -> None:
        """Remove an adapter."""
        await models.remove_adapter(who, name, adapter)

    return routes
