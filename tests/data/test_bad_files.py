"""Files that are broken, or made to break us."""

import io
import json
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inhouse.core.errors import InhouseError
from inhouse.data.examples import Form
from inhouse.data.file import MAX_COLUMNS, ExtraMissing, FileTooLarge, FileUnreadable, file_kinds
from inhouse.data.files import xlsx
from inhouse.data.files.parquet import Parquet
from inhouse.data.reading import Problem, UnknownFormat, WrongForm, read


def workbook(*rows: list[object], sheet: str = "rows") -> bytes:
    book = openpyxl.Workbook()
    page = book.worksheets[0]
    page.title = sheet
    for row in rows:
        page.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def parquet(rows: list[dict[str, object]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


GOOD = workbook(["text", "label"], ["reset my password", "password"])


@pytest.mark.parametrize("length", [4, 30, len(GOOD) // 2, len(GOOD) - 5])
def test_a_cut_off_workbook_says_so(length: int) -> None:
    with pytest.raises(FileUnreadable, match="workbook cannot be read"):
        read(GOOD[:length], "rows.xlsx")


def test_a_cut_off_parquet_file_says_so() -> None:
    with pytest.raises(FileUnreadable, match="Parquet file cannot be read"):
        read(parquet([{"text": "a", "label": "b"}])[:-20], "rows.parquet")


def test_a_zip_that_is_no_workbook_says_so() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("hello.txt", "hello")

    with pytest.raises(FileUnreadable, match="workbook cannot be read"):
        read(out.getvalue(), "rows.xlsx")


def test_a_workbook_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx, "_MAX_UNPACKED", 1 << 20)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"0" * (2 << 20))

    with pytest.raises(FileTooLarge, match="Unpacked"):
        read(out.getvalue(), "rows.xlsx")


def test_a_workbook_that_lies_about_its_size_is_read_no_further() -> None:
    out = io.BytesIO(GOOD)
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/extra.xml", b"0" * 1000)
    lying = out.getvalue().replace((1000).to_bytes(4, "little"), (10).to_bytes(4, "little"))

    assert read(lying, "rows.xlsx").count == 1


def test_a_cell_far_to_the_right_is_too_many_columns() -> None:
    book = openpyxl.Workbook()
    book.worksheets[0].cell(1, MAX_COLUMNS + 1, "far")
    out = io.BytesIO()
    book.save(out)

    with pytest.raises(FileTooLarge, match="columns"):
        read(out.getvalue(), "rows.xlsx")


def test_a_workbook_with_an_entity_bomb_is_refused() -> None:
    bomb = (
        '<!DOCTYPE x [<!ENTITY a "'
        + "a" * 1000
        + '">'
        + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 20}">' for n in range(8))
    )
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(GOOD)) as source, zipfile.ZipFile(out, "w") as archive:
        for name in source.namelist():
            content = source.read(name)
            if name == "xl/worksheets/sheet1.xml":
                content = (bomb + "]>" + content.decode().replace("reset", "&i;")).encode()
            archive.writestr(name, content)

    with pytest.raises(FileUnreadable):
        read(out.getvalue(), "rows.xlsx")


def test_formulas_are_read_as_what_they_came_to_and_other_sheets_are_named() -> None:
    book = openpyxl.load_workbook(io.BytesIO(workbook(["text", "label"], [12, True], ["=1+1", "sum"])))
    book.create_sheet("more").append(["x"])
    out = io.BytesIO()
    book.save(out)

    preview = read(out.getvalue(), "rows.xlsx")

    assert [(row.text, row.label) for row in preview.examples] == [("12", "True")]
    assert preview.problems == [Problem(2, "text", "Is empty.")]  # never calculated, so it came to nothing
    assert "Only the sheet 'rows' is read, not 'more'." in preview.warnings


@pytest.mark.parametrize("data", [workbook(["text", "text"], ["a", "b"]), b"text,text \na,b\n"])
def test_two_columns_of_one_name_are_refused(data: bytes) -> None:
    with pytest.raises(FileUnreadable, match="same name"):
        read(data, "rows.csv")


def test_columns_without_a_name_are_called_by_their_place() -> None:
    assert read(b",text,label\n0,hello,greeting\n", "rows.csv").examples[0].meta == {"column 1": "0"}


def test_nested_types_of_parquet_are_read_as_lists_and_objects() -> None:
    rows = [{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}], "when": None}]

    preview = read(parquet(rows), "rows.parquet")

    assert (preview.format, preview.form) == ("openai", Form.CHAT)
    assert preview.examples[0].content == {"messages": rows[0]["messages"]}


