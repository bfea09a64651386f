from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inhouse.core.principal import Principal
from inhouse.gateway.call import Call, Outcome, Usage
from inhouse.gateway.policies.budget import Budget, BudgetSettings, BudgetSpent, period
from inhouse.gateway.policy import Series, Spent, Surroundings
from inhouse.gateway.prices import Price, Used

from .doubles import Clock, call, route, targets

PROMPT = call().prompt_estimate
OK = Outcome(200)
ANN = Principal("default", "key_1", frozenset(), key_id="1", owner_id="user_ann", team="red")


class Stored:
    """A ledger with these entries."""

    def __init__(self, *entries: Spent) -> None:
        self.entries = entries
        self.asked: list[float] = []

    def since(self, workspace_id: str, start: float) -> Iterable[Spent]:
        self.asked.append(start)
        return self.entries

    def record(self, series: Series, status: int, is_cached: bool, used: Used) -> None:
        raise AssertionError("Budgets don't record.")


def budget(*rules: Mapping[str, Any], clock: Clock | None = None, stored: Stored | None = None, **more: Any) -> Budget:
    surroundings = Surroundings(now=clock or Clock(), spending=stored)
    surroundings.prices.set([("cheap", Price(1, 1)), ("m", Price(1000, 1000))])
    found = Budget(surroundings)
    found.configure(BudgetSettings.model_validate({"rules": rules, **more}))
    return found


def of(who: Principal = ANN, max_tokens: int = 100) -> Call:
    asked = call(route(*targets("lab"), name="m"), max_tokens=max_tokens)
    asked.principal = who
    return asked


def passes(policy: Budget, asked: Call) -> bool:
    try:
        policy.admit(asked)
    except BudgetSpent:
        return False
    return True


def end(policy: Budget, asked: Call, completion: int) -> None:
    asked.target = asked.route.targets[0]
    asked.usage = Usage(PROMPT, completion)
    policy.settle(asked, OK)


def test_what_requests_under_way_may_cost_is_set_aside():
    policy = budget({"tokens": 200})
    first, second = of(), of()

    assert [passes(policy, asked) for asked in (first, second)] == [True, False]
    end(policy, first, 10)

    assert passes(policy, of())


def test_a_spent_budget_tells_clients_not_to_try_again():
    policy = budget({"cost": 0.05})
    refused = of()

    with pytest.raises(BudgetSpent, match=r"for this month does not cover this request: 0\.05 of 0\.05 left") as raised:
        policy.admit(refused)

    assert raised.value.details == {"code": "insufficient_quota"}
    assert not raised.value.retryable


def test_money_is_counted_by_the_price_list():
    policy = budget({"cost": 1.0, "period": "total"})
    asked = of()
    policy.admit(asked)

    end(policy, asked, 50)

    [(subject, account)] = policy.accounts.all()
    assert subject == "key:1"
    assert account.cost == pytest.approx((PROMPT + 50) * 1000 / 1e6)
    assert asked.cost == account.cost
    assert (account.cost_aside, account.tokens_aside) == (0, 0)


def test_a_failed_request_costs_nothing():
    policy = budget({"tokens": 200})
    asked = of()
    policy.admit(asked)

    policy.settle(asked, Outcome(503))

    [(_, account)] = policy.accounts.all()
    assert (account.tokens, account.tokens_aside) == (0, 0)


def test_the_next_period_begins_with_nothing_spent():
    clock = Clock()
    clock.time = datetime(2026, 3, 31, 23, 59, tzinfo=UTC).timestamp()
    policy = budget({"tokens": 200}, clock=clock)
    first = of()
    policy.admit(first)
    end(policy, first, 100)
    assert not passes(policy, of())

    clock.move(60)

    assert passes(policy, of())


