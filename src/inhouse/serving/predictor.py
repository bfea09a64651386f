"""Answers predictions: picks the version, runs it, says how sure it is."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inhouse.core.errors import Invalid
from inhouse.core.ids import new_id
from inhouse.core.principal import Principal
from inhouse.serving.deployments import Deployments, check_weights
from inhouse.serving.pool import Key, Pool
from inhouse.serving.runtime import Scores
from inhouse.serving.store import Deployment


class NothingToPredict(Invalid):
    """The request carries no text."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The best label of one text. `known` is False when even that one is too unlikely to be trusted."""

    label: str
    score: float
    scores: Scores
    model: str
    version: int
    known: bool


class Predictor:
    """Predictions by model name, over the versions that are deployed."""

    def __init__(self, pool: Pool, deployments: Deployments, *, default_model: str = "") -> None:
        self._pool = pool
        self._deployments = deployments
        self._default_model = default_model

    def choose(self, principal: Principal, model: str, key: str) -> int:
        """The version that traffic chooses for this key, known before it has to answer."""
        return self._deployments.choose(principal, model, key)

    async def predict(
        self,
        principal: Principal,
        model: str,
        texts: Sequence[str],
        *,
        key: str = "",
        version: int | None = None,
        top_k: int | None = None,
    ) -> list[Prediction]:
        """Predict all texts with one version: the given one, or the one that traffic chooses for `key`.

        An empty model name means the default model; an empty key means that any version may answer.
        """
        if not texts:
            raise NothingToPredict("There is no text to predict.", hint='Send {"text": "…"} or {"texts": ["…"]}.')
        model = model or self._default_model or self._deployments.first(principal).model
        if version is None:
            version = self.choose(principal, model, key or new_id("key"))
        served = await self._pool.get(Key(principal.workspace_id, model, version))
        threshold = served.manifest.unknown_threshold
        return [
            _prediction(scores, model=model, version=version, top_k=top_k, threshold=threshold)
            for scores in await served.predict(texts)
        ]

    async def warm(self, principal: Principal, model: str, version: int) -> None:
        """Load a version and run it once, so that its first caller does not wait and a broken one is found here."""
        await self._pool.get(Key(principal.workspace_id, model, version))

    async def deploy(
        self, principal: Principal, model: str, weights: Mapping[int, float], *, note: str = ""
    ) -> Deployment:
        """Load and warm every version first, then flip the traffic: a broken version leaves all as it was."""
        check_weights(weights)
        for version in weights:
            await self.warm(principal, model, version)
        return await asyncio.to_thread(self._deployments.put, principal, model, weights, note=note)


def _prediction(scores: Scores, *, model: str, version: int, top_k: int | None, threshold: float) -> Prediction:
    ranked = sorted(scores.items(), key=lambda item: item[1], reverse=True)
    label, score = ranked[0]
    return Prediction(label, score, dict(ranked[:top_k]), model, version, known=score >= threshold)
