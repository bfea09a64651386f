"""Leave a model server alone while it fails, and try it again with one request at a time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import Field

from inhouse.core.errors import InhouseError, LimitExceeded, TimedOut, Unavailable
from inhouse.gateway import metrics
from inhouse.gateway.policy import Policy, Settings, Surroundings, policy
from inhouse.gateway.route import Route, Target

CLOSED, HALF_OPEN, OPEN = "closed", "half-open", "open"
_LEVELS = {CLOSED: 0, HALF_OPEN: 1, OPEN: 2}
_SLOTS = 10
_MAX_CELLS = 1024
_LOST_PROBE_S = 30.0


class BreakerSettings(Settings):
    """When a target counts as broken, and for how long it is left alone."""

    enabled: bool = Field(default=True, description="Leave failing targets alone.")
    failures: int = Field(default=5, ge=1, le=1000, description="Failures in a row that open the breaker.")
    error_ratio: float = Field(default=0.5, gt=0, le=1, description="Share of failures in the window that opens it.")
    min_requests: int = Field(
        default=10, ge=2, le=10_000, description="Requests in the window before the share counts."
    )
    window_s: float = Field(default=30.0, ge=1, le=600, description="Length of the window in seconds.")
    open_s: float = Field(default=5.0, ge=0.05, le=600, description="Seconds that it first stays open.")
    max_open_s: float = Field(
        default=60.0, ge=0.05, le=3600, description="Longest time that it stays open, in seconds."
    )


@policy("breaker", order=85, settings=BreakerSettings)
class Breaker(Policy[BreakerSettings]):
    """Keeps an eye on every target. A target that never failed costs nothing.

    What asks a target does so in this order: `usable` to filter, `started`, then exactly one of `succeeded`, `failed`
    and `left` (nobody waited for the answer any more), with what `started` said.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._cells: dict[str, _Cell] = {}
        surroundings.is_out = self.is_out

    @property
    def is_active(self) -> bool:
        return self.settings.enabled

    def allows(self, target: Target) -> bool:
        """Whether a request may go to the target now: it is well, or due for a probe that nobody makes yet."""
        if not self._cells:
            return True
        cell = self._cells.get(target.id)
        return cell is None or not self.settings.enabled or cell.allows(self.surroundings.clock())

    def usable(self, targets: Sequence[Target]) -> Sequence[Target]:
        """The targets that may be asked. When none may, the one that broke first: a guess beats a certain no."""
        if len(targets) < 2 or not self._cells or not self.settings.enabled:
            return targets
        now = self.surroundings.clock()
        cells = [(self._cells.get(target.id), target) for target in targets]
        allowed = [target for cell, target in cells if cell is None or cell.allows(now)]
        if allowed:
            return allowed
        return [min(cells, key=lambda pair: pair[0].opened_at if pair[0] else 0.0)[1]]

    def is_out(self, route: Route) -> bool:
        """Whether none of a route's targets may be asked now."""
        return bool(self._cells) and not any(self.allows(target) for target in route.targets)

    def started(self, target: Target) -> bool:
        """A request goes to the target. If the breaker is open, this is the probe, which is told."""
        cell = self._cells.get(target.id) if self._cells else None
        if cell is None or not cell.is_open:
            return False
        cell.probe(self.surroundings.clock())
        self._publish(target.id, HALF_OPEN)
        return True

    def succeeded(self, target: Target, *, is_probe: bool = True) -> None:
        """The target answered."""
        cell = self._cells.get(target.id) if self._cells else None
        if cell is None:
            return
        now = self.surroundings.clock()
        if cell.is_open:
            if is_probe and cell.probing_until:  # others were sent before it opened
                cell.close(now)
                self._publish(target.id, CLOSED)
            return
        cell.count(now, self.settings.window_s, failed=False)
        if now > cell.settled_at:
            del self._cells[target.id]

    def failed(self, target: Target, error: InhouseError, *, is_hurried: bool = False, is_probe: bool = True) -> None:
        """The target failed. What is not its fault (a bad request, a client in a hurry) does not count against it."""
        if not self.settings.enabled:
            return
        if is_hurried and isinstance(error, TimedOut):
            self.left(target, is_probe=is_probe)
            return
        if isinstance(error, LimitExceeded):
            self.succeeded(target, is_probe=is_probe)
            self._rest(target, error)
        elif isinstance(error, Unavailable | TimedOut):
            self._count(target, is_probe)
        else:
            self.succeeded(target, is_probe=is_probe)  # it answers, if only to refuse

    def left(self, target: Target, *, is_probe: bool = True) -> None:
        """Nobody waited for the answer: it says nothing about the target. If it was the probe, another may be one."""
        cell = self._cells.get(target.id) if self._cells else None
        if cell is not None and is_probe:
            cell.probing_until = 0.0

    def state(self, target: Target) -> str:
        """`closed`, `open` or `half-open`."""
        cell = self._cells.get(target.id)
        return CLOSED if cell is None else cell.state(self.surroundings.clock())

    def states(self) -> dict[str, str]:
        """The state of every target that failed lately, by its id."""
        now = self.surroundings.clock()
        return {name: cell.state(now) for name, cell in self._cells.items()}

    def _count(self, target: Target, is_probe: bool) -> None:
        now = self.surroundings.clock()
        cell = self._cell(target.id)
        if cell.is_open:
            if is_probe and cell.probing_until:  # others were sent before it opened
                cell.reopen(now, self.settings.max_open_s)
                self._publish(target.id, OPEN)
            return
        cell.count(now, self.settings.window_s, failed=True)
        if self._is_broken(cell):
            cell.open(now, self.settings)
            self._publish(target.id, OPEN)

    def _is_broken(self, cell: "_Cell") -> bool:
        total, bad = cell.totals()
        is_mostly_bad = total >= self.settings.min_requests and bad >= total * self.settings.error_ratio
        return cell.in_a_row >= self.settings.failures or is_mostly_bad

    def _rest(self, target: Target, error: InhouseError) -> None:
        """A busy target says when to come back; until then it gets nothing, but it is not broken."""
        wait_s = float(error.details.get("retry_after_s") or 0.0)
        if wait_s > 0:
            until = self.surroundings.clock() + min(wait_s, self.settings.max_open_s)
            cell = self._cell(target.id)
            cell.resting_until = max(cell.resting_until, until)
            cell.settled_at = max(cell.settled_at, until)

    def _cell(self, name: str) -> "_Cell":
        cell = self._cells.get(name)
        if cell is None:
            if len(self._cells) >= _MAX_CELLS:
                self._cells.pop(next(iter(self._cells)))
            cell = self._cells[name] = _Cell()
        return cell

    def _publish(self, name: str, state: str) -> None:
        metrics.breaker(name, _LEVELS[state])


