import pytest

from inhouse.knowledge.cite import locate

PASSAGE = "Leave of up to 5 days\nis carried over.\n年休假最多 5 天自动结转，可使用至次年 3 月 31 日。"


@pytest.mark.parametrize(
    ("quote", "said"),
    [
        ("up to 5 days is carried over", "up to 5 days\nis carried over"),
        ("LEAVE OF UP TO 5 DAYS", "Leave of up to 5 days"),
        ("年休假最多５天自动结转", "年休假最多 5 天自动结转"),
    ],
)
def test_a_true_quote_is_located(quote: str, said: str) -> None:
    place = locate(quote, PASSAGE)

    assert place is not None
    assert PASSAGE[slice(*place)] == said


@pytest.mark.parametrize("quote", ["up to 6 days", "年休假最多 10 天", "", "  "])
def test_a_false_or_empty_quote_is_not(quote: str) -> None:
    assert locate(quote, PASSAGE) is None
