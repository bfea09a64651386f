from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inhouse.core.split import NoShares, choose


def test_shares_are_kept() -> None:
    counts = Counter(choose({"1": 0.8, "2": 0.2}, f"user-{n}") for n in range(10_000))

    assert 1850 < counts["2"] < 2150


@given(st.text(), st.dictionaries(st.text(min_size=1), st.floats(0.01, 10), min_size=1, max_size=5))
def test_the_same_key_meets_the_same_name(key: str, weights: dict[str, float]) -> None:
    assert choose(weights, key) == choose(dict(reversed(weights.items())), key)


def test_a_growing_share_keeps_those_it_has() -> None:
    keys = [f"user-{n}" for n in range(2000)]

    before = {key for key in keys if choose({"1": 0.8, "2": 0.2}, key) == "2"}
    after = {key for key in keys if choose({"1": 0.5, "2": 0.5}, key) == "2"}

    assert before < after


def test_nothing_is_chosen_without_weight() -> None:
    assert choose({"1": 1.0, "2": 0.0}, "anyone") == "1"
    with pytest.raises(NoShares):
        choose({"1": 0.0}, "anyone")
