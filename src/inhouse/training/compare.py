"""Is one model really better than another? Paired tests on the same rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np


@dataclass(frozen=True, slots=True)
class Difference:
    """Accuracy of A minus accuracy of B, with a confidence interval."""

    mean: float
    low: float
    high: float


def mcnemar(a_correct: Sequence[bool], b_correct: Sequence[bool]) -> float:
    """Return the exact two-sided p-value of "A and B are equally often right", from the rows where only one is."""
    only_a = sum(a and not b for a, b in zip(a_correct, b_correct, strict=True))
    only_b = sum(b and not a for a, b in zip(a_correct, b_correct, strict=True))
    discordant = only_a + only_b
    tail = sum(comb(discordant, k) for k in range(min(only_a, only_b) + 1))
    return min(1.0, 2 * tail / 2**discordant)


def paired_bootstrap(
    a_correct: Sequence[bool],
    b_correct: Sequence[bool],
    *,
    confidence: float = 0.95,
    samples: int = 10_000,
    seed: int = 0,
) -> Difference:
    """Resample the rows, A and B together, and return how far the difference in accuracy may lie."""
    gains = np.asarray(a_correct, dtype=float) - np.asarray(b_correct, dtype=float)
    if not len(gains):
        return Difference(0.0, 0.0, 0.0)
    # each row gains -1, 0 or 1: drawing how many of each is drawing the rows, without a samples x rows matrix
    shares = [float(np.mean(gains == value)) for value in (-1, 0, 1)]
    draws = np.random.default_rng(seed).multinomial(len(gains), shares, size=samples)
    means = (draws[:, 2] - draws[:, 0]) / len(gains)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Difference(float(gains.mean()), float(low), float(high))
