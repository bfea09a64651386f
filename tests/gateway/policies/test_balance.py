import random
from collections import Counter

import pytest

from inhouse.core.principal import Principal
from inhouse.gateway.call import Call, Outcome, Usage
from inhouse.gateway.policies.balance import Balance, BalanceSettings
from inhouse.gateway.policies.retry import TRIED
from inhouse.gateway.policy import Surroundings
from inhouse.gateway.prices import Price
from inhouse.gateway.route import Route, Target

from .doubles import call, route, targets


@pytest.fixture
def balance() -> Balance:
    return Balance(Surroundings(), uniform=random.Random(7).random)


def names(balance: Balance, on: Route, times: int) -> list[str]:
    return [balance.choose(call(on), on.targets).backend.name for _ in range(times)]


def of_session(session: str, on: Route) -> Call:
    return call(on, session=session)


def test_weights_are_kept_without_bursts(balance: Balance):
    (heavy,), (light,) = targets("heavy", weight=3), targets("light", weight=1)

    chosen = names(balance, route(heavy, light), 8)

    assert Counter(chosen) == {"heavy": 6, "light": 2}
    assert chosen == ["heavy", "heavy", "light", "heavy"] * 2


def test_a_target_without_weight_gets_nothing_while_there_is_another(balance: Balance):
    (spare,), (main,) = targets("spare", weight=0), targets("main")
    on = route(spare, main)

    assert set(names(balance, on, 5)) == {"main"}
    assert balance.choose(call(on), [spare]) is spare


def test_a_target_that_failed_this_call_is_avoided(balance: Balance):
    one, two = targets("one", "two")
    asked = call(route(one, two))
    asked.notes[TRIED] = [one]

    assert {balance.choose(asked, [one, two]) for _ in range(4)} == {two}


def test_when_all_have_failed_any_will_do(balance: Balance):
    one, two = targets("one", "two")
    asked = call(route(one, two))
    asked.notes[TRIED] = [one, two]

    assert {balance.choose(asked, [one, two]) for _ in range(4)} == {one, two}


def test_the_less_loaded_of_two_is_taken(balance: Balance):
    idle, busy = targets("idle", "busy")
    idle.latency_s = busy.latency_s = 0.1
    busy.in_flight = 3

    assert set(names(balance, route(idle, busy, balance="least-loaded"), 10)) == {"idle"}


def test_a_fast_server_may_have_more_in_flight_than_a_slow_one(balance: Balance):
    fast, slow = targets("fast", "slow")
    fast.latency_s, slow.latency_s = 0.1, 1.0
    fast.in_flight = 5

    assert set(names(balance, route(fast, slow, balance="least-loaded"), 10)) == {"fast"}


def test_a_new_server_counts_as_fast_as_the_other_and_is_not_flooded(balance: Balance):
    known, new = targets("known", "new")
    known.latency_s = 0.5
    on = route(known, new, balance="least-loaded")

    for _ in range(10):
        balance.choose(call(on), on.targets).in_flight += 1

    assert (known.in_flight, new.in_flight) == (5, 5)


def test_all_of_many_servers_get_their_part_of_the_load(balance: Balance):
    on = route(*targets(*"abcde"), balance="least-loaded")

    for _ in range(500):
        balance.choose(call(on), on.targets).in_flight += 1

    assert all(90 <= target.in_flight <= 110 for target in on.targets)


def test_a_session_stays_with_its_target(balance: Balance):
    on = route(*targets("one", "two", "three"), balance="sticky")

    assert len({balance.choose(of_session("s", on), on.targets) for _ in range(9)}) == 1


def test_sessions_spread_by_weight(balance: Balance):
    (heavy,), (light,) = targets("heavy", weight=3), targets("light", weight=1)
    on = route(heavy, light, balance="sticky")

    chosen = Counter(balance.choose(of_session(str(n), on), on.targets).backend.name for n in range(2000))

    assert 1400 <= chosen["heavy"] <= 1600


