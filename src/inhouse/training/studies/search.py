"""Where to look next, and what is not worth going on with: Optuna, asked anew each time.

A study is its trials: nothing is kept between two questions but what the runs have written down, so that a study goes
on after a crash as if nothing had been.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from inhouse.training.studies.space import Range, Space

if TYPE_CHECKING:
    import optuna

Objective = Literal["accuracy", "loss"]
Pruner = Literal["median", "halving", "none"]
RUNNING, COMPLETE, PRUNED, FAILED = "running", "complete", "pruned", "failed"
_RANDOM = 5
"""Trials before there is enough to learn from."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of a study: its settings, and what the dev rows said after each epoch."""

    number: int
    run_id: str
    state: str
    params: Mapping[str, Any]
    reports: Mapping[int, float] = field(default_factory=dict)
    error: str = ""

    def best(self, objective: Objective) -> float | None:
        if not self.reports:
            return None
        return max(self.reports.values()) if objective == "accuracy" else min(self.reports.values())


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for, and how."""

    space: Space
    objective: Objective = "accuracy"
    pruner: Pruner = "median"
    seed: int = 0

    def suggest(self, trials: Sequence[Trial]) -> dict[str, Any]:
        """The settings of the next trial: by chance at first, then where the best ones were (TPE)."""
        return dict(self._rebuilt(trials).ask(self._distributions()).params)

    def is_hopeless(self, trials: Sequence[Trial], number: int) -> bool:
        """Whether a running trial is so far behind the others that it is not worth its time."""
        study = self._rebuilt(trials)
        place = [trial.number for trial in self._told(trials)].index(number)
        return study.pruner.prune(study, study.trials[place])

    def best(self, trials: Sequence[Trial]) -> Trial | None:
        """The best of those that were trained to their end."""
        done = [trial for trial in trials if trial.state == COMPLETE and trial.reports]
        sign = 1 if self.objective == "accuracy" else -1
        return max(done, key=lambda trial: (sign * (trial.best(self.objective) or 0.0), -trial.number), default=None)

    def _told(self, trials: Sequence[Trial]) -> list[Trial]:
        """Those whose settings lie in the space, in their order."""
        return sorted((one for one in trials if one.params.keys() == self.space.keys()), key=lambda one: one.number)

    def _rebuilt(self, trials: Sequence[Trial]) -> optuna.Study:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        told = self._told(trials)
        sampler = optuna.samplers.TPESampler(
            seed=self.seed + len(trials), n_startup_trials=_RANDOM, constant_liar=any(t.state == RUNNING for t in told)
        )
        direction = "maximize" if self.objective == "accuracy" else "minimize"
        study = optuna.create_study(direction=direction, sampler=sampler, pruner=self._pruner())
        states = optuna.trial.TrialState
        known = {RUNNING: states.RUNNING, COMPLETE: states.COMPLETE, PRUNED: states.PRUNED, FAILED: states.FAIL}
        for trial in told:
            value = trial.best(self.objective)
            has_value = trial.state in (COMPLETE, PRUNED) and value is not None
            study.add_trial(
                optuna.trial.create_trial(
                    state=known[trial.state] if has_value or trial.state == RUNNING else states.FAIL,
                    params=dict(trial.params),
                    distributions=self._distributions(),
                    value=value if has_value else None,
                    intermediate_values=dict(trial.reports),
                )
            )
        return study

    def _pruner(self) -> optuna.pruners.BasePruner:
        import optuna

        if self.pruner == "halving":
            return optuna.pruners.SuccessiveHalvingPruner()
        if self.pruner == "median":
            return optuna.pruners.MedianPruner(n_startup_trials=3)
        return optuna.pruners.NopPruner()

    def _distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        return {name: _distribution(where) for name, where in self.space.items()}


def _distribution(where: Range) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if where.choices:
        return CategoricalDistribution(where.choices)
    assert where.low is not None
    assert where.high is not None
    if where.is_whole:
        return IntDistribution(int(where.low), int(where.high), log=where.log)
    return FloatDistribution(float(where.low), float(where.high), log=where.log)
