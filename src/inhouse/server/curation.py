"""What the data room needs of the others: a language model to write with, and who uses a dataset."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from inhouse.core.principal import Principal
from inhouse.data.labelling.queues import Queues
from inhouse.gateway import wire
from inhouse.gateway.call import Call, Endpoint
from inhouse.gateway.gateway import Gateway
from inhouse.models.registry import ModelRegistry
from inhouse.training.runs import Runs


@dataclass(frozen=True, slots=True)
class Written:
    text: str
    tokens: int
    cost: float | None


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Usage(msgspec.Struct):
    total_tokens: int = 0


class _Answer(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None


class Writer:
    """The language models of the gateway, behind its policies like any other request."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def write(
        self,
        principal: Principal,
        model: str,
        messages: Sequence[dict[str, str]],
        *,
        temperature: float,
        max_tokens: int,
    ) -> Written:
        principal.require("chat:run")
        asked = {"model": model, "messages": messages, "temperature": temperature, "max_tokens": max_tokens}
        fields = {name: wire.raw(value) for name, value in asked.items()}
        call = Call(
            principal,
            Endpoint.CHAT,
            model,
            self._gateway.usable_route(principal, model),
            wire.encode(fields),
            fields,
            max_tokens=max_tokens,
            priority=principal.priority,
        )
        reply = await self._gateway.answer(call)
        answer = msgspec.json.decode(reply.body, type=_Answer)
        text = (answer.choices[0].message.content or "") if answer.choices else ""
        return Written(text, answer.usage.total_tokens if answer.usage else 0, call.cost)


class Lineage:
    """What the registry, the runs and the labelling queues know of datasets."""

    def __init__(self, registry: ModelRegistry, runs: Runs, queues: Queues) -> None:
        self._registry = registry
        self._runs = runs
        self._queues = queues

    def trained_on(self, principal: Principal) -> Mapping[str, Sequence[str]]:
        trained: dict[str, list[str]] = defaultdict(list)
        for newest in self._registry.latest(principal):
            for version in self._registry.versions(principal, newest.model):
                trained[str(version.lineage.get("dataset", ""))].append(version.reference)
        return trained

    def fed_by(self, principal: Principal, dataset: str) -> Sequence[str]:
        queues = [f"the queue {queue.name}" for queue, _ in self._queues.every(principal) if queue.dataset == dataset]
        runs = self._runs.list(principal, limit=1000)
        return [*queues, *(f"the run {run.id}" for run in runs if run.dataset == dataset and not run.has_ended)]
