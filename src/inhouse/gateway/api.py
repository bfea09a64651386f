"""HTTP for model servers, policies, models, prompts and usage. Chat itself is in `openai.py`."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import FiniteFloat

from inhouse.core.api import permit
from inhouse.core.principal import Principal
from inhouse.gateway import state
from inhouse.gateway.configuration import Configuration
from inhouse.gateway.gateway import Gateway
from inhouse.gateway.ledger import Ledger
from inhouse.gateway.prompts import Prompts, variables
from inhouse.gateway.schemas import (
    Address,
    FoundList,
    FoundOut,
    GatewayOut,
    ModelList,
    ModelOut,
    NewPrompt,
    NewUpstream,
    PolicyList,
    PolicyOut,
    PromptChoice,
    PromptList,
    PromptOut,
    RouteDocument,
    UpstreamList,
    UpstreamOut,
    UsageList,
    UsageOut,
)
from inhouse.gateway.store import UsageBy

Reader = Annotated[Principal, permit("gateway:read")]
Writer = Annotated[Principal, permit("gateway:write")]
Seconds = Annotated[FiniteFloat, Query(ge=0, le=1e11)]


def router(gateway: Gateway) -> APIRouter:
    """Routes under /upstreams."""
    routes = APIRouter(prefix="/upstreams", tags=["gateway"])

    @routes.get("")
    async def list_upstreams(who: Annotated[Principal, permit("gateway:read")]) -> UpstreamList:
        """The connected model servers, newest first."""
        return UpstreamList(items=[UpstreamOut.of(one) for one in reversed(gateway.upstreams(who))])

    @routes.post("", status_code=201)
    async def connect(body: NewUpstream, who: Annotated[Principal, permit("gateway:write")]) -> UpstreamOut:
        """Connect an OpenAI-compatible model server, after asking it for its models."""
        key = body.key.get_secret_value()
        return UpstreamOut.of(await gateway.connect(who, body.name, body.url, key=key, model=body.model))

    @routes.delete("/{name}", status_code=204)
    async def disconnect(name: str, who: Annotated[Principal, permit("gateway:write")]) -> None:
        """Forget a model server and its key."""
        await asyncio.to_thread(gateway.disconnect, who, name)

    @routes.post("/probe")
    async def probe(body: Address, _: Annotated[Principal, permit("gateway:write")]) -> FoundOut:
        """Ask a model server for its models, without connecting it."""
        return FoundOut.of(await gateway.probe(body.url, key=body.key.get_secret_value()))

    @routes.get("/discover")
    async def discover(_: Annotated[Principal, permit("gateway:read")]) -> FoundList:
        """Model servers that run on this machine: Ollama, so far."""
        return FoundList(items=[FoundOut.of(found) for found in await gateway.discover()])

    return routes


def management(gateway: Gateway, configuration: Configuration, prompts: Prompts, ledger: Ledger) -> APIRouter:
    """Routes under /gateway. What only looks into memory runs in the event loop, where that is written."""
    routes = APIRouter(prefix="/gateway", tags=["gateway"])

    @routes.get("")
    async def gateway_state(who: Reader) -> GatewayOut:
        """How the gateway is doing."""
        return state.gateway_state(who, gateway, configuration, ledger)

    @routes.get("/policies")
    async def list_policies(who: Reader) -> PolicyList:
        """Every policy in the order that requests pass them, with its settings and what draws its form."""
        return PolicyList(items=state.every_policy(who, gateway, configuration))

    @routes.put("/policies/{name}")
    def set_policy(name: str, body: dict[str, Any], who: Writer) -> PolicyOut:
        """Set what a policy does; what is not named gets its default."""
        configuration.put_policy(who, name, body)
        return state.policy_state(who, name, gateway, configuration)

    @routes.delete("/policies/{name}", status_code=204)
    def reset_policy(name: str, who: Writer) -> None:
        """Give a policy its default settings back."""
        configuration.delete_policy(who, name)

    @routes.get("/models")
    async def list_models(who: Reader) -> ModelList:
        """Every model, with its targets and how they are doing."""
        return ModelList(items=state.every_model(who, gateway, configuration))

    @routes.put("/models/{name:path}")
    def set_model(name: str, body: RouteDocument, who: Writer) -> ModelOut:
        """Describe a model: where its requests go."""
        configuration.put_route(who, name, body)
        return state.model_state(who, name, gateway, configuration)

    @routes.delete("/models/{name:path}", status_code=204)
    def delete_model(name: str, who: Writer) -> None:
        """Forget the description of a model."""
        configuration.delete_route(who, name)

    @routes.get("/prompts")
    async def list_prompts(who: Reader) -> PromptList:
        """The default version of every prompt."""
        return PromptList(items=[PromptOut.of(one, variables(one.template)) for one in prompts.list(who)])

    @routes.post("/prompts", status_code=201)
    def add_prompt(body: NewPrompt, who: Writer) -> PromptOut:
        """Add the next version of a prompt. The first is the default one, later ones when they are chosen."""
        added = prompts.add(who, body.name, body.template, body.note)
        return PromptOut.of(added, variables(added.template))

    @routes.get("/prompts/{name}")
    async def list_prompt_versions(name: str, who: Reader) -> PromptList:
        """Every version of a prompt, the newest first."""
        return PromptList(items=[PromptOut.of(one, variables(one.template)) for one in prompts.versions(who, name)])

    @routes.get("/prompts/{name}/versions/{number}")
    async def get_prompt(name: str, number: int, who: Reader) -> PromptOut:
        """One version of a prompt."""
        found = prompts.version(who, name, number)
        return PromptOut.of(found, variables(found.template))

    @routes.put("/prompts/{name}/default")
    def choose_prompt(name: str, body: PromptChoice, who: Writer) -> PromptOut:
        """Choose the version that requests get which name none."""
        chosen = prompts.choose(who, name, body.version)
        return PromptOut.of(chosen, variables(chosen.template))

    @routes.get("/usage")
    def usage(
        who: Reader,
        by: UsageBy = "model",
        start: Annotated[Seconds, Query(alias="from")] = 0.0,
        end: Annotated[Seconds | None, Query(alias="to")] = None,
    ) -> UsageList:
        """What was used between two times, in whole hours, for each key, user, …; the most used first."""
        rows = ledger.by(who, by, start=start, end=end)
        currency = gateway.chain(who.workspace_id)["usage"].settings.currency
        return UsageList(items=[UsageOut.of(row) for row in rows], currency=currency)

    return routes
