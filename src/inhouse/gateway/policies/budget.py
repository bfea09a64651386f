"""Let keys, users and teams spend only so much money, or so many tokens, a day, week, month or in all."""

import math
from collections.abc import Hashable
from datetime import datetime, timedelta, timezone
from typing import Literal

from pydantic import Field

from inhouse.core.errors import LimitExceeded
from inhouse.core.principal import Principal
from inhouse.gateway.call import Call, Outcome
from inhouse.gateway.policy import Policy, Settings, Spent, Surroundings, policy
from inhouse.gateway.prices import expected
from inhouse.gateway.subjects import Counters, Identity, Rule, numbered

Period = Literal["day", "week", "month", "total"]
_NOTE = "budget"
_NOISE = 1e-9


class BudgetSpent(LimitExceeded):
    """Nothing is left of a budget, or not enough for the request."""

    retryable = False


class Budgeted(Rule):
    """How much somebody may spend."""

    cost: float | None = Field(default=None, ge=0, le=1e12, description="Money, in the currency of the price list.")
    tokens: int | None = Field(default=None, ge=0, le=10**15, description="Tokens, read and written.")
    period: Period = Field(default="month", description="For how long: a calendar day, week or month, or in all.")

    @property
    def identity(self) -> Hashable:
        return (*super().identity, self.period)  # type: ignore[misc]  # a tuple there


class BudgetSettings(Settings):
    """How much keys, users and teams may spend. Every rule that fits a request applies."""

    rules: tuple[Budgeted, ...] = Field(default=(), max_length=1000, description="The budgets.")
    answer_tokens: int = Field(
        default=2000,
        ge=0,
        le=1_000_000,
        description="Tokens to set aside for an answer whose length the request does not bound, until it is there.",
    )
    utc_offset_h: float = Field(
        default=0, ge=-12, le=14, description="Hours that the local time is ahead of UTC: when days begin."
    )


class _Account:
    """What one subject of one rule has spent in this period, and what is set aside for requests under way."""

    __slots__ = ("cost", "cost_aside", "end", "rule", "tokens", "tokens_aside")

    def __init__(self, rule: Budgeted, end: float, *, cost: float = 0.0, tokens: int = 0) -> None:
        self.rule = rule
        self.end = end
        self.cost = cost
        self.tokens = tokens
        self.cost_aside = 0.0
        self.tokens_aside = 0

    def configure(self, rule: Budgeted) -> None:
        self.rule = rule

    def begin(self, end: float) -> None:
        """Begin the next period. What is set aside stays: it will be spent in this one."""
        self.end = end
        self.cost = 0.0
        self.tokens = 0

    def has(self, cost: float, tokens: int) -> bool:
        rule = self.rule
        return (rule.cost is None or self.cost + self.cost_aside + cost <= rule.cost + _NOISE) and (
            rule.tokens is None or self.tokens + self.tokens_aside + tokens <= rule.tokens
        )


