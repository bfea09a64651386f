from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inhouse.core.errors import LimitExceeded
from inhouse.core.principal import Principal
from inhouse.gateway.call import Call, Endpoint, Outcome, Usage
from inhouse.gateway.policies.limits import (
    Limits,
    LimitsSettings,
    RequestOverLimit,
    TooManyRequests,
    TooManyTokens,
    _span,
)
from inhouse.gateway.policy import Surroundings

from .doubles import Clock, call, route, targets

PROMPT = call().prompt_estimate
OK = Outcome(200)


def limits(clock: Clock, *rules: Mapping[str, Any], **more: Any) -> Limits:
    found = Limits(Surroundings(clock=clock))
    found.configure(LimitsSettings.model_validate({"rules": rules, **more}))
    return found


def of(who: Principal, model: str = "m", **more: Any) -> Call:
    asked = call(route(*targets("lab"), name=model), **more)
    asked.principal = who
    return asked


def passes(policy: Limits, asked: Call) -> bool:
    try:
        policy.admit(asked)
    except LimitExceeded:
        return False
    return True


def headers(asked: Call) -> dict[str, str]:
    pairs = (line.split(": ") for line in asked.lines.decode().splitlines())
    return {name.removeprefix("x-ratelimit-"): value for name, value in pairs}


ANN = Principal("default", "key_1", frozenset(), key_id="1", owner_id="user_ann", team="red")
BOB = Principal("default", "key_2", frozenset(), key_id="2", owner_id="user_ann")


def test_without_rules_it_is_not_there():
    assert not limits(Clock()).is_active


def test_requests_beyond_the_limit_wait_their_time():
    clock = Clock()
    policy = limits(clock, {"requests_per_minute": 2})
    admitted = [passes(policy, of(ANN)) for _ in range(3)]
    refused = of(ANN)

    with pytest.raises(TooManyRequests) as raised:
        policy.admit(refused)

    assert admitted == [True, True, False]
    assert raised.value.details == {"retry_after_s": 30.0, "code": "rate_limit_exceeded"}
    assert headers(refused) == {"limit-requests": "2", "remaining-requests": "0", "reset-requests": "1m0s"}
    clock.move(30)
    assert passes(policy, of(ANN))


def test_an_answer_counts_as_long_as_it_may_get_until_it_is_there():
    policy = limits(Clock(), {"tokens_per_minute": 1000})
    first = of(ANN, max_tokens=900)
    policy.admit(first)
    assert not passes(policy, of(ANN, max_tokens=900))

    first.usage = Usage(10, 20)
    policy.settle(first, OK)

    second = of(ANN, max_tokens=900)
    policy.admit(second)
    assert headers(second)["remaining-tokens"] == str(1000 - 30 - 900 - PROMPT)


def test_more_tokens_than_expected_count_too():
    policy = limits(Clock(), {"tokens_per_minute": 1000}, answer_tokens=100)
    first = of(ANN)
    policy.admit(first)

    first.usage = Usage(10, 5000)
    policy.settle(first, OK)

    with pytest.raises(TooManyTokens) as raised:
        policy.admit(of(ANN))
    assert raised.value.details["retry_after_s"] > 60 * 4


@pytest.mark.parametrize("end", [Outcome(503), Outcome(499)])
def test_what_was_never_answered_gives_its_tokens_back(end: Outcome):
    policy = limits(Clock(), {"tokens_per_minute": 1000})
    first = of(ANN, max_tokens=900)
    policy.admit(first)

    policy.settle(first, end)

    assert passes(policy, of(ANN, max_tokens=900))


def test_a_cached_answer_uses_no_tokens():
    policy = limits(Clock(), {"tokens_per_minute": 1000})
    first = of(ANN, max_tokens=900)
    policy.admit(first)

    first.cache, first.usage = "hit", Usage(10, 900)
    policy.settle(first, OK)

    assert passes(policy, of(ANN, max_tokens=900))


def test_waiting_does_not_help_a_request_that_is_too_large():
    policy = limits(Clock(), {"tokens_per_minute": 100})

    with pytest.raises(RequestOverLimit) as raised:
        policy.admit(of(ANN, max_tokens=200))

    assert not raised.value.retryable
    assert "retry_after_s" not in raised.value.details


