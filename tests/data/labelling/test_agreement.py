import pytest
from hypothesis import given
from hypothesis import strategies as st

from inhouse.data.labelling.agreement import alpha, share, span_f1

PUBLISHED = [["a", "a"], ["b", "b"], ["a", "b"], ["b", "b"], ["b"]]


def test_alpha_is_what_the_formula_says_by_hand() -> None:
    # 4 tasks with a pair, values a: 3, b: 5; observed disagreement 2, expected 2 * 3 * 5 / 7
    assert alpha(PUBLISHED) == pytest.approx(1 - 2 / (30 / 7))


def test_the_share_of_equal_pairs_counts_every_pair() -> None:
    assert share([["a", "a", "b"], ["a", "a"]]) == pytest.approx((2 + 2) / (6 + 2))


def test_single_answers_say_nothing() -> None:
    assert alpha([["a"], ["b"]]) is None
    assert share([["a"], []]) is None


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=2, max_size=5), min_size=1, max_size=20))
def test_alpha_never_passes_one_and_reaches_it_only_in_full_agreement(answers: list[list[str]]) -> None:
    found = alpha(answers)

    assert found is not None
    assert found <= 1
    assert (found == 1) == all(len(set(one)) == 1 for one in answers)


def test_span_f1_counts_shared_spans() -> None:
    city, day = {"start": 0, "end": 5, "label": "city"}, {"start": 8, "end": 12, "label": "day"}

    assert span_f1({"spans": [city, day]}, {"spans": [city]}) == pytest.approx(2 / 3)
    assert span_f1({"spans": []}, {"spans": []}) == 1