@policy("budget", order=35, settings=BudgetSettings)
class Budget(Policy[BudgetSettings]):
    """Sets aside what a request may cost before it starts, so that requests at the same time cannot overspend."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self.accounts: Counters[Budgeted, _Account] = Counters(self._account)
        self._stored: dict[tuple[Identity, str], tuple[float, float, int]] = {}

    def configure(self, settings: BudgetSettings) -> None:
        """Take new budgets. Those that are new start from what the ledger says."""
        self.settings = settings
        self._stored = self._read(settings)
        self.accounts.configure(settings.rules)

    @property
    def is_active(self) -> bool:
        return bool(self.settings.rules)

    def admit(self, call: Call) -> None:
        accounts = self.accounts.of(call)
        if not accounts:
            return
        now = self.surroundings.now()
        prompt, completion = expected(call, self.settings.answer_tokens)
        price = self.surroundings.prices.highest(call.route)
        cost, tokens = price.of(prompt, completion) if price is not None else 0.0, prompt + completion
        for account in accounts:
            if now >= account.end:
                account.begin(period(account.rule.period, now, self.settings.utc_offset_h)[1])
            if not account.has(cost, tokens):
                raise _refusal(account)
        for account in accounts:
            account.cost_aside += cost
            account.tokens_aside += tokens
        call.notes[_NOTE] = (accounts, cost, tokens)

    def settle(self, call: Call, outcome: Outcome) -> None:
        note = call.notes.get(_NOTE)
        if note is None:
            return
        accounts, cost, tokens = note
        used = self.surroundings.prices.used(call, outcome)
        used_tokens, used_cost = used.prompt_tokens + used.completion_tokens, used.cost or 0.0
        for account in accounts:
            account.tokens_aside -= tokens
            account.cost_aside = account.cost_aside - cost if account.tokens_aside else 0.0  # no dust of rounding
            account.tokens += used_tokens
            account.cost += used_cost

    def _account(self, rule: Budgeted, identity: Identity, subject: str) -> _Account:
        end = period(rule.period, self.surroundings.now(), self.settings.utc_offset_h)[1]
        stored_end, cost, tokens = self._stored.pop((identity, subject), (end, 0.0, 0))
        return _Account(rule, end, cost=cost, tokens=tokens) if stored_end == end else _Account(rule, end)

    def _read(self, settings: BudgetSettings) -> dict[tuple[Identity, str], tuple[float, float, int]]:
        """What has been spent in the present periods, for every rule and subject: end of the period, cost, tokens."""
        spending = self.surroundings.spending
        found: dict[tuple[Identity, str], tuple[float, float, int]] = {}
        if spending is None:
            return found
        now = self.surroundings.now()
        for identity, rule in numbered(settings.rules):
            start, end = period(rule.period, now, settings.utc_offset_h)
            for spent in spending.since(self.surroundings.workspace_id, start):
                subject = rule.counts(_spender(spent)) if rule.fits(spent.model) else ""
                if subject:
                    _, cost, tokens = found.get((identity, subject), (end, 0.0, 0))
                    found[identity, subject] = (end, cost + spent.cost, tokens + spent.tokens)
        return found


def period(name: Period, now: float, utc_offset_h: float) -> tuple[float, float]:
    """Start and end of the calendar period around a moment, in unix seconds."""
    if name == "total":
        return 0.0, math.inf
    local = datetime.fromtimestamp(now, timezone(timedelta(hours=utc_offset_h)))
    start = local.replace(hour=0, minute=0, second=0, microsecond=0)
    if name == "day":
        return start.timestamp(), (start + timedelta(days=1)).timestamp()
    if name == "week":
        start -= timedelta(days=start.weekday())
        return start.timestamp(), (start + timedelta(days=7)).timestamp()
    start = start.replace(day=1)
    return start.timestamp(), (start + timedelta(days=32)).replace(day=1).timestamp()


def _spender(spent: Spent) -> Principal:
    """Who has spent, as rules see them."""
    user_id = f"key_{spent.key_id}" if spent.key_id else spent.user_id
    return Principal("", user_id, frozenset(), key_id=spent.key_id, owner_id=spent.user_id, team=spent.team)


def _refusal(account: _Account) -> BudgetSpent:
    rule = account.rule
    left = []
    if rule.cost is not None:
        left.append(f"{max(0.0, rule.cost - account.cost - account.cost_aside):.2f} of {rule.cost:g}")
    if rule.tokens is not None:
        left.append(f"{max(0, rule.tokens - account.tokens - account.tokens_aside)} of {rule.tokens} tokens")
    whole = "in all" if rule.period == "total" else f"for this {rule.period}"
    return BudgetSpent(
        f"The budget {whole} does not cover this request: {' and '.join(left)} left.",
        hint="Ask an administrator for more, or set a smaller max_tokens.",
        code="insufficient_quota",
    )