@dataclass(slots=True, eq=False)
class _Cell:
    """What is known of one target since it failed: counts in a ring of short slots, and its breaker."""

    good: list[int] = field(default_factory=lambda: [0] * _SLOTS)
    bad: list[int] = field(default_factory=lambda: [0] * _SLOTS)
    slot: int = 0
    in_a_row: int = 0
    is_open: bool = False
    opened_at: float = 0.0
    open_until: float = 0.0
    open_s: float = 0.0
    closed_at: float = -math.inf
    probing_until: float = 0.0
    """Set while a probe is under way; should its end never be told, another may be made after that."""
    resting_until: float = 0.0
    settled_at: float = 0.0
    """From then on the cell holds nothing that matters."""

    def count(self, now: float, window_s: float, *, failed: bool) -> None:
        slot = int(now * _SLOTS / window_s)
        for passed in range(max(self.slot + 1, slot - _SLOTS + 1), slot + 1):
            self.good[passed % _SLOTS] = self.bad[passed % _SLOTS] = 0
        self.slot = slot
        (self.bad if failed else self.good)[slot % _SLOTS] += 1
        self.in_a_row = self.in_a_row + 1 if failed else 0
        if failed:
            self.settled_at = max(self.settled_at, now + window_s)

    def totals(self) -> tuple[int, int]:
        bad = sum(self.bad)
        return bad + sum(self.good), bad

    def allows(self, now: float) -> bool:
        if now < self.resting_until:
            return False
        return not self.is_open or (now >= self.open_until and now >= self.probing_until)

    def probe(self, now: float) -> None:
        self.probing_until = now + max(self.open_s, _LOST_PROBE_S)

    def open(self, now: float, settings: BreakerSettings) -> None:
        """Open; for longer than the last time where the recovery was a short one."""
        relapsed = now - self.closed_at < settings.window_s
        self.open_s = min(self.open_s * 2 if relapsed else settings.open_s, settings.max_open_s)
        self.is_open = True
        self.opened_at = now
        self.open_until = now + self.open_s
        self.probing_until = 0.0

    def reopen(self, now: float, max_open_s: float) -> None:
        """Stay open after a failed probe; for longer if the probe was due, and not a guess because all were open."""
        if now >= self.open_until:
            self.open_s = min(self.open_s * 2, max_open_s)
            self.open_until = now + self.open_s
        self.opened_at = now
        self.probing_until = 0.0

    def close(self, now: float) -> None:
        self.good, self.bad = [0] * _SLOTS, [0] * _SLOTS
        self.in_a_row = 0
        self.is_open = False
        self.probing_until = 0.0
        self.closed_at = now
        self.settled_at = now + 2 * self.open_s + _LOST_PROBE_S

    def state(self, now: float) -> str:
        if not self.is_open:
            return CLOSED
        return HALF_OPEN if now >= self.open_until else OPEN
