import pytest

from inhouse.core.errors import InhouseError, Invalid, Misconfigured, NotFound
from inhouse.gateway.policies.breaker import Breaker, BreakerSettings
from inhouse.gateway.policy import Surroundings
from inhouse.gateway.route import Target

from .doubles import Busy, Clock, Down, Slow, route, targets


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    found = Breaker(Surroundings(clock=clock))
    found.configure(BreakerSettings(failures=3, open_s=5, max_open_s=20, min_requests=10, window_s=30))
    return found


@pytest.fixture
def target() -> Target:
    return targets("lab")[0]


def fail(breaker: Breaker, target: Target, times: int = 1, error: InhouseError | None = None) -> None:
    for _ in range(times):
        breaker.started(target)
        breaker.failed(target, error or Down("gone"))


def succeed(breaker: Breaker, target: Target, times: int = 1) -> None:
    for _ in range(times):
        breaker.started(target)
        breaker.succeeded(target)


def test_failures_in_a_row_open_it(breaker: Breaker, target: Target):
    fail(breaker, target, 2)
    assert breaker.allows(target)

    fail(breaker, target)

    assert not breaker.allows(target)
    assert breaker.state(target) == "open"


def test_an_answer_between_failures_keeps_it_closed(breaker: Breaker, target: Target):
    for _ in range(3):
        fail(breaker, target, 2)
        succeed(breaker, target)

    assert breaker.allows(target)


def test_a_large_share_of_failures_opens_it(breaker: Breaker, target: Target):
    for _ in range(5):
        fail(breaker, target)
        succeed(breaker, target)
    fail(breaker, target)

    assert breaker.state(target) == "open"


def test_failures_long_ago_do_not_count(breaker: Breaker, target: Target, clock: Clock):
    for _ in range(20):
        fail(breaker, target)
        succeed(breaker, target)
        clock.move(10)

    assert breaker.state(target) == "closed"


def test_a_target_that_is_well_again_is_forgotten(breaker: Breaker, target: Target, clock: Clock):
    fail(breaker, target)
    clock.move(31)

    succeed(breaker, target)

    assert breaker.states() == {}


def test_one_probe_at_a_time_is_let_through(breaker: Breaker, target: Target, clock: Clock):
    fail(breaker, target, 3)
    clock.move(5)

    assert breaker.state(target) == "half-open"
    assert breaker.allows(target)
    breaker.started(target)
    assert not breaker.allows(target)


def test_a_good_probe_closes_it(breaker: Breaker, target: Target, clock: Clock):
    fail(breaker, target, 3)
    clock.move(5)

    succeed(breaker, target)

    assert breaker.state(target) == "closed"
    fail(breaker, target, 2)
    assert breaker.allows(target)


def test_each_bad_probe_keeps_it_open_for_longer_up_to_a_bound(breaker: Breaker, target: Target, clock: Clock):
    fail(breaker, target, 3)
    waited: list[int] = []
    for _ in range(4):
        seconds = 0
        while not breaker.allows(target):
            clock.move(1)
            seconds += 1
        waited.append(seconds)
        fail(breaker, target)

    assert waited == [5, 10, 20, 20]


def test_a_relapse_soon_after_keeps_it_open_for_longer(breaker: Breaker, target: Target, clock: Clock):
    fail(breaker, target, 3)
    clock.move(5)
    succeed(breaker, target)
    fail(breaker, target, 3)
    clock.move(9)

    assert not breaker.allows(target)
    clock.move(1)
    assert breaker.allows(target)


def test_who_leaves_a_probe_makes_room_for_another(breaker: Breaker, target: Target, clock: Clock):
    fail(breaker, target, 3)
    clock.move(5)
    breaker.started(target)

    breaker.left(target)

    assert breaker.allows(target)


