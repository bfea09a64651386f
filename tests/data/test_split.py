from hypothesis import given
from hypothesis import strategies as st

from inhouse.data.examples import Example, normalise
from inhouse.data.split import leaks, split

rows = st.lists(st.builds(Example, st.text(min_size=1, max_size=8), st.sampled_from("abc")), max_size=60)


@given(rows)
def test_every_label_with_three_examples_is_tested_and_trained(examples: list[Example]) -> None:
    unique = list({normalise(row.text): row for row in examples}.values())

    done = split(unique)

    assert sorted(row.text for row in done) == sorted(row.text for row in unique)
    for label in "abc":
        splits = [row.split for row in done if row.label == label]
        assert "train" in splits or not splits
        assert ("test" in splits) == (len(splits) >= 3)


@given(rows)
def test_splits_do_not_depend_on_the_order_of_rows(examples: list[Example]) -> None:
    unique = list({normalise(row.text): row for row in examples}.values())

    assert sorted(split(unique), key=repr) == sorted(split(unique[::-1]), key=repr)


def test_a_held_out_text_is_found_whatever_its_case_and_spaces() -> None:
    existing = [Example("Reset my password", "a", split="test"), Example("hello", "b", split="train")]

    found = leaks([Example("reset  MY password!", "a"), Example("hello", "b")], existing)

    assert [row.text for row in found] == ["reset  MY password!"]
