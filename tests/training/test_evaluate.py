import numpy as np
import pytest

from inhouse.training.dataset import Row
from inhouse.training.evaluate import (
    Confusion,
    NothingToEvaluate,
    calibration_error,
    evaluate,
    fit_temperature,
    unknown_threshold,
)


def test_the_figures_are_those_worked_out_by_hand():
    truth, said = "aabbb", "abbba"
    rows = [Row(str(i), f"text {i}", label) for i, label in enumerate(truth)]
    answers = {f"text {i}": {label: 0.8, "ab".replace(label, ""): 0.2} for i, label in enumerate(said)}

    report = evaluate(lambda texts: [answers[text] for text in texts], rows)

    assert report.accuracy == pytest.approx(3 / 5)
    assert report.per_class["a"].recall == pytest.approx(1 / 2)
    assert report.per_class["b"].precision == pytest.approx(2 / 3)
    assert report.macro_f1 == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert report.ece == pytest.approx(0.2)
    assert report.confusions == [Confusion("a", "b", 1, "text 1"), Confusion("b", "a", 1, "text 4")]


def test_an_evaluation_without_rows_is_refused():
    with pytest.raises(NothingToEvaluate):
        evaluate(lambda _: [], [])


def test_a_model_that_is_as_sure_as_it_is_right_has_no_calibration_error():
    assert calibration_error([0.75] * 4, [True, True, True, False]) == pytest.approx(0)


def test_the_temperature_undoes_overconfidence():
    chance = np.random.default_rng(0)
    honest = chance.normal(size=(4000, 5)) * 2
    odds = np.exp(honest) / np.exp(honest).sum(1, keepdims=True)
    targets = np.array([chance.choice(5, p=row) for row in odds])

    assert fit_temperature(honest * 3, targets) == pytest.approx(3, rel=0.1)


def test_the_unknown_threshold_keeps_nearly_all_right_answers():
    scores = np.linspace(0, 1, 101)

    assert unknown_threshold(list(scores), [True] * 101) == pytest.approx(0.05)
    assert unknown_threshold([0.4], [False]) == 0.0
