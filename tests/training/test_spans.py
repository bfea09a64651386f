"""Marked places of rows, and the tags that they give to tokens; how a tagger is judged, by hand."""

from typing import Any

import pytest

from inhouse.data.examples import Form
from inhouse.models.spans import Span
from inhouse.training.dataset import NotTrainable, Row, Splits
from inhouse.training.evaluate import ClassScore, NothingToEvaluate
from inhouse.training.evaluate_spans import evaluate_spans
from inhouse.training.recipe import configure
from inhouse.training.spans import align, flatten, labels_of, spans_of

LABELS = {"city": 0, "person": 1}
WORDS = [(0, 3), (4, 9), (10, 12), (12, 13)]


def row(text: str, *spans: Any, id: str = "r1") -> Row:
    return Row(id, text, "", content={"spans": list(spans)})


def span(start: int, end: int, label: str = "city") -> dict[str, Any]:
    return {"start": start, "end": end, "label": label}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (span(0, 99), "does not lie in its 12 characters"),
        (span(3, 3), "does not lie"),
        (span(-1, 3), "does not lie"),
        (span(0, 3, " "), "has no label"),
        ({"start": "0", "end": 3, "label": "x"}, "whole numbers"),
        ({"start": 0, "end": True, "label": "x"}, "whole numbers"),
        ({"start": 0, "end": 3}, "is no span"),
        ("Oslo", "is no span"),
        (span(4, 5), "empty space"),
    ],
)
def test_a_malformed_span_names_its_row_and_what_is_wrong(bad: Any, reason: str):
    with pytest.raises(NotTrainable, match=reason) as refused:
        spans_of(row("Oslo is cold", bad, id="r7"))

    assert "'r7'" in refused.value.message


def test_spans_that_are_no_list_are_refused():
    with pytest.raises(NotTrainable, match="no list"):
        spans_of(Row("r1", "Oslo", "", content={"spans": {"start": 0}}))


def test_rows_without_a_span_teach_nothing():
    with pytest.raises(NotTrainable, match="No training row has a span"):
        labels_of(Splits([row("nothing here")], [], []))


def test_a_type_that_only_held_out_rows_have_is_named():
    with pytest.raises(NotTrainable, match="'person'"):
        labels_of(Splits([row("Oslo", span(0, 4))], [row("Ada", span(0, 3, "person"))], []))


def test_rows_of_another_form_are_refused():
    with pytest.raises(NotTrainable, match="does not learn"):
        configure("tag", {}).check(Splits([Row("a", "text", "label")], [], [], form=Form.TEXT))


def test_of_overlapping_spans_the_longer_is_learned():
    kept = flatten([Span(0, 4, "city"), Span(2, 9, "person"), Span(9, 12, "city"), Span(2, 9, "city")])

    assert kept == [Span(2, 9, "city"), Span(9, 12, "city")]


@pytest.mark.parametrize(
    ("spans", "tags"),
    [
        ([], [0, 0, 0, 0]),
        ([Span(0, 9, "city")], [1, 2, 0, 0]),
        ([Span(0, 3, "city"), Span(4, 9, "city")], [1, 1, 0, 0]),
        ([Span(4, 13, "person")], [0, 3, 4, 4]),
        ([Span(5, 7, "person")], [0, 3, 0, 0]),
        ([Span(4, 6, "city"), Span(7, 12, "person")], [0, 1, 3, 0]),
        ([Span(3, 4, "city")], [0, 0, 0, 0]),
    ],
    ids=["none", "two words", "neighbours", "to the end", "part of a word", "two in one word", "between words"],
)
def test_tokens_get_the_tags_of_the_spans_they_lie_in(spans: list[Span], tags: list[int]):
    assert align(spans, WORDS, LABELS) == tags


def test_tokens_of_no_width_belong_to_nothing():
    assert align([Span(0, 3, "city")], [(0, 0), (0, 3), (3, 3)], LABELS) == [0, 1, 0]


def judged(found: list[list[Span]], *rows: Row):
    return evaluate_spans(lambda texts: found, rows)


def test_spans_are_judged_as_counted_by_hand():
    report = judged(
        [[Span(0, 4, "city"), Span(9, 12, "person")], [Span(0, 3, "city")]],
        row("Oslo and Ada", span(0, 4), span(9, 12, "person"), id="a"),
        row("Lima, Rome", span(0, 4), span(6, 10), id="b"),
    )

    assert report.per_class["city"] == ClassScore(precision=1 / 2, recall=1 / 3, f1=pytest.approx(0.4), support=3)
    assert report.per_class["person"] == ClassScore(1.0, 1.0, 1.0, 1)
    assert report.micro == ClassScore(pytest.approx(2 / 3), pytest.approx(2 / 4), pytest.approx(4 / 7), 4)
    assert report.macro_f1 == pytest.approx((0.4 + 1.0) / 2)
    assert report.per_class_overlap["city"] == ClassScore(1.0, pytest.approx(2 / 3), pytest.approx(0.8), 3)
    assert report.overlap == ClassScore(1.0, pytest.approx(3 / 4), pytest.approx(6 / 7), 4)
    assert (report.accuracy, report.count) == (0.5, 2)
    assert [miss.id for miss in report.misses] == ["b"]
    assert report.misses[0].found == [{"start": 0, "end": 3, "label": "city", "text": "Lim", "score": 1.0}]


def test_the_right_place_under_the_wrong_type_is_wrong_twice():
    report = judged([[Span(0, 4, "person")]], row("Oslo", span(0, 4)))

    assert report.per_class["city"].recall == report.per_class["person"].precision == 0.0
    assert report.overlap.f1 == 0.0
    assert report.macro_f1 == 0.0


def test_nothing_found_where_nothing_is_marked_is_right():
    report = judged([[]], row("no names"))

    assert (report.accuracy, report.macro_f1, report.per_class) == (1.0, 1.0, {})


def test_no_rows_cannot_be_judged():
    with pytest.raises(NothingToEvaluate):
        judged([])