def test_after_a_restart_it_goes_on_from_the_ledger():
    clock = Clock()
    clock.time = datetime(2026, 3, 31, 12, tzinfo=UTC).timestamp()
    stored = Stored(
        Spent("1", "user_ann", "red", "m", 3, 150, 0.5),
        Spent("2", "user_ann", "red", "m", 1, 30, 0.5),
        Spent("1", "user_ann", "red", "other", 1, 9000, 9.0),
    )

    policy = budget({"tokens": 300, "each": "user", "model": "m"}, clock=clock, stored=stored)

    policy.admit(of(max_tokens=100 - PROMPT))
    [(subject, account)] = policy.accounts.all()
    assert (subject, account.tokens, account.cost) == ("user:user_ann", 180, 1.0)
    assert stored.asked == [datetime(2026, 3, 1, tzinfo=UTC).timestamp()]


def test_what_the_ledger_says_of_an_earlier_period_does_not_count():
    clock = Clock()
    clock.time = datetime(2026, 3, 31, 12, tzinfo=UTC).timestamp()
    policy = budget({"tokens": 300}, clock=clock, stored=Stored(Spent("1", "user_ann", "red", "m", 3, 300, 0.5)))

    clock.move(24 * 3600)

    assert passes(policy, of())


def test_a_higher_budget_goes_on_with_what_is_spent():
    policy = budget({"tokens": 200, "period": "total"})
    first = of()
    policy.admit(first)
    end(policy, first, 100)

    policy.configure(BudgetSettings.model_validate({"rules": [{"tokens": 250, "period": "total"}]}))

    assert not passes(policy, of(max_tokens=200))
    assert passes(policy, of(max_tokens=250 - 100 - 2 * PROMPT))


def test_a_budget_of_nothing_lets_nothing_through():
    policy = budget({"subject": "team:red", "tokens": 0})

    assert not passes(policy, of())
    assert passes(policy, of(Principal("default", "user_bob", frozenset())))


@pytest.mark.parametrize(
    ("name", "offset", "start", "end_"),
    [
        ("day", 0, (2026, 12, 31), (2027, 1, 1)),
        ("week", 0, (2026, 12, 28), (2027, 1, 4)),
        ("month", 0, (2026, 12, 1), (2027, 1, 1)),
    ],
)
def test_periods_follow_the_calendar(name: Any, offset: float, start: tuple[int, ...], end_: tuple[int, ...]):
    moment = datetime(2026, 12, 31, 15, tzinfo=UTC).timestamp()

    found = period(name, moment, offset)

    assert found == tuple(datetime(*day, tzinfo=UTC).timestamp() for day in (start, end_))  # type: ignore[arg-type]


def test_days_begin_where_the_company_is():
    moment = datetime(2026, 12, 31, 17, tzinfo=UTC).timestamp()

    assert period("day", moment, 8)[0] == datetime(2026, 12, 31, 16, tzinfo=UTC).timestamp()


steps = st.lists(st.tuples(st.integers(1, 200), st.integers(0, 200), st.booleans()), max_size=60)


@settings(max_examples=80, deadline=None)
@given(steps, st.integers(0, 3000), st.floats(0, 3), st.randoms(use_true_random=False))
def test_a_budget_is_never_overspent(moves: list[tuple[int, int, bool]], tokens: int, cost: float, random: Any):
    """Where no answer is longer than it may be; and when all is over nothing is left set aside."""
    policy = budget({"tokens": tokens, "cost": cost, "each": "workspace", "period": "total"})
    open_calls: list[tuple[Call, int]] = []
    used = 0

    for most, real, ends in moves:
        asked = of(max_tokens=most)
        if passes(policy, asked):
            open_calls.append((asked, min(real, most)))
        if ends and open_calls:
            asked, real_tokens = open_calls.pop(random.randrange(len(open_calls)))
            end(policy, asked, real_tokens)
            used += PROMPT + real_tokens
            assert used <= tokens
            assert used * 1000 / 1e6 <= cost + 1e-6
    for asked, real_tokens in open_calls:
        end(policy, asked, real_tokens)
        used += PROMPT + real_tokens

    for _, account in policy.accounts.all():
        assert (account.tokens, account.tokens_aside, account.cost_aside) == (used, 0, 0)
        assert account.cost == pytest.approx(used * 1000 / 1e6)
        assert used <= tokens
