import json

import pytest

from inhouse.cli.output import show, show_error
from inhouse.core.errors import Denied, Invalid, LimitExceeded

ROWS = [{"id": "run_01k9abcdefghijklmnopqrstuvwxyz", "score": 0.123456, "tags": ["a", "b"], "error": None}]
COLUMNS = {"id": "Run", "score": "Score", "tags": "Tags", "error": "Error"}


def test_a_table_leaves_out_what_no_row_has(capsys: pytest.CaptureFixture[str]) -> None:
    show("table", ROWS, COLUMNS)

    assert capsys.readouterr().out.split() == ["Run", "Score", "Tags", ROWS[0]["id"], "0.1235", "a,", "b"]


def test_brackets_in_a_table_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show("table", [{"missing": "pip install 'inhouse[openvino]'"}], {"missing": "Missing"})

    assert "'inhouse[openvino]'" in capsys.readouterr().out


def test_json_is_everything_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    show("json", ROWS, COLUMNS)

    assert json.loads(capsys.readouterr().out) == ROWS


@pytest.mark.parametrize(("kind", "code"), [(Invalid, 1), (Denied, 4), (LimitExceeded, 7)])
def test_an_error_says_what_to_do_and_leaves_stdout_empty(
    capsys: pytest.CaptureFixture[str], kind: type[Invalid], code: int
) -> None:
    assert show_error(kind("It does not fit.", hint="Make it [smaller].")) == code

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "It does not fit." in captured.err
    assert "Make it [smaller]." in captured.err