def test_a_refused_request_takes_nothing_from_other_limits():
    policy = limits(Clock(), {"requests_per_minute": 3}, {"requests_per_minute": 1, "model": "big"})
    passes(policy, of(ANN, "big"))

    refused = [passes(policy, of(ANN, "big")) for _ in range(5)]

    assert not any(refused)
    assert [passes(policy, of(ANN)) for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize(
    ("rule", "shared"),
    [
        ({}, False),
        ({"each": "user"}, True),
        ({"each": "workspace"}, True),
        ({"each": "team"}, False),
        ({"subject": "key:1"}, False),
        ({"subject": "user:user_ann"}, True),
        ({"subject": "user:user_ann", "each": "key"}, False),
    ],
    ids=str,
)
def test_each_subject_has_its_own_count(rule: Mapping[str, str], shared: bool):
    policy = limits(Clock(), {"requests_per_minute": 1, **rule})
    assert passes(policy, of(ANN))
    assert not passes(policy, of(ANN))

    assert passes(policy, of(BOB)) is not shared


def test_a_rule_holds_for_its_models_together():
    policy = limits(Clock(), {"requests_per_minute": 1, "model": "big-*"})

    assert [passes(policy, of(ANN, model)) for model in ("big-1", "big-2", "small", "small")] == [
        True,
        False,
        True,
        True,
    ]


def test_the_headers_tell_of_the_tightest_limit():
    policy = limits(Clock(), {"requests_per_minute": 100}, {"requests_per_minute": 5, "each": "workspace"})
    asked = of(ANN)

    policy.admit(asked)

    assert headers(asked) == {"limit-requests": "5", "remaining-requests": "4", "reset-requests": "12s"}


def test_new_amounts_keep_what_is_counted():
    policy = limits(Clock(), {"requests_per_minute": 2})
    passes(policy, of(ANN))
    passes(policy, of(ANN))

    policy.configure(LimitsSettings.model_validate({"rules": [{"requests_per_minute": 3}]}))

    assert [passes(policy, of(ANN)) for _ in range(2)] == [True, False]


def test_the_number_of_counters_is_bounded():
    policy = limits(Clock(), {"requests_per_minute": 1})
    policy.buckets._max_counters = 10

    for number in range(25):
        assert passes(policy, of(replace(ANN, user_id=f"key_{number}", key_id=str(number))))

    assert len(policy.buckets.all()) == 10
    assert policy.buckets.dropped == 15


def test_sound_counts_as_a_request_without_tokens():
    policy = limits(Clock(), {"tokens_per_minute": 1})
    asked = of(ANN)
    asked.fields, asked.endpoint, asked.body = {}, Endpoint.TRANSCRIPTIONS, b"x" * 100_000

    assert passes(policy, asked)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, b"0s"), (1, b"1s"), (59, b"59s"), (360, b"6m0s"), (3600, b"1h0m0s"), (3661, b"1h1m1s")]
)
def test_times_are_written_as_openai_does(seconds: int, text: bytes):
    assert _span(seconds) == text


steps = st.lists(st.tuples(st.floats(0, 30), st.integers(0, 300), st.integers(0, 300)), max_size=60)


@settings(max_examples=60, deadline=None)
@given(steps, st.integers(1, 600), st.integers(1, 120))
def test_no_more_than_rate_times_time_and_a_burst_comes_through(
    moves: list[tuple[float, int, int]], rate: int, burst_s: int
):
    clock = Clock()
    policy = limits(clock, {"requests_per_minute": rate, "burst_s": burst_s})
    begin, admitted = clock.time, 0

    for wait_s, _, _ in moves:
        clock.move(wait_s)
        admitted += passes(policy, of(ANN))

        assert admitted <= max(1, rate * burst_s / 60) + rate / 60 * (clock.time - begin) + 1e-6


@settings(max_examples=60, deadline=None)
@given(steps, st.integers(200, 5000), st.randoms(use_true_random=False))
def test_no_more_tokens_than_allowed_come_through(moves: list[tuple[float, int, int]], rate: int, random: Any):
    """Where no answer is longer than it may be, whatever ends in whichever order."""
    clock = Clock()
    policy = limits(clock, {"tokens_per_minute": rate})
    begin, used, open_calls = clock.time, 0, []

    for wait_s, most, real in moves:
        clock.move(wait_s)
        asked = of(ANN, max_tokens=most + 1)
        if passes(policy, asked):
            asked.usage = Usage(PROMPT, min(real, most + 1))
            open_calls.append(asked)
        if open_calls and random.random() < 0.6:
            ended = open_calls.pop(random.randrange(len(open_calls)))
            assert ended.usage is not None
            used += ended.usage.total_tokens
            policy.settle(ended, OK)

        assert used <= rate + rate / 60 * (clock.time - begin) + 1e-6
