"""Choose the target of a request: by weight, by load, by session, and by arm where the route is an experiment."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from inhouse.core import split
from inhouse.gateway.call import Call, Outcome
from inhouse.gateway.policies.retry import TRIED
from inhouse.gateway.policy import Policy, Settings, Surroundings, policy
from inhouse.gateway.route import Route, Target

_MAX_ROUTES = 4096
_MAX_ARMS = 1024


class BalanceSettings(Settings):
    """Who stays with one arm of an experiment."""

    arms_by: Literal["session", "user", "key"] = Field(
        default="session",
        description="What stays with one arm of an experiment; a request without a session counts by its user.",
    )


@dataclass(slots=True)
class ArmFigures:
    """What one arm of an experiment has done."""

    requests: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0
    """Of the answers that came, added up."""
    first_token_s: float = 0.0
    """Likewise, of the streamed ones."""
    streams: int = 0


@dataclass(slots=True, eq=False)
class _Plan:
    """What the balance keeps for one route."""

    route: Route
    arms: dict[str, float]
    turn: dict[Target, float] = field(default_factory=dict)
    """How far each target is behind its share."""


@policy("balance", order=90, settings=BalanceSettings)
class Balance(Policy[BalanceSettings]):
    """Chooses among the targets that may be asked, and keeps the figures of every arm."""

    def __init__(self, surroundings: Surroundings, *, uniform: Callable[[], float] = random.random) -> None:
        super().__init__(surroundings)
        self._uniform = uniform
        self._plans: dict[str, _Plan] = {}
        self._figures: dict[tuple[str, str], ArmFigures] = {}

    def choose(self, call: Call, targets: Sequence[Target]) -> Target:
        """One of the targets (there is at least one); rather one that has not failed this call yet.

        Sets the call's arm.
        """
        if TRIED in call.notes:
            tried = call.notes[TRIED]
            targets = [target for target in targets if target not in tried] or targets
        if len(targets) == 1:
            call.arm = targets[0].arm
            return targets[0]
        plan = self._plan(call.route)
        if plan.arms:
            arm = split.choose(plan.arms, self._subject(call), salt=call.route.name)
            targets = [target for target in targets if target.arm == arm] or targets
        chosen = self._one(call, targets, plan)
        call.arm = chosen.arm
        return chosen

    def settle(self, call: Call, outcome: Outcome) -> None:
        if not call.arm:
            return
        key = (call.route.name, call.arm)
        figures = self._figures.get(key)
        if figures is None:
            if len(self._figures) >= _MAX_ARMS:
                self._figures.pop(next(iter(self._figures)))
            figures = self._figures[key] = ArmFigures()
        figures.requests += 1
        if not outcome.ok:
            figures.errors += outcome.status != 499  # who left did not fail
            return
        figures.seconds += outcome.duration_s
        if call.stream:
            figures.streams += 1
            figures.first_token_s += call.first_token_s
        used = self.surroundings.prices.used(call, outcome)
        figures.prompt_tokens += used.prompt_tokens
        figures.completion_tokens += used.completion_tokens
        figures.cost += used.cost or 0.0

    def figures(self, route: str) -> dict[str, ArmFigures]:
        """What the arms of a model have done since the start."""
        return {arm: figures for (name, arm), figures in self._figures.items() if name == route}

    def _one(self, call: Call, targets: Sequence[Target], plan: _Plan) -> Target:
        if len(targets) == 1:
            return targets[0]
        if call.route.balance == "sticky" and call.session:
            return max(targets, key=lambda target: _attraction(target, call.session))
        if call.route.balance == "least-loaded":
            return self._less_loaded(targets)
        return _next_in_turn(targets, plan.turn)

    def _less_loaded(self, targets: Sequence[Target]) -> Target:
        """The better of two that are drawn: as good as asking all, and no herd runs to the same one."""
        count = len(targets)
        first = int(self._uniform() * count)
        second = (first + 1 + int(self._uniform() * (count - 1))) % count
        one, other = targets[first], targets[second]
        known_s = min(one.latency_s or other.latency_s, other.latency_s or one.latency_s) or 1.0
        return min(one, other, key=lambda target: _load(target, known_s))

    def _subject(self, call: Call) -> str:
        """Who stays with one arm."""
        principal = call.principal
        if self.settings.arms_by == "key" and principal.key_id:
            return principal.key_id
        if self.settings.arms_by == "session" and call.session:
            return call.session
        return principal.person

    def _plan(self, route: Route) -> _Plan:
        plan = self._plans.get(route.name)
        if plan is None or plan.route is not route:
            if len(self._plans) >= _MAX_ROUTES:
                self._plans.pop(next(iter(self._plans)))
            plan = self._plans[route.name] = _Plan(route, _arms(route))
        return plan


def _arms(route: Route) -> dict[str, float]:
    """The shares of a route's arms; empty unless it is an experiment. Targets without an arm are one, too."""
    shares: dict[str, float] = {}
    for target in route.targets:
        shares[target.arm] = shares.get(target.arm, 0.0) + max(target.weight, 0.0)
    is_experiment = len(shares) > 1 and any(share > 0 for share in shares.values())
    return shares if is_experiment else {}


def _next_in_turn(targets: Sequence[Target], turn: dict[Target, float]) -> Target:
    """Smooth round robin: everyone gains its weight, who is furthest behind is taken and pays for all."""
    total = 0.0
    best = targets[0]
    most = float("-inf")
    for target in targets:
        total += target.weight
        turn[target] = behind = turn.get(target, 0.0) + target.weight
        if behind > most and target.weight > 0:
            best, most = target, behind
    turn[best] = turn.get(best, 0.0) - total
    return best


def _load(target: Target, known_s: float) -> float:
    return (target.in_flight + 1) * (target.latency_s or known_s) / (target.weight or 1e-9)


def _attraction(target: Target, session: str) -> float:
    """How strongly a session is drawn to a target. When one is out, only its own sessions move."""
    point = split.position(session, salt=target.id)
    return point ** (1 / target.weight) if target.weight > 0 else -1.0
