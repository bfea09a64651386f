"""When a canary must go back: its figures beside those of the live version."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arm:
    """What one version did since the release began."""

    answers: int = 0
    errors: int = 0
    down_votes: int = 0


@dataclass(frozen=True, slots=True)
class Guards:
    """A guard trips on a difference that chance explains less often than `significance`."""

    min_answers: int = 20
    significance: float = 0.005


def alarm(live: Arm, candidate: Arm, guards: Guards | None = None) -> str | None:
    """Name the guard that the candidate trips (`errors`, `down_votes`), or None."""
    guards = guards or Guards()
    if candidate.answers < guards.min_answers:
        return None
    for name in ("errors", "down_votes"):
        worse = fisher_greater(
            getattr(candidate, name), candidate.answers, getattr(live, name), max(live.answers, guards.min_answers)
        )
        if worse < guards.significance:
            return name
    return None


def fisher_greater(hits: int, trials: int, other_hits: int, other_trials: int) -> float:
    """One-sided exact p that the first rate is greater than the second only by chance (Fisher 1922)."""
    total_hits = min(hits + other_hits, trials + other_trials)
    total = trials + other_trials
    denominator = _log_choose(total, total_hits)
    highest = min(total_hits, trials)
    tail = (
        math.exp(_log_choose(trials, k) + _log_choose(other_trials, total_hits - k) - denominator)
        for k in range(hits, highest + 1)
        if total_hits - k <= other_trials
    )
    return min(1.0, sum(tail))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
