import time
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inhouse.data.examples import Example, Form, normalise
from inhouse.data.near import likeness, near
from inhouse.data.report import report, script

QUESTION = "Where do I see how many days of leave I still have this year"


def test_texts_that_differ_in_a_letter_are_near() -> None:
    found = near([QUESTION, "something else entirely", QUESTION.replace("leave", "leaves") + "?"])

    assert [(pair.first, pair.second) for pair in found.pairs] == [(0, 2)]
    assert found.pairs[0].likeness > 0.85


def test_the_same_text_is_no_near_one() -> None:
    assert near([QUESTION, QUESTION.upper() + "!"]).pairs == []


@given(st.lists(st.text("abc", max_size=12), max_size=20))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_no_pair_is_found_that_is_not_near(texts: list[str]) -> None:
    for pair in near(texts, 0.7).pairs:
        assert likeness(normalise(texts[pair.first]), normalise(texts[pair.second])) >= 0.7


def test_thirty_thousand_texts_are_compared_in_seconds() -> None:
    chance = Random(0)
    words = ["".join(chance.choices("abcdefghijklmnop", k=6)) for _ in range(3000)]
    texts = [" ".join(chance.choices(words, k=7)) for _ in range(30_000)]
    texts[-2] = texts[1] + "s"
    started = time.process_time()

    found = near(texts, 0.9)

    assert (found.is_complete, [(pair.first, pair.second) for pair in found.pairs]) == (True, [(1, 29_998)])
    assert time.process_time() - started < 10


def test_a_report_counts_what_matters() -> None:
    rows = [
        Example(QUESTION, "leave", split="train"),
        Example(QUESTION + " please", "leave", split="test"),
        Example("怎么重置密码", "password", split="train", source="feedback:f1"),
        Example("reset password", "password", split="train", source="synthetic:typo"),
        Example("Reset password!", "leave", split="dev"),
    ]

    found = report(rows, Form.TEXT)

    assert found.labels["leave"] == {"dev": 1, "test": 1, "train": 1}
    assert found.scripts == {"latin": 4, "han": 1}
    assert found.sources == {"import": 3, "feedback": 1, "synthetic:typo": 1}
    assert (found.synthetic, found.duplicates, found.conflict_count) == (1, 1, 1)
    assert found.conflicts[0].labels == ["leave", "password"]
    assert [(leak.first_split, leak.second_split) for leak in found.leaks] == [("train", "dev"), ("train", "test")]
    assert sum(one.count for one in found.lengths) == 5
    assert found.is_complete


@pytest.mark.parametrize("form", list(Form))
def test_a_report_of_no_rows_is_empty(form: Form) -> None:
    assert report([], form).count == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello", "latin"),
        ("你好", "han"),
        ("これは何", "kana"),
        ("안녕", "hangul"),
        ("привет", "cyrillic"),
        ("你好 please", "mixed"),
        ("重置 VPN 的密码怎么办", "han"),
        ("123", "none"),
        ("ສະ", "other"),
    ],
)
def test_the_script_of_a_text_is_told(text: str, expected: str) -> None:
    assert script(text) == expected
