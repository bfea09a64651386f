import json

import pytest
from pydantic import ValidationError

from inhouse.data.columns import MAX_TEXT
from inhouse.data.file import FileUnreadable
from inhouse.data.reading import ColumnMissing, Problem, read
from inhouse.data.schemas import ExampleIn

CSV = "text,label\nreset my password,password\n忘记密码了,password\nwhere is my payslip,payslip\n"


def test_a_csv_is_read_with_its_columns_found() -> None:
    preview = read(CSV.encode(), "rows.csv")

    assert preview.mapping == {"text": "text", "label": "label"}
    assert preview.labels == {"password": 2, "payslip": 1}
    assert preview.problems == []


@pytest.mark.parametrize(
    ("content", "filename"),
    [
        ('{"text": "a b", "label": "x"}\n{"text": "c", "label": "y"}\n', "rows.jsonl"),
        (json.dumps([{"text": "a b", "label": "x"}, {"text": "c", "label": "y"}]), "rows.json"),
        (json.dumps({"data": [{"text": "a b", "label": "x"}, {"text": "c", "label": "y"}]}), "rows.json"),
        ("text\tlabel\na b\tx\nc\ty\n", "rows.tsv"),
        ("text;label\na b;x\nc;y\n", "rows.csv"),
        ("﻿问题,意图\na b,x\nc,y\n", "rows.csv"),
    ],
)
def test_each_format_gives_the_same_rows(content: str, filename: str) -> None:
    preview = read(content.encode(), filename)

    assert [(row.text, row.label) for row in preview.examples] == [("a b", "x"), ("c", "y")]


@pytest.mark.parametrize(("codec", "name"), [("gbk", "gbk"), ("utf-16", "utf-16"), ("utf-8-sig", "utf-8")])
def test_the_encoding_is_detected(codec: str, name: str) -> None:
    text = "text,label\n怎么重置密码,账号密码\n我的年假还剩几天,请假\n报销需要什么发票,报销\n"

    preview = read(text.encode(codec), "rows.csv")

    assert preview.encoding == name
    assert preview.examples[0].text == "怎么重置密码"


def test_bad_rows_are_listed_with_their_place() -> None:
    rows = f"text,label\nfine,a\n,a\nno label,\n{'x' * (MAX_TEXT + 1)},a\nFINE!,b\n"

    preview = read(rows.encode(), "rows.csv")

    assert preview.problems == [
        Problem(2, "text", "Is empty."),
        Problem(3, "label", "Is empty."),
        Problem(4, "text", "Is longer than 20,000 characters."),
        Problem(5, "label", "Says 'b', but row 1 has the same text as 'a'."),
    ]


def test_a_row_with_more_cells_than_the_header_is_a_problem() -> None:
    preview = read(b"text,label\nhello, world,greeting\nbye,parting,,\n", "rows.csv")

    assert [problem.row for problem in preview.problems] == [1]
    assert preview.problems[0].message == "Has more cells than the header; is a comma missing its quotes?"
    assert [example.label for example in preview.examples] == ["parting"]


@pytest.mark.parametrize("blank", [{"text": " \n"}, {"label": "\t"}])
def test_a_blank_example_is_refused(blank: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        ExampleIn(**{"text": "hello", "label": "greeting", **blank})


def test_a_label_with_one_example_is_warned_about() -> None:
    assert read(CSV.encode(), "rows.csv").warnings == [
        "Too few examples to be tested (under 3): 'password', 'payslip'."
    ]


@pytest.mark.parametrize(
    ("data", "filename", "message"),
    [
        (b"", "rows.csv", "is empty"),
        (b"  \n ", "rows.csv", "is empty"),
        (b"text,label\n", "rows.csv", "no rows"),
        (b"PK\x03\x04\0\0\0", "rows.csv", "workbook cannot be read"),
        (b"\x7fELF\0\0\0", "rows.csv", "not a text file"),
        (b'{"text": ', "rows.json", "not JSON"),
        (b'nonsense\n{"text": "a"}\n', "rows.jsonl", "Line 1"),
        (b'["a"]', "rows.json", "not a list of objects"),
        (b'text,label\n"open,a\n', "rows.csv", "line 2"),
        (b"text,text\na,b\n", "rows.csv", "same name"),
        (b"a,b\n", "rows.exe", "not a kind of file"),
        (b"[" * 100_000, "rows.json", "not JSON"),
        (b"[" * 100_000, "rows.jsonl", "not JSON"),
        (b'{"text": "a", "label": "b", "x": ' + b"[" * 600 + b"]" * 600 + b"}", "rows.jsonl", "nested deeper"),
        (b"text,label\n" + b"a,b\n" * 2_000 + b"a\0,b\n", "rows.csv", "not a text file"),
    ],
)
def test_an_unreadable_file_says_why(data: bytes, filename: str, message: str) -> None:
    with pytest.raises(FileUnreadable, match=message):
        read(data, filename)


def test_a_missing_column_names_those_there_are() -> None:
    with pytest.raises(ColumnMissing, match="the label") as raised:
        read(b"text,kind\na,b\n", "rows.csv")

    assert "text, kind" in raised.value.hint


def test_a_mapping_names_the_columns() -> None:
    preview = read(b"q,kind,lang\na,b,en\n", "rows.csv", {"text": "q", "label": "kind"})

    assert preview.examples[0].label == "b"
    assert preview.examples[0].meta == {"lang": "en"}


@pytest.mark.parametrize("name", ["text", "label", "note"])
@pytest.mark.parametrize("escape", [r"\ud800", r"\u0000"])
def test_what_no_text_can_hold_is_replaced_where_it_can_be_seen(name: str, escape: str) -> None:
    row = f'{{"text": "a", "label": "b", "{name}": "x{escape}y"}}'

    preview = read(row.encode(), "rows.jsonl")

    assert preview.sample[0][name] == "x\ufffdy"


def test_a_line_ends_where_json_lines_end() -> None:
    preview = read('{"text": "one\u2028line", "label": "b"}\r\n'.encode(), "rows.jsonl")

    assert preview.examples[0].text == "one\u2028line"


def test_a_cut_off_utf16_file_is_read_as_far_as_it_goes() -> None:
    assert read("text,label\na,bb".encode("utf-16")[:-1], "rows.csv").count == 1
