import pytest
import typer

from inhouse.cli.search import _searched, _settled


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learning_rate=1e-4..5e-2:log", {"low": 1e-4, "high": 5e-2, "log": True}),
        ("epochs=2..9", {"low": 2, "high": 9, "log": False}),
        ("batch_size=16,32", {"choices": [16, 32]}),
        ("crf=true,false", {"choices": [True, False]}),
        ("effort=normal,best", {"choices": ["normal", "best"]}),
    ],
)
def test_where_to_search_is_read(text: str, expected: dict[str, object]):
    assert _searched(text) == (text.partition("=")[0], expected)


def test_what_is_settled_is_read_as_yaml():
    assert _settled("base=./models/x") == ("base", "./models/x")
    assert _settled("learning_rate=3e-4") == ("learning_rate", 3e-4)
    with pytest.raises(typer.BadParameter):
        _settled("epochs")
