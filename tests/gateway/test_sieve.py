"""However a text is cut, the same comes out."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inhouse.gateway.patterns import BadPattern, Pattern, word_list
from inhouse.gateway.pii import KINDS
from inhouse.gateway.sieve import Rules, Sieve

WORDS = ["bad", "badly", "黑名单", "名单外", "no way", "c++", "x"]
REGEXES = [
    Pattern(r"a+b", label="AB", window=6),
    Pattern(r"a.*z", label="AZ", window=5),
    Pattern(r"\bfoo\b|foobar", label="FOO", window=8),
    Pattern(r"(?m)^c.?$", label="LINE", window=4),
    Pattern(r"[0-9]+(?:ab)?", label="NUMBER", window=3),
    Pattern(r"中文?|文中$", label="CJK", window=9),
]
PIECES = st.sampled_from(
    [
        *WORDS,
        *(
            "bAd",
            "ｂａｄ",
            "ba",
            "d",
            "foo",
            "bar",
            "a",
            "b",
            "z",
            "c",
            "\n",
            " ",
            "9",
            "中",
            "文",
            "🙂",
            "é",
            "黑",
            "名",
        ),
        *("ann@example.org", "@", ".", "-", "+86 138", "0013 8000", "13800138000", "11010519491231002X", ":", "sk-"),
        *("4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", "192.168.0.1", "fe80::1:2", "abcdefghijklmnopqrstuv"),
        *("-----BEGIN", " PRIVATE KEY-----"),
    ]
)
TEXTS = st.lists(PIECES, max_size=14).map("".join)
CUTS = st.lists(st.integers(1, 7), max_size=60)


def replace(_: str, pattern: Pattern, found: bytes) -> bytes:
    return b"<%b:%d>" % (pattern.label.encode(), len(found))


def in_pieces(rules: Rules, text: str, cuts: list[int]) -> tuple[str, str, set[str]]:
    sieve = Sieve(rules, replace)
    out: list[str] = []
    for size in cuts:
        out.append(sieve.feed(text[:size]))
        text = text[size:]
    out += [sieve.feed(text), sieve.close()]
    return "".join(out), sieve.blocked, sieve.found


@st.composite
def rule_sets(draw: st.DrawFn) -> Rules:
    known = [
        *((pattern.label, pattern) for pattern in REGEXES),
        *((pattern.label, pattern) for pattern in KINDS.values()),
        ("words", word_list(WORDS, label="WORD")),
    ]
    places = draw(
        st.lists(
            st.sampled_from(["block", "mask", "mask", "mask", "flag", "-"]), min_size=len(known), max_size=len(known)
        )
    )
    kinds = {
        kind: [one for one, place in zip(known, places, strict=True) if place == kind]
        for kind in ("block", "mask", "flag")
    }
    return Rules(kinds["block"], kinds["mask"], kinds["flag"])


@settings(max_examples=300, deadline=None)
@given(rule_sets(), TEXTS, CUTS)
def test_a_text_in_pieces_comes_out_as_the_whole_one(rules: Rules, text: str, cuts: list[int]) -> None:
    assert in_pieces(rules, text, cuts) == in_pieces(rules, text, [])


PRECISE = Rules((), [*((kind, pattern) for kind, pattern in KINDS.items()), ("words", word_list(WORDS, label="WORD"))])


@settings(max_examples=300, deadline=None)
@given(TEXTS, CUTS)
def test_personal_data_in_pieces_is_masked_as_in_the_whole(text: str, cuts: list[int]) -> None:
    assert in_pieces(PRECISE, text, cuts) == in_pieces(PRECISE, text, [])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=5), st.text(max_size=20), CUTS)
def test_any_words_are_found_however_the_text_is_cut(words: list[str], text: str, cuts: list[int]) -> None:
    rules = Rules((), [("words", word_list(words, label="W"))])

    assert in_pieces(rules, text + words[0], cuts) == in_pieces(rules, text + words[0], [])


@settings(max_examples=50, deadline=None)
@given(TEXTS, CUTS)
def test_a_text_without_matches_comes_out_as_it_went_in(text: str, cuts: list[int]) -> None:
    rules = Rules([("b", Pattern("qqqq+"))], [("m", word_list(["qq"]))])

    assert in_pieces(rules, text, cuts) == (text, "", set())


def test_only_what_may_become_a_match_is_held_back() -> None:
    sieve = Sieve(Rules([("words", word_list(["forbidden"]))]), replace)

    assert sieve.feed("this is for") == "this is "
    assert sieve.feed("mal") == "formal"
    assert sieve.feed(" forbid") == " "
    assert sieve.feed("den fruit") == ""
    assert sieve.blocked == "words"


def test_a_pattern_without_known_beginnings_holds_back_one_window() -> None:
    sieve = Sieve(Rules([], [("n", Pattern("n+", label="N", window=10))]), replace)

    assert sieve.feed("x" * 25) == "x" * 15
    assert sieve.close() == "x" * 10


@pytest.mark.parametrize("source", ["(a+)+$", "(a|a)*b", "(.*a){20}", "a.*b.*c.*d"])
def test_no_pattern_takes_long(source: str) -> None:
    text = "a" * 50_000

    assert len(Sieve(Rules([], [("m", Pattern(source, label="M"))]), replace).whole(text)) <= len(text)


@pytest.mark.parametrize("source", ["(", "(?=a)", r"(a)\1", "a*", ""])
def test_a_pattern_that_cannot_be_used_is_refused(source: str) -> None:
    with pytest.raises(BadPattern):
        Pattern(source)
