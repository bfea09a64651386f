import random

import pytest

from inhouse.loop.canary import Arm, alarm, fisher_greater


def test_fisher_agrees_with_the_lady_tasting_tea() -> None:
    assert fisher_greater(3, 4, 1, 4) == pytest.approx(17 / 70)
    assert fisher_greater(4, 4, 0, 4) == pytest.approx(1 / 70)


def test_many_down_votes_trip_the_guard() -> None:
    assert alarm(Arm(answers=200, down_votes=10), Arm(answers=50, down_votes=15)) == "down_votes"


def test_errors_trip_the_guard() -> None:
    assert alarm(Arm(answers=400, errors=1), Arm(answers=100, errors=10)) == "errors"


def test_a_few_answers_prove_nothing() -> None:
    assert alarm(Arm(answers=200), Arm(answers=5, errors=5)) is None


def test_equal_versions_hardly_ever_alarm() -> None:
    dice = random.Random(7)
    draw = lambda trials: sum(dice.random() < 0.08 for _ in range(trials))  # noqa: E731

    alarms = sum(alarm(Arm(400, draw(400), draw(400)), Arm(100, draw(100), draw(100))) is not None for _ in range(100))

    assert alarms <= 2
