"""Rows as other tools write them."""

import json
from typing import Any

import pytest

from inhouse.data.examples import Example, Form
from inhouse.data.reading import Preview, Problem, read
from inhouse.data.split import complete

ASKED = [{"role": "user", "content": "Who are you?"}]
SAID = [*ASKED, {"role": "assistant", "content": "A clerk."}]


def read_rows(*rows: dict[str, Any], **options: Any) -> Preview:
    return read("\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode(), "rows.jsonl", **options)


@pytest.mark.parametrize(
    ("row", "format_"),
    [
        ({"messages": SAID}, "openai"),
        ({"instruction": "Who are you?", "input": "", "output": "A clerk."}, "alpaca"),
        (
            {"conversations": [{"from": "human", "value": "Who are you?"}, {"from": "gpt", "value": "A clerk."}]},
            "sharegpt",
        ),
        ({"prompt": "Who are you?", "completion": "A clerk."}, "jsonl"),
        ({"question": "Who are you?", "answer": "A clerk."}, "jsonl"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Who are you?"}]}, SAID[1]]}, "openai"),
    ],
)
def test_a_conversation_is_recognised_however_it_is_written(row: dict[str, Any], format_: str) -> None:
    preview = read_rows(row)

    assert (preview.format, preview.form) == (format_, Form.CHAT)
    assert preview.examples == [Example("Who are you?", content={"messages": SAID})]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Who are you?", "chosen": "A clerk.", "rejected": "Nobody."},
        {"prompt": ASKED, "chosen": [SAID[1]], "rejected": [{"role": "assistant", "content": "Nobody."}]},
        {"chosen": SAID, "rejected": [*ASKED, {"role": "assistant", "content": "Nobody."}]},
        {"prompt": "Who are you?", "chosen": SAID, "rejected": [*ASKED, {"role": "assistant", "content": "Nobody."}]},
        {"instruction": "Who are you?", "input": "", "chosen": "A clerk.", "rejected": "Nobody."},
        {
            "conversations": [{"from": "human", "value": "Who are you?"}],
            "chosen": {"from": "gpt", "value": "A clerk."},
            "rejected": {"from": "gpt", "value": "Nobody."},
        },
        {
            "input": {"messages": ASKED},
            "preferred_output": [SAID[1]],
            "non_preferred_output": [{"role": "assistant", "content": "Nobody."}],
        },
        {
            "chosen": "\n\nHuman: Who are you?\n\nAssistant: A clerk.",
            "rejected": "\n\nHuman: Who are you?\n\nAssistant: Nobody.",
        },
    ],
)
def test_a_preference_is_recognised_however_it_is_written(row: dict[str, Any]) -> None:
    preview = read_rows(row)

    assert (preview.form, preview.problems) == (Form.PREFERENCE, [])
    assert preview.examples[0].content == {"messages": ASKED, "chosen": "A clerk.", "rejected": "Nobody."}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Who are you?", "completion": "A clerk.", "label": True},
        {"prompt": ASKED, "completion": [SAID[1]], "label": "true"},
        {"instruction": "Who are you?", "output": "A clerk.", "kto_tag": True},
        {"messages": SAID, "kto_tag": True},
        {"question": "Who are you?", "answer": "A clerk.", "good": 1},
    ],
)
def test_a_rated_answer_is_recognised_however_it_is_written(row: dict[str, Any]) -> None:
    preview = read_rows(row)

    assert (preview.form, preview.problems) == (Form.RATING, [])
    assert preview.examples[0].content == {"messages": ASKED, "answer": "A clerk.", "good": True}


@pytest.mark.parametrize(
    ("row", "format_"),
    [
        ({"text": "浙商银行的叶老桂", "label": {"name": {"叶老桂": [[5, 7]]}}}, "cluener"),
        ({"id": 3, "text": "浙商银行的叶老桂", "label": [[5, 8, "name"]]}, "doccano"),
        (
            {
                "id": 3,
                "text": "浙商银行的叶老桂",
                "entities": [{"id": 1, "label": "name", "start_offset": 5, "end_offset": 8}],
                "relations": [],
            },
            "doccano",
        ),
        (
            {
                "id": 3,
                "data": {"text": "浙商银行的叶老桂"},
                "annotations": [
                    {
                        "result": [
                            {
                                "type": "labels",
                                "to_name": "text",
                                "from_name": "label",
                                "value": {"start": 5, "end": 8, "text": "叶老桂", "labels": ["name"]},
                            }
                        ]
                    }
                ],
            },
            "label-studio",
        ),
        ({"text": "浙商银行的叶老桂", "spans": [{"start": 5, "end": 8, "label": "name"}]}, "jsonl"),
    ],
)
def test_marked_places_are_recognised_however_they_are_written(row: dict[str, Any], format_: str) -> None:
    preview = read_rows(row)

    assert (preview.format, preview.form, preview.labels) == (format_, Form.SPANS, {"name": 1})
    assert preview.examples[0].content == {"spans": [{"start": 5, "end": 8, "label": "name"}]}


