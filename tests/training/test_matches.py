import numpy as np
import pytest

from inhouse.data.examples import Form
from inhouse.training.dataset import Row
from inhouse.training.matches import Search, mine, read_groups, read_matches, search


def pair(text: str, other: str, score: float = 1.0, negatives: tuple[str, ...] = ()) -> Row:
    return Row(f"{text}/{other}", text, "", content={"other": other, "score": score, "negatives": [*negatives]})


def test_texts_that_share_a_like_are_alike():
    groups = read_groups([pair("a", "b"), pair("B!", "c"), pair("x", "y")], Form.PAIR)

    assert groups.number("a") == groups.number("c") != groups.number("x")


def test_an_unlike_pair_is_a_hard_negative_of_both_its_texts():
    rows = [pair("a", "b"), pair("a", "c", score=0.1), pair("c", "d"), pair("d", "e", negatives=("f",))]

    matches = read_matches(rows, Form.PAIR, read_groups(rows, Form.PAIR))

    assert [(match.text, match.negatives) for match in matches] == [("a", ("c",)), ("c", ("a",)), ("d", ("f",))]


def test_a_negative_that_other_rows_call_alike_is_left_out():
    rows = [pair("a", "b", negatives=("c", "z")), pair("b", "c")]

    matches = read_matches(rows, Form.PAIR, read_groups(rows, Form.PAIR))

    assert matches[0].negatives == ("z",)


def test_labelled_texts_meet_others_of_their_label():
    rows = [Row(str(n), f"{label}{n}", label) for label in "ab" for n in range(12)] + [Row("c", "alone", "c")]

    matches = read_matches(rows, Form.TEXT, read_groups(rows, Form.TEXT))

    assert len(matches) == 24
    assert {len(match.others) for match in matches} == {8}
    assert all(other[0] == match.text[0] != other for match in matches for other in match.others)


def test_the_rank_counts_wrong_texts_that_are_nearer():
    groups = read_groups([pair("ask", "right"), pair("ask", "also right")], Form.PAIR)
    known = ["wrong", "right", "also right", "ask"]
    vectors = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [1.0, 0.0]])

    found = search(np.array([[1.0, 0.0]]), ["ask"], vectors, known, groups)

    assert (found.ranks.tolist(), found.right.tolist(), found.wrong.tolist()) == ([2], [0.8], [0.9])
    finding = found.finding()
    assert finding is not None
    assert (finding.recall_at_1, finding.recall_at_5, finding.mrr) == (0.0, 1.0, 0.5)


def test_a_query_with_nothing_to_find_is_not_counted():
    found = search(np.eye(2)[:1], ["lonely"], np.eye(2), ["a", "b"], read_groups([], Form.PAIR))

    assert found.finding() is None


def test_the_threshold_lies_between_right_and_wrong():
    right, wrong = np.array([0.9, 0.8, 0.85, 0.2]), np.array([0.4, 0.1, 0.3, 0.35])

    threshold = Search(np.ones(4), right, wrong, 4).threshold()

    assert threshold == pytest.approx(0.6)


def test_mined_negatives_are_near_but_not_as_near_as_the_right_text():
    rows = [pair("a", "b"), pair("near", "x"), pair("too near", "y"), pair("far", "z")]
    groups = read_groups(rows, Form.PAIR)
    texts = ["a", "b", "near", "x", "too near", "y", "far", "z"]
    likeness = [1.0, 0.8, 0.7, 0.0, 0.79, 0.0, 0.1, 0.0]
    vectors = np.array([[value, (1 - value**2) ** 0.5] for value in likeness])

    [mined, *_] = mine(vectors, texts, read_matches(rows, Form.PAIR, groups)[:1], groups, count=2)

    assert mined.negatives == ("near", "far")
