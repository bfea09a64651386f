"""What goes out comes back the same."""

import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.rows import ROWS, several, spans
from inhouse.data.examples import Example, Form
from inhouse.data.file import CannotExport, file_kinds
from inhouse.data.format import formats
from inhouse.data.reading import read
from inhouse.data.writing import kind_for, write

PLAIN = ["csv", "tsv", "json", "jsonl", "xlsx", "parquet"]
quick = settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def there_and_back(rows: list[Example], form: Form, format_: str) -> list[Example]:
    out = io.BytesIO()
    write(rows, form, format_, out)
    mapping = {"label": "label"} if form == Form.TABLE and format_ in PLAIN else None
    found = read(out.getvalue(), f"rows.{kind_for(format_, form).suffixes[0]}", mapping, form=form, format=format_)
    assert found.problems == []
    return found.examples


@pytest.mark.parametrize("form", ROWS)
@pytest.mark.parametrize("format_", PLAIN)
@given(data=st.data())
@quick
def test_rows_in_columns_come_back_the_same(data: st.DataObject, format_: str, form: Form) -> None:
    rows = data.draw(several(form))

    assert there_and_back(rows, form, format_) == rows


@pytest.mark.parametrize(
    ("format_", "form"),
    [(name, form) for name in formats for form in formats[name].forms],
)
@given(data=st.data())
@quick
def test_rows_in_the_format_of_a_tool_come_back_the_same(data: st.DataObject, format_: str, form: Form) -> None:
    rows = data.draw(several(form))

    assert there_and_back(rows, form, format_) == rows


@given(several(Form.SPANS, spans(overlap=False)))
@quick
def test_tagged_words_come_back_the_same(rows: list[Example]) -> None:
    found = there_and_back(rows, Form.SPANS, "conll")

    assert [(row.text, row.content) for row in found] == [(row.text, row.content) for row in rows]


@pytest.mark.parametrize("form", ROWS)
@given(data=st.data())
@quick
def test_the_form_of_stored_rows_is_found(data: st.DataObject, form: Form) -> None:
    rows = data.draw(several(form))
    out = io.BytesIO()
    write(rows, form, "inhouse", out)

    assert read(out.getvalue(), "rows.jsonl").form == form


def test_overlapping_places_are_not_written_as_tags() -> None:
    marked = [{"start": 0, "end": 3, "label": "a"}, {"start": 1, "end": 4, "label": "b"}]

    with pytest.raises(CannotExport, match="overlap"):
        write([Example("abcdef", content={"spans": marked})], Form.SPANS, "conll", io.BytesIO())


def test_a_cell_that_looks_like_a_formula_is_made_inert() -> None:
    out = io.BytesIO()

    write([Example("=HYPERLINK(1)", "-x"), Example("-5", "+a")], Form.TEXT, "csv", out)

    assert out.getvalue().decode().splitlines()[1:] == ["'=HYPERLINK(1),'-x,import", "-5,'+a,import"]


def test_every_kind_of_file_writes_rows_of_every_form() -> None:
    assert {name for name in file_kinds if name != "conll"} == set(PLAIN)