def test_only_the_sessions_of_a_target_that_is_out_move(balance: Balance):
    on = route(*targets("one", "two", "three"), balance="sticky")
    sessions = [str(number) for number in range(200)]
    before = {session: balance.choose(of_session(session, on), on.targets) for session in sessions}

    left = on.targets[1:]
    after = {session: balance.choose(of_session(session, on), left) for session in sessions}

    assert all(after[session] is target for session, target in before.items() if target in left)
    assert {target.backend.name for target in after.values()} == {"two", "three"}


def test_without_a_session_a_sticky_route_takes_turns(balance: Balance):
    on = route(*targets("one", "two"), balance="sticky")

    assert Counter(names(balance, on, 10)) == {"one": 5, "two": 5}


@pytest.fixture
def experiment() -> Route:
    return route(*targets("a1", "a2", weight=0.4, arm="a"), *targets("b", weight=0.2, arm="b"))


def test_arms_get_their_shares_and_a_session_stays_in_one(balance: Balance, experiment: Route):
    chosen = [of_session(str(number), experiment) for number in range(1000)]
    for asked in chosen * 2:
        before = asked.arm
        balance.choose(asked, experiment.targets)
        assert before in ("", asked.arm)

    assert 150 <= sum(asked.arm == "b" for asked in chosen) <= 250


def test_targets_of_one_arm_share_its_sessions(balance: Balance, experiment: Route):
    chosen = Counter(
        balance.choose(of_session(str(number), experiment), experiment.targets).backend.name for number in range(1000)
    )

    assert abs(chosen["a1"] - chosen["a2"]) <= 1


def test_an_arm_that_is_out_hands_its_sessions_over_and_says_so(balance: Balance, experiment: Route):
    asked = [of_session(str(number), experiment) for number in range(50)]
    for one in asked:
        balance.choose(one, experiment.targets[:2])

    assert {one.arm for one in asked} == {"a"}


@pytest.mark.parametrize(("by", "arms"), [("key", 1), ("user", 2)])
def test_arms_can_go_by_user_or_key(balance: Balance, experiment: Route, by: str, arms: int):
    balance.configure(BalanceSettings.model_validate({"arms_by": by}))
    seen: set[str] = set()
    for number in range(50):
        asked = of_session(str(number), experiment)
        asked.principal = Principal("default", f"user_{number}", frozenset(), key_id="key_1")
        balance.choose(asked, experiment.targets)
        seen.add(asked.arm)

    assert len(seen) == arms


def settle(balance: Balance, on: Route, target: Target, status: int = 200, **more: object) -> None:
    asked = call(on, arm=target.arm, target=target, **more)
    balance.settle(asked, Outcome(status, duration_s=2.0))


def test_figures_are_kept_for_each_arm(balance: Balance, experiment: Route):
    a, _, b = experiment.targets

    balance.surroundings.prices.set([("*", Price(30_000, 40_000))])

    settle(balance, experiment, a, usage=Usage(10, 5))
    settle(balance, experiment, a, usage=Usage(0, 0), stream=True, first_token_s=0.25)
    settle(balance, experiment, a, 503)
    settle(balance, experiment, b, 499)

    figures = balance.figures("m")
    assert (figures["a"].requests, figures["a"].errors) == (3, 1)
    assert (figures["a"].prompt_tokens, figures["a"].completion_tokens, figures["a"].cost) == (10, 5, 0.5)
    assert (figures["a"].seconds, figures["a"].streams, figures["a"].first_token_s) == (4.0, 1, 0.25)
    assert (figures["b"].requests, figures["b"].errors) == (1, 0)


def test_a_route_that_is_no_experiment_has_no_figures(balance: Balance):
    on = route(*targets("one", "two"))

    settle(balance, on, on.targets[0])

    assert balance.figures("m") == {}
