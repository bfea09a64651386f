import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from inhouse.gateway.beginnings import beginnings
from inhouse.gateway.patterns import BadPattern, Pattern
from inhouse.gateway.sieve import Rules, Sieve

ATOMS = st.sampled_from(["a", "b", "c", ".", "[ab]", r"\w", "[^a]", " ", "中", r"\d"])
EDGES = st.sampled_from([r"\b", "^", "$", r"\B"])
REPEATS = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,2}", "{2,}", "+?", "??", "*?"])


def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    grouped = st.tuples(st.lists(inner, min_size=1, max_size=3).map("|".join).map("(?:{})".format), REPEATS)
    return st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        grouped.map("".join),
        st.tuples(EDGES, inner).map("".join),
        st.tuples(inner, EDGES).map("".join),
        inner.map("(?i:{})".format),
    )


SOURCES = st.recursive(st.tuples(ATOMS, REPEATS).map("".join), larger, max_leaves=6)
TEXTS = st.text("abcABC中1 \n", max_size=16)


def in_pieces(rules: Rules, text: str, size: int) -> str:
    sieve = Sieve(rules, lambda _, pattern, found: b"<%b>" % found)
    return "".join(sieve.feed(text[at : at + size]) for at in range(0, len(text), size)) + sieve.close()


@settings(max_examples=400, deadline=None)
@given(SOURCES, TEXTS, st.integers(1, 3))
def test_any_expression_finds_the_same_in_pieces(source: str, text: str, size: int) -> None:
    tail = beginnings(source)
    assert tail
    try:
        rules = Rules((), [("m", Pattern(source, tail=tail, window=9))])
    except BadPattern:
        return  # matches the empty text

    assert in_pieces(rules, text, size) == in_pieces(rules, text, 100)


@pytest.mark.parametrize(
    ("source", "begins"),
    [
        ("secret project", ["s", "secret pro", "secret project"]),
        ("(?i)ab|cd", ["A", "C", "cd"]),
        (r"x{2,3}y", ["x", "xx", "xxx", "xxxy"]),
        (r"(?P<name>ab)+c", ["aba", "abab"]),
        (r"\p{Han}{2}\.", ["中", "中文", "中文."]),
        (r"[]a]b", ["]"]),
        (r"\x41\x{42}", ["A", "AB"]),
        (r"a\*\\", ["a*", "a*\\"]),
    ],
)
def test_every_beginning_is_matched(source: str, begins: list[str]) -> None:
    found = re2.compile(beginnings(source))

    assert all(found.fullmatch(begin) for begin in begins)


@pytest.mark.parametrize("source", [r"\Qa.b\E", r"a(?i)b", "(?P=x)", "a**", r"\C"])
def test_what_is_not_understood_says_so(source: str) -> None:
    assert beginnings(source) == ""
