"""Answers predictions: picks the version, runs it, says how sure it is."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inhouse.core.errors import Invalid
from inhouse.core.ids import new_id
from inhouse.core.principal import Principal
from inhouse.serving.artifact import Manifest
from inhouse.serving.deployments import Deployments, check_weights
from inhouse.serving.inputs import Input
from inhouse.serving.pool import Key, Pool, Served
from inhouse.serving.runtime import Output
from inhouse.serving.store import Deployment

EVEN = 0.5
"""The threshold of a label that has none of its own, where several may be right."""


class NothingToPredict(Invalid):
    """The request carries no input."""


class NotAClassifier(Invalid):
    """A label is asked of a model that does something else."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The best label of one text. `known` is False when even that one is too unlikely to be trusted."""

    label: str
    score: float
    scores: Mapping[str, float]
    model: str
    version: int
    known: bool


@dataclass(frozen=True, slots=True)
class Answers:
    """What one version said, a row for each input.

    Rows with scores have `prediction`, `score`, `scores` (the best first) and `known`, and `labels` where several may
    be right; other rows have what their kind of model says: `spans`, `vector`, `score` or `value`.
    """

    model: str
    version: int
    kind: str
    threshold: float
    """Below it the best score, or the likeness of two vectors, is too low to be trusted."""
    rows: list[Mapping[str, Any]]


class Predictor:
    """Predictions by model name, over the versions that are deployed."""

    def __init__(self, pool: Pool, deployments: Deployments, *, default_model: str = "") -> None:
        self._pool = pool
        self._deployments = deployments
        self._default_model = default_model

    def choose(self, principal: Principal, model: str, key: str) -> int:
        """The version that traffic chooses for this key, known before it has to answer."""
        return self._deployments.choose(principal, model, key)

    async def run(
        self,
        principal: Principal,
        model: str,
        inputs: Sequence[Input],
        *,
        key: str = "",
        version: int | None = None,
        top_k: int | None = None,
    ) -> Answers:
        """Run a model of any kind on all inputs, with one version: the given one, or what traffic chooses for `key`.

        An empty model name means the default model; an empty key means that any version may answer.
        """
        chosen, served = await self._open(principal, model, inputs, key, version)
        manifest = served.manifest
        rows = [_row(output, manifest, top_k) for output in await served.predict(inputs)]
        return Answers(chosen.name, chosen.version, manifest.kind, manifest.unknown_threshold, rows)

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
        """Label all texts with a classifier, with one version as in `run`."""
        chosen, served = await self._open(principal, model, texts, key, version)
        manifest = served.manifest
        if manifest.kind != "classify":
            raise NotAClassifier(
                f"{chosen.name!r} version {chosen.version} is of the kind {manifest.kind!r}: it gives texts no label.",
                hint="Use a model of the kind 'classify' here.",
            )
        rows = [_row(output, manifest, top_k) for output in await served.predict(texts)]
        return [
            Prediction(row["prediction"], row["score"], row["scores"], chosen.name, chosen.version, known=row["known"])
            for row in rows
        ]

    async def _open(
        self, principal: Principal, model: str, inputs: Sequence[Input], key: str, version: int | None
    ) -> tuple[Key, Served]:
        if not inputs:
            raise NothingToPredict("There is nothing to predict.", hint='Send {"text": "…"} or {"inputs": ["…"]}.')
        model = model or self._default_model or self._deployments.first(principal).model
        if version is None:
            version = self.choose(principal, model, key or new_id("key"))
        chosen = Key(principal.workspace_id, model, version)
        return chosen, await self._pool.get(chosen)

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


def _row(output: Output, manifest: Manifest, top_k: int | None) -> Mapping[str, Any]:
    scores: dict[str, float] | None = output.get("scores")
    if scores is None:
        return output
    ranked = sorted(scores.items(), key=lambda item: item[1], reverse=True)
    label, score = ranked[0]
    row = {"prediction": label, "score": score, "scores": dict(ranked[:top_k])}
    if not manifest.settings.get("multi_label"):
        return {**row, "known": score >= manifest.unknown_threshold}
    needed = manifest.settings.get("thresholds", {})
    labels = [label for label, score in ranked if score >= needed.get(label, EVEN)]
    return {**row, "known": bool(labels), "labels": labels}
