import pytest

from inhouse.training.calibration import auroc, reliability


def test_the_bins_hold_what_was_said_and_what_was_right():
    bins = reliability([0.95, 0.91, 0.55, 1.0], [True, False, True, True])

    assert [(one.low, one.count) for one in bins] == [(0.5, 1), (0.9, 3)]
    assert bins[1].confidence == pytest.approx(0.9533, abs=1e-4)
    assert bins[1].accuracy == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("known", "unknown", "expected"),
    [([0.9, 0.8], [0.1, 0.2], 1.0), ([0.5], [0.5], 0.5), ([0.1], [0.9], 0.0), ([0.9, 0.3], [0.5], 0.5)],
)
def test_auroc_is_the_chance_that_the_known_is_surer(known: list[float], unknown: list[float], expected: float):
    assert auroc(known, unknown) == expected


def test_auroc_of_one_side_alone_is_unknown():
    assert auroc([0.5], []) is None