def test_parquet_without_its_package_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Parquet, "needs", "not_installed_here")

    with pytest.raises(ExtraMissing) as raised:
        read(b"PAR1", "rows.parquet")

    assert raised.value.hint == "pip install 'inhouse[parquet]'"
    assert file_kinds["parquet"].missing() == raised.value.hint


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_number_in_json_is_read_as_missing(number: str) -> None:
    preview = read(
        f'{{"text": "a", "label": "b", "age": {number}}}\n{{"text": {number}, "label": "b"}}\n'.encode(), "r.jsonl"
    )

    assert preview.sample[0]["age"] is None
    assert preview.problems == [Problem(2, "text", "Is empty.")]


def test_a_line_that_is_no_json_is_a_bad_row() -> None:
    preview = read(b'{"text": "a", "label": "b"}\n{"text": \n[]\n', "rows.jsonl")

    assert [problem.row for problem in preview.problems] == [2, 3]
    assert "Line 3 is not a JSON object." in preview.problems[1].message


def test_two_encodings_in_one_file_are_noticed() -> None:
    mixed = b"text,label\n" + "忘记密码,账号\n".encode() * 50 + "怎么报销,报销\n".encode("gbk") + b"\xff\xff,x\n"

    with pytest.raises(FileUnreadable, match=r"encoding|other bytes"):
        read(mixed, "rows.csv")


def test_legacy_bytes_far_down_the_file_are_still_found() -> None:
    far = (
        b"text,label\n"
        + b"".join(b"row %d,x\n" % n for n in range(200_000))
        + "怎么报销发票,报销\n我的年假还剩几天,请假\n".encode("gbk") * 20
    )

    preview = read(far, "rows.csv")

    assert (preview.encoding, preview.examples[-1].text) == ("gbk", "我的年假还剩几天")


def test_a_place_that_begins_with_inside_begins_all_the_same() -> None:
    preview = read(b"Ann\tI-name\nlives\tO\nin\tO\nNew\tI-town\nYork\tI-town\n", "rows.bio")

    assert preview.examples[0].text == "Ann lives in New York"
    assert [(s["start"], s["end"], s["label"]) for s in preview.examples[0].content["spans"]] == [
        (0, 3, "name"),
        (13, 21, "town"),
    ]


def test_chinese_characters_a_line_are_joined_without_spaces() -> None:
    tagged = "浙 B-org\n商 M-org\n银 M-org\n行 E-org\n企 O\n业 S-x\n\n叶 B-name\n老 I-name\n"

    preview = read(tagged.encode(), "train.char.txt")

    assert preview.format == "conll"
    assert [row.text for row in preview.examples] == ["浙商银行企业", "叶老"]
    assert preview.labels == {"org": 1, "x": 1, "name": 1}


def test_a_line_without_a_tag_spoils_its_sentence_only() -> None:
    preview = read(b"a B-x\nb\n\nc O\n\n", "rows.bio")

    assert preview.problems == [Problem(1, "", "Line 2 does not end in a tag such as B-name or O: 'b'.")]
    assert [row.text for row in preview.examples] == ["c"]


def test_a_format_and_a_form_that_do_not_exist_name_those_that_do() -> None:
    with pytest.raises(UnknownFormat, match="nonsense"):
        read(b"a,b\n", "a.csv", format="nonsense")
    with pytest.raises(WrongForm, match="nonsense"):
        read(b"a,b\n", "a.csv", form="nonsense")
    with pytest.raises(WrongForm, match="spans"):
        read(b'{"instruction": "a", "output": "b"}\n', "a.jsonl", form="spans", format="alpaca")


def test_a_hundred_thousand_rows_are_read_fast_enough(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(
        "text,label\n" + "".join(f"please do the thing number {n},label {n % 50}\n" for n in range(100_000))
    )
    started = time.process_time()

    with path.open("rb") as file:
        count = read(file, "rows.csv").count

    assert count == 100_000
    assert time.process_time() - started < 10


@pytest.mark.parametrize("suffix", ["csv", "tsv", "json", "jsonl", "conll", "txt", "xlsx", "parquet"])
@given(data=st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_bytes_are_read_or_refused_for_a_reason(suffix: str, data: bytes) -> None:
    with suppress(InhouseError):
        read(data, f"rows.{suffix}")


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "text",
                        "label",
                        "messages",
                        "role",
                        "content",
                        "data",
                        "annotations",
                        "result",
                        "value",
                        "choices",
                        "type",
                        "spans",
                        "chosen",
                        "rejected",
                        "from",
                        "conversations",
                        "features",
                        "kto_tag",
                        "prompt",
                        "completion",
                        "instruction",
                        "output",
                        "history",
                        "entities",
                    ]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=20,
    ),
    st.sampled_from([*Form, None]),
    st.sampled_from(
        ["openai", "sharegpt", "alpaca", "preference", "kto", "cluener", "doccano", "label-studio", "inhouse", None]
    ),
)
@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_json_is_read_or_refused_for_a_reason(value: object, form: Form | None, format_: str | None) -> None:
    with suppress(InhouseError):
        read(json.dumps([value]).encode(), "rows.json", form=form, format=format_)
