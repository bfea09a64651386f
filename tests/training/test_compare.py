import pytest

from inhouse.training.compare import mcnemar, paired_bootstrap


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [(0, 0, 1.0), (5, 5, 1.0), (8, 0, 2 / 256), (1, 9, 22 / 1024)],
)
def test_the_exact_test_counts_only_rows_where_one_model_is_right(only_a: int, only_b: int, p: float):
    a = [True] * only_a + [False] * only_b + [True, False] * 50
    b = [False] * only_a + [True] * only_b + [True, False] * 50

    assert mcnemar(a, b) == pytest.approx(p)


def test_the_bootstrap_interval_holds_the_difference_and_shrinks_with_rows():
    few = paired_bootstrap([True, True, False, True] * 10, [True, False, False, True] * 10)
    many = paired_bootstrap([True, True, False, True] * 1000, [True, False, False, True] * 1000)

    assert few.low < few.mean == 0.25 < few.high
    assert many.high - many.low < (few.high - few.low) / 5


def test_equal_models_do_not_differ():
    same = paired_bootstrap([True, False], [True, False])

    assert (same.mean, same.low, same.high) == (0, 0, 0)


def test_models_are_compared_on_the_same_rows():
    with pytest.raises(ValueError, match="longer"):
        mcnemar([True], [True, False])