def test_stragglers_from_before_change_nothing(breaker: Breaker, target: Target, clock: Clock):
    fail(breaker, target, 3)
    clock.move(1)

    breaker.succeeded(target)
    breaker.failed(target, Down("gone"))
    clock.move(4)

    assert breaker.allows(target)
    assert breaker.state(target) == "half-open"


@pytest.mark.parametrize("error", [Invalid("no"), NotFound("no"), Misconfigured("no"), Busy("later")])
def test_what_is_not_the_targets_fault_does_not_count(breaker: Breaker, target: Target, error: InhouseError):
    fail(breaker, target, 20, error)

    assert breaker.allows(target)


@pytest.mark.parametrize("error", [Down("no"), Slow("no")])
def test_failures_and_time_outs_count(breaker: Breaker, target: Target, error: InhouseError):
    fail(breaker, target, 3, error)

    assert not breaker.allows(target)


def test_a_busy_target_rests_for_as_long_as_it_asks(breaker: Breaker, target: Target, clock: Clock):
    fail(breaker, target, 1, Busy("later", retry_after_s=7.0))

    assert not breaker.allows(target)
    assert breaker.state(target) == "closed"
    clock.move(7)
    assert breaker.allows(target)


def test_a_busy_target_does_not_rest_for_ever(breaker: Breaker, target: Target, clock: Clock):
    fail(breaker, target, 1, Busy("later", retry_after_s=1e9))
    clock.move(20)

    assert breaker.allows(target)


def test_only_the_healthy_are_usable(breaker: Breaker):
    one, two, three = targets("one", "two", "three")
    fail(breaker, one, 3)
    fail(breaker, three, 3)

    assert list(breaker.usable([one, two, three])) == [two]


def test_when_all_are_open_they_are_tried_in_turn(breaker: Breaker, clock: Clock):
    all_three = targets("one", "two", "three")
    for target in all_three:
        fail(breaker, target, 3)
        clock.move(0.1)

    tried: list[Target] = []
    for _ in range(4):
        [target] = breaker.usable(all_three)
        fail(breaker, target)
        clock.move(0.1)
        tried.append(target)

    assert tried == [*all_three, all_three[0]]


def test_a_route_is_out_while_all_its_targets_are(breaker: Breaker, clock: Clock):
    both = targets("one", "two")
    on = route(*both)
    fail(breaker, both[0], 3)
    assert not breaker.surroundings.is_out(on)

    fail(breaker, both[1], 3)
    assert breaker.surroundings.is_out(on)

    clock.move(5)
    assert not breaker.surroundings.is_out(on)


def test_a_guess_that_answers_closes_it(breaker: Breaker):
    both = targets("one", "two")
    for target in both:
        fail(breaker, target, 3)
    [target] = breaker.usable(both)

    succeed(breaker, target)

    assert breaker.usable(both) == [target]
    assert breaker.state(target) == "closed"


def test_switched_off_it_lets_everything_through(breaker: Breaker, target: Target):
    fail(breaker, target, 3)

    breaker.configure(BreakerSettings(enabled=False))

    assert breaker.allows(target)
    assert not breaker.is_active


def test_what_it_remembers_is_bounded(breaker: Breaker):
    for number in range(3000):
        fail(breaker, targets(f"server {number}")[0])

    assert len(breaker.states()) <= 1024


@pytest.mark.parametrize("end", ["left", "succeeded", "failed", "hurried"])
def test_a_call_from_before_it_opened_says_nothing_about_the_probe(
    breaker: Breaker, target: Target, clock: Clock, end: str
):
    early = breaker.started(target)
    fail(breaker, target, 3)
    clock.move(5)
    probe = breaker.started(target)

    if end == "left":
        breaker.left(target, is_probe=early)
    elif end == "succeeded":
        breaker.succeeded(target, is_probe=early)
    else:
        breaker.failed(target, Slow("late"), is_hurried=end == "hurried", is_probe=early)

    assert (early, probe) == (False, True)
    assert not breaker.allows(target)
    breaker.succeeded(target, is_probe=probe)
    assert breaker.state(target) == "closed"