@pytest.mark.parametrize("label", ["a|b", ["a", "b"], '["a", "b"]'])
def test_several_labels_of_a_text_are_read(label: object) -> None:
    preview = read_rows({"text": "x", "label": label})

    assert preview.examples == [Example("x", "a", content={"labels": ["a", "b"]})]


def test_predictions_of_label_studio_go_in_and_out() -> None:
    guess = {"model_version": "m:1", "score": 0.5, "result": [{"type": "choices", "value": {"choices": ["b"]}}]}
    done = [{"result": [{"type": "choices", "value": {"choices": ["a"]}}]}]

    preview = read_rows({"data": {"text": "x"}, "annotations": done, "predictions": [guess]})

    assert preview.examples[0].label == "a"
    assert preview.examples[0].meta["prediction"] == {"score": 0.5, "model": "m:1", "label": "b"}


def test_a_task_that_nobody_labelled_is_a_problem_and_the_newest_annotation_counts() -> None:
    def said(label: str, when: str, **more: object) -> dict[str, Any]:
        return {"result": [{"type": "choices", "value": {"choices": [label]}}], "updated_at": when, **more}

    answers = [said("old", "2026-01-01"), said("new", "2026-02-01"), said("no", "2026-03-01", was_cancelled=True)]
    preview = read_rows({"data": {"text": "x"}, "annotations": answers}, {"data": {"text": "y"}, "annotations": []})

    assert preview.examples[0].label == "new"
    assert preview.problems == [Problem(2, "annotations", "Nobody has labelled this task.")]


@pytest.mark.parametrize(
    ("row", "form", "column", "message"),
    [
        ({"messages": ASKED}, "chat", "messages", "Does not end with an answer"),
        ({"messages": [{"role": "boss", "content": "x"}]}, "chat", "messages", "role 'boss'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "chat", "messages", "other than text"),
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "preference", "rejected", "the same"),
        ({"prompt": "a", "answer": "b", "good": "perhaps"}, "rating", "good", "not true or false"),
        ({"text": "abc", "spans": [[0, 9, "x"]]}, "spans", "spans", "no place"),
        ({"text": "abc", "spans": "nonsense"}, "spans", "spans", "not a list"),
        ({"text": "abc", "label": {"x": {"bc": [[0, 1]]}}}, "spans", "label", "'ab', not 'bc'"),
        ({"sentence1": "a", "sentence2": "b", "score": 3}, "pair", "score", "from 0 to 1"),
        ({"text": "a", "label": "b", "split": "nowhere"}, "text", "split", "not one of"),
        ({"features": {"a": 1}, "label": ""}, "table", "label", "Is empty"),
    ],
)
def test_a_bad_row_says_what_is_wrong_where(row: dict[str, Any], form: str, column: str, message: str) -> None:
    preview = read_rows(row, form=form)

    assert [problem.column for problem in preview.problems] == [column]
    assert message in preview.problems[0].message


def test_pairs_with_a_label_of_0_or_1_are_alike_or_not() -> None:
    preview = read(b"sentence1\tsentence2\tlabel\na b\tc d\t1\ne\tf\t0\n", "pairs.tsv")

    assert preview.form == Form.PAIR
    assert [row.content for row in preview.examples] == [{"other": "c d", "score": 1.0}, {"other": "f", "score": 0.0}]


def test_a_table_has_numbers_where_a_whole_column_is() -> None:
    data = b"age,zip,town,bought\n31,01234,Ulm,yes\n,99999,Bonn,no\n4.5,10000,,yes\n"

    preview = read(data, "customers.csv", {"label": "bought"}, form="table")

    assert [row.content["features"] for row in preview.examples] == [
        {"age": 31, "zip": "01234", "town": "Ulm"},
        {"age": None, "zip": "99999", "town": "Bonn"},
        {"age": 4.5, "zip": "10000", "town": None},
    ]
    assert preview.labels == {"yes": 2, "no": 1}


def test_the_columns_of_a_table_can_be_chosen() -> None:
    data = b"id,age,bought\n1,31,yes\n"

    preview = read(data, "customers.csv", {"label": "bought", "features": ["age"]}, form="table")

    assert preview.examples[0].content["features"] == {"age": 31}
    assert preview.examples[0].meta == {"id": "1"}


def test_rows_without_labels_are_taken_when_that_is_said() -> None:
    assert read(b"text\nhello\n", "rows.csv", {"label": ""}).examples == [Example("hello")]


def test_a_split_that_a_file_brings_is_kept_and_its_leaks_are_held_out() -> None:
    rows = read(b"text,label,split\na,x,train\nb,x,validation\nA!,x,test\nc,x,\n", "rows.csv", form="text")
    pairs = [Example(text, content={"other": "z"}, split=split) for text, split in (("a", "train"), ("a!", "test"))]

    assert rows.problem_count == 0
    assert {row.text: row.split for row in complete(rows.examples, Form.TEXT)} == {
        "a": "train",
        "b": "dev",
        "c": "train",
    }
    assert {row.split for row in complete(pairs, Form.PAIR)} == {"test"}


def test_the_user_of_a_row_is_kept_so_that_it_can_be_erased() -> None:
    assert read(b"text,label,user_id\na,x,ann\n", "rows.csv").examples[0].user == "ann"
