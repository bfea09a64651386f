"""From a classifier's logits to the probability of each label, the same in training and in serving."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

SEVERAL, UNKNOWN_LOGIT = "multi_label", "unknown_logit"


@dataclass(frozen=True, slots=True)
class LabelScores:
    """How to read logits.

    `unknown_logit` is that of "none of these": what it takes of the whole, the labels do not have. With `several`,
    each label is a question of its own.
    """

    temperature: float = 1.0
    unknown_logit: float | None = None
    several: bool = False

    @classmethod
    def of(cls, temperature: float, settings: Mapping[str, Any]) -> Self:
        """As a manifest says."""
        return cls(temperature, settings.get(UNKNOWN_LOGIT), bool(settings.get(SEVERAL)))

    def settings(self) -> dict[str, Any]:
        """What a manifest says of it, besides the temperature."""
        unknown = {} if self.unknown_logit is None else {UNKNOWN_LOGIT: self.unknown_logit}
        return {SEVERAL: self.several, **unknown}

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Rows of logits to rows of probabilities, a column for each label."""
        scaled = np.asarray(logits, dtype=np.float64) / self.temperature
        if self.several:
            return 1 / (1 + np.exp(-scaled))
        unknown = -np.inf if self.unknown_logit is None else self.unknown_logit
        peak = np.maximum(scaled.max(axis=-1, keepdims=True), unknown)
        powers = np.exp(scaled - peak)
        return powers / (powers.sum(axis=-1, keepdims=True) + np.exp(unknown - peak))
