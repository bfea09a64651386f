"""Finds the known question that a new one means, with an `embed` model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from inhouse.core.errors import Invalid
from inhouse.core.principal import Principal
from inhouse.serving.predictor import Predictor

AT_ONCE = 256


class NotAnEmbedder(Invalid):
    """Texts are to be compared by a model that gives no vectors."""


@dataclass(frozen=True, slots=True)
class Found:
    """The nearest known question, and how alike it is: 1 is the same."""

    question: str
    likeness: float


class Matcher:
    """Questions that are known, and their vectors by one version of a model."""

    def __init__(
        self,
        predictor: Predictor,
        principal: Principal,
        model: str,
        version: int,
        *,
        questions: Sequence[str],
        vectors: np.ndarray,
        threshold: float,
    ) -> None:
        self._predictor = predictor
        self._principal = principal
        self._model = model
        self._version = version
        self._questions = questions
        self._vectors = vectors
        self._threshold = threshold

    @classmethod
    async def of(
        cls,
        predictor: Predictor,
        principal: Principal,
        model: str,
        questions: Sequence[str],
        *,
        version: int | None = None,
    ) -> Self:
        """Read the questions once. A question is found from the likeness on that suited the model's dev rows."""
        if version is None:
            version = predictor.choose(principal, model, model)
        vectors, threshold = await _read(predictor, principal, model, version, questions)
        return cls(predictor, principal, model, version, questions=questions, vectors=vectors, threshold=threshold)

    async def find(self, texts: Sequence[str]) -> list[Found | None]:
        """The known question that each text means, or None where none is like enough."""
        vectors, _ = await _read(self._predictor, self._principal, self._model, self._version, texts)
        likeness = vectors @ self._vectors.T
        best = likeness.argmax(1)
        nearest = [Found(self._questions[int(n)], float(row[n])) for n, row in zip(best, likeness, strict=True)]
        return [found if found.likeness >= self._threshold else None for found in nearest]


async def _read(
    predictor: Predictor, principal: Principal, model: str, version: int, texts: Sequence[str]
) -> tuple[np.ndarray, float]:
    rows, threshold = [], 0.0
    for start in range(0, len(texts), AT_ONCE):
        said = await predictor.run(principal, model, texts[start : start + AT_ONCE], version=version)
        if said.kind != "embed":
            raise NotAnEmbedder(
                f"{model!r} version {version} is of the kind {said.kind!r}: it gives texts no vectors.",
                hint="Use a model of the kind 'embed' here.",
            )
        rows += [row["vector"] for row in said.rows]
        threshold = said.threshold
    return np.array(rows, dtype=np.float32), threshold
