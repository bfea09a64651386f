"""How the gateway is doing, for those who look after it."""

from collections.abc import Iterator
from functools import cache
from typing import Any, cast

from inhouse.core.principal import Principal
from inhouse.gateway.catalogue import ANY
from inhouse.gateway.configuration import Configuration, texts
from inhouse.gateway.gateway import Gateway
from inhouse.gateway.ledger import Ledger
from inhouse.gateway.policies.balance import ArmFigures
from inhouse.gateway.policy import Settings, policies
from inhouse.gateway.route import Route, Target
from inhouse.gateway.schemas import (
    ArmOut,
    GatewayOut,
    ModelOut,
    PolicyOut,
    ProblemOut,
    RouteDocument,
    Source,
    TargetOut,
)


def gateway_state(who: Principal, gateway: Gateway, configuration: Configuration, ledger: Ledger) -> GatewayOut:
    chain = gateway.chain(who.workspace_id)
    routes = gateway.routes(who)
    mine = [one for one in configuration.problems if one.workspace_id == who.workspace_id]
    targets = {target for route in routes for target in route.targets}
    return GatewayOut(
        file_error=configuration.file_error,
        problems=[ProblemOut(what=one.what, message=one.message) for one in mine],
        models=len(routes),
        upstreams=len(gateway.upstreams(who)),
        in_flight=sum(target.in_flight for target in targets),
        waiting=chain["queue"].waiting,
        breakers=chain["breaker"].states(),
        cached=len(chain["cache"]) + len(chain["semantic-cache"]),
        usage_overflowed=ledger.overflowed,
    )


def every_policy(who: Principal, gateway: Gateway, configuration: Configuration) -> list[PolicyOut]:
    names = sorted(policies, key=lambda name: (policies[name].order, name))
    return [policy_state(who, name, gateway, configuration) for name in names]


def policy_state(who: Principal, name: str, gateway: Gateway, configuration: Configuration) -> PolicyOut:
    found = policies[name]
    settings = configuration.policies(who.workspace_id).get(name) or found.settings_type()
    return PolicyOut(
        name=name,
        order=found.order,
        texts=texts(name),
        settings_schema=_schema(found.settings_type),
        settings=settings.model_dump(mode="json"),
        source=cast("Source", configuration.source_of_policy(who, name)),
        is_active=gateway.chain(who.workspace_id)[name].is_active,
    )


@cache
def _schema(settings: type[Settings]) -> dict[str, Any]:
    return settings.model_json_schema()


def every_model(who: Principal, gateway: Gateway, configuration: Configuration) -> list[ModelOut]:
    names = [route.name for route in gateway.routes(who)]
    if ANY in configuration.routes(who.workspace_id) and not who.models:
        names.append(ANY)
    return [model_state(who, name, gateway, configuration) for name in names]


def model_state(who: Principal, name: str, gateway: Gateway, configuration: Configuration) -> ModelOut:
    route = gateway.route(who, name)
    chain = gateway.chain(who.workspace_id)
    return ModelOut(
        name=route.name,
        owner=route.owner,
        source=cast("Source", configuration.source_of_route(who, name)),
        document=cast("RouteDocument | None", configuration.routes(who.workspace_id).get(name)),
        targets=[_target(target, chain["breaker"].state(target)) for target in route.targets],
        arms=list(_arms(route, chain["balance"])),
    )


def _target(target: Target, breaker: str) -> TargetOut:
    return TargetOut(
        upstream=target.backend.name,
        model=target.model,
        weight=target.weight,
        arm=target.arm,
        in_flight=target.in_flight,
        latency_s=target.latency_s,
        breaker=breaker,
    )


def _arms(route: Route, balance: Any) -> Iterator[ArmOut]:
    figures: dict[str, ArmFigures] = balance.figures(route.name)
    for arm, one in sorted(figures.items()):
        answered = max(one.requests - one.errors, 1)
        yield ArmOut(
            arm=arm,
            requests=one.requests,
            errors=one.errors,
            prompt_tokens=one.prompt_tokens,
            completion_tokens=one.completion_tokens,
            cost=one.cost,
            mean_s=one.seconds / answered,
            mean_first_token_s=one.first_token_s / max(one.streams, 1),
        )
