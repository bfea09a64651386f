from typing import Any

import pytest

from inhouse.data.examples import Example, Form
from inhouse.data.labelling.answers import LABELLED, BadAnswer, Question, check_task, guess, teach

TOPIC = Question(Form.TEXT, ("leave", "travel"))
TOPICS = Question(Form.TEXT, ("leave", "travel"), multiple=True)
PLACES = Question(Form.SPANS, ("city",))
PROMPT = [{"role": "user", "content": "Where?"}]


@pytest.mark.parametrize(
    ("question", "answer", "canonical"),
    [
        (TOPIC, {"label": "travel"}, {"label": "travel"}),
        (Question(Form.TEXT), {"label": " new one "}, {"label": "new one"}),
        (TOPICS, {"labels": ["travel", "leave", "travel"]}, {"labels": ["leave", "travel"]}),
        (TOPICS, {"labels": []}, {"labels": []}),
        (
            PLACES,
            {"spans": [{"end": 12, "start": 8, "label": "city"}, {"start": 0, "end": 5, "label": "city"}]},
            {"spans": [{"start": 0, "end": 5, "label": "city"}, {"start": 8, "end": 12, "label": "city"}]},
        ),
        (Question(Form.PAIR), {"score": 1}, {"score": 1.0}),
        (Question(Form.PREFERENCE), {"choice": "tie", "seconds": 3}, {"choice": "tie"}),
        (Question(Form.RATING), {"good": False}, {"good": False}),
        (Question(Form.CHAT), {"text": " In Bern. "}, {"text": "In Bern."}),
    ],
)
def test_an_answer_has_one_canonical_way(question: Question, answer: dict[str, Any], canonical: dict[str, Any]) -> None:
    assert question.check(Example("Paris to Bern."), answer) == canonical


@pytest.mark.parametrize(
    ("question", "answer", "message"),
    [
        (TOPIC, {"label": "food"}, "no label 'food'"),
        (TOPIC, {"labels": ["leave"]}, "A label is a text"),
        (TOPICS, {"labels": "leave"}, "several labels"),
        (PLACES, {"spans": [{"start": 3, "end": 3, "label": "city"}]}, "not within the text"),
        (PLACES, {"spans": [{"start": 0, "end": 99, "label": "city"}]}, "not within the text"),
        (PLACES, {"spans": [{"start": True, "end": 4, "label": "city"}]}, "not within the text"),
        (PLACES, {"spans": ["Paris"]}, "not within the text"),
        (Question(Form.PAIR), {"score": 2}, "from 0 to 1"),
        (Question(Form.PREFERENCE), {"choice": "third"}, "which answer is better"),
        (Question(Form.RATING), {"good": 1}, "whether the answer is good"),
        (Question(Form.CHAT), {"text": " "}, "is a text"),
    ],
)
def test_an_answer_that_does_not_fit_says_what_would(question: Question, answer: dict[str, Any], message: str) -> None:
    with pytest.raises(BadAnswer, match=message) as caught:
        question.check(Example("Paris to Bern."), answer)

    assert caught.value.hint


@pytest.mark.parametrize(
    ("question", "content", "answer", "label", "learned"),
    [
        (TOPIC, {}, {"label": "leave"}, "leave", {}),
        (TOPICS, {}, {"labels": ["leave", "travel"]}, "leave", {"labels": ["leave", "travel"]}),
        (PLACES, {}, {"spans": []}, "", {"spans": []}),
        (Question(Form.PAIR), {"other": "b"}, {"score": 0.0}, "", {"other": "b", "score": 0.0}),
        (
            Question(Form.PREFERENCE),
            {"messages": PROMPT, "answers": ["Here.", "There."]},
            {"choice": "second"},
            "",
            {"messages": PROMPT, "chosen": "There.", "rejected": "Here."},
        ),
        (
            Question(Form.RATING),
            {"messages": PROMPT, "answer": "Here."},
            {"good": True},
            "",
            {"messages": PROMPT, "answer": "Here.", "good": True},
        ),
        (
            Question(Form.CHAT),
            {"messages": PROMPT, "answer": "Draft."},
            {"text": "In Bern."},
            "",
            {"messages": [*PROMPT, {"role": "assistant", "content": "In Bern."}]},
        ),
    ],
)
def test_each_form_teaches_a_row_of_its_form(
    question: Question, content: dict[str, Any], answer: dict[str, Any], label: str, learned: dict[str, Any]
) -> None:
    row = teach(question, Example("Where?", content=content, user="ann"), answer, source="label:q")

    assert row == Example("Where?", label, source="label:q", content=learned, user="ann")


def test_a_tie_and_no_label_teach_nothing() -> None:
    task = Example("Where?", content={"messages": PROMPT, "answers": ["a", "b"]})

    assert teach(Question(Form.PREFERENCE), task, {"choice": "tie"}, source="") is None
    assert teach(TOPICS, Example("Where?"), {"labels": []}, source="") is None


@pytest.mark.parametrize(
    ("question", "output", "answer", "unsure"),
    [
        (TOPIC, {"scores": {"leave": 0.7, "travel": 0.3}}, {"label": "leave"}, 0.3),
        (TOPICS, {"scores": {"leave": 0.9, "travel": 0.5}}, {"labels": ["leave", "travel"]}, 0.6),
        (
            PLACES,
            {"spans": [{"start": 0, "end": 5, "label": "city", "text": "Paris", "score": 0.8}]},
            {"spans": [{"start": 0, "end": 5, "label": "city"}]},
            0.2,
        ),
        (Question(Form.PAIR), {"score": 0.25}, {"score": 0.0}, 0.5),
    ],
)
def test_a_models_output_is_a_guess_and_how_unsure_it_is(
    question: Question, output: dict[str, Any], answer: dict[str, Any], unsure: float
) -> None:
    assert guess(question, output) == (answer, pytest.approx(unsure))


def test_a_model_of_another_kind_guesses_nothing() -> None:
    assert guess(TOPIC, {"vector": [0.1]}) is None


def test_every_form_but_tables_can_be_labelled() -> None:
    assert set(LABELLED) == set(Form) - {Form.TABLE}


@pytest.mark.parametrize(
    ("form", "content"),
    [(Form.PAIR, {}), (Form.PREFERENCE, {"messages": PROMPT, "answers": ["one"]}), (Form.RATING, {"messages": PROMPT})],
)
def test_a_row_without_what_annotators_must_see_is_refused(form: Form, content: dict[str, Any]) -> None:
    with pytest.raises(BadAnswer):
        check_task(form, Example("Where?", content=content))
