"""Finds what rules look for in texts, in linear time: no pattern can hang the server.

Texts are UTF-8 and places are byte offsets. A match is at most `window` bytes long: so a text that comes in pieces can
be checked with the same result as the whole text, holding back no more than that.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

import re2

from inhouse.core.errors import Invalid

WINDOW = 256
_BLOCKS = 4  # a search that cannot use the whole text looks at this many windows
_PATIENCE = 1000  # matches that turn out too long, before their first window counts as the match
_MEMORY = 64 << 20
Check = Callable[[bytes], int]


class BadPattern(Invalid):
    """The pattern cannot be used."""


class Pattern:
    """A regular expression in RE2's syntax: no look-around and no back-references.

    `tail` matches, at the end of an unfinished text, every beginning of a match; without it a window's worth of text is
    held back. `check` says how much of a match is one: 0 for nothing.
    """

    def __init__(
        self,
        source: str,
        *,
        label: str = "",
        tail: str = "",
        check: Check | None = None,
        window: int = WINDOW,
        is_longest: bool = False,
    ) -> None:
        self.source = source
        self.tail = tail
        self.label = label
        self.window = window
        self._check = check
        self._compiled = compiled(source, is_longest=is_longest)
        if self._compiled.search(b"") is not None:
            raise BadPattern(f"The pattern {source[:80]!r} matches an empty text.", hint="Let it match something.")

    def find(self, text: bytes, start: int, stop: int) -> tuple[int, int] | None:
        """The first match that begins at `start` or later and before `stop`."""
        step, patience = len(text), _PATIENCE
        while start < stop:
            end = min(start + step, len(text))
            sure = end if end == len(text) else end - self.window
            seen = self._compiled.search(text, start, end)
            if seen is None or seen.start() >= sure:
                start = sure
                continue
            begin, size = seen.start(), seen.end() - seen.start()
            if begin >= stop:
                return None
            if size > self.window:
                step = self.window * _BLOCKS  # from here on no search sees more than that
                patience -= 1
                size = self._within(text, begin) if patience > 0 else self.window
            if size and self._check is not None:
                size = self._check(text[begin : begin + size])
            if size:
                return begin, begin + size
            start = begin + 1
        return None

    def _within(self, text: bytes, begin: int) -> int:
        seen = self._compiled.match(text, begin, begin + self.window)
        return seen.end() - begin if seen is not None else 0


class Patterns:
    """Patterns that are looked for together: most texts are through after one search."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self.window = max((pattern.window for pattern in patterns), default=0)
        self._patterns = patterns

    @cached_property
    def _any(self) -> Any:
        return _joined(pattern.source for pattern in self._patterns)

    @cached_property
    def _tail(self) -> Any:
        if not all(pattern.tail for pattern in self._patterns):
            return None
        return _joined((pattern.tail for pattern in self._patterns), end=r"\z")

    @cached_property
    def _anything(self) -> Any:
        if self._any is None or self._tail is None:
            return None
        tails = "|".join(f"(?:{pattern.tail})" for pattern in self._patterns)
        return _joined((*(pattern.source for pattern in self._patterns), rf"(?:{tails})\z"))

    def is_clear(self, text: bytes, start: int) -> bool:
        """Whether none of them matches from `start` on, nor begins to: what most pieces of a stream are."""
        return self._anything is not None and self._anything.search(text, start) is None

    def may_match(self, text: bytes, start: int) -> bool:
        """Whether any of them may match from `start` on."""
        return self._any is None or self._any.search(text, start) is not None

    def open_at(self, text: bytes, start: int) -> int:
        """Where a match may begin whose end is yet to come; the end of the text where there is none."""
        first = max(start, len(text) - self.window)
        if self._tail is None:
            return first
        seen = self._tail.search(text, first)
        return len(text) if seen is None else seen.start()


def compiled(source: str, *, is_longest: bool = False) -> Any:
    """A compiled pattern for UTF-8 bytes."""
    options: Any = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    options.never_capture = True
    options.longest_match = is_longest
    try:
        return re2.compile(source.encode(), options)
    except (re2.error, UnicodeEncodeError) as error:
        raise BadPattern(
            f"The pattern {source[:80]!r} cannot be used: {_reason(error)}.",
            hint="Patterns have RE2's syntax: no look-around, no back-references.",
        ) from error


def _reason(error: Exception) -> str:
    first: object = error.args[0] if error.args else error
    return first.decode(errors="replace") if isinstance(first, bytes) else str(first)


def _joined(sources: Iterable[str], end: str = "") -> Any:
    """One pattern that matches where any of them does; None where they cannot be joined."""
    try:
        return compiled(f"(?:{'|'.join(f'(?:{source})' for source in sources)}){end}")
    except BadPattern:
        return None  # such as groups of one name


def word_list(words: Sequence[str], *, label: str = "") -> Pattern:
    """Words in any case and width. One that begins or ends in a letter or digit of ASCII stands there by itself."""
    tree: dict[str, Any] = {}
    for word in words:
        branch = tree
        for letter in word.casefold() if len(word.casefold()) == len(word) else word:
            branch = branch.setdefault(letter, {})
    whole = "|".join(_word(word) for word in sorted(words, key=len, reverse=True))
    longest = max(len(word.encode()) for word in words)
    # A full-width letter takes three bytes.
    return Pattern(f"(?i:{whole})", label=label, tail=f"(?i:{_beginnings(tree)})", window=3 * longest, is_longest=True)


def _word(word: str) -> str:
    letters = [_letter(letter) for letter in word]
    letters[0] = _edge(word[0], rf"\b{re2.escape(word[0])}") or letters[0]
    if len(word) == 1:
        return _edge(word, rf"\b{re2.escape(word)}\b") or letters[0]
    letters[-1] = _edge(word[-1], rf"{re2.escape(word[-1])}\b") or letters[-1]
    return "".join(letters)


def _letter(letter: str) -> str:
    if not "!" <= letter <= "~":
        return re2.escape(letter)
    return f"[{re2.escape(letter)}{_wide(letter)}]"


def _edge(letter: str, bounded: str) -> str:
    return f"(?:{bounded}|{_wide(letter)})" if letter.isascii() and letter.isalnum() else ""


def _wide(letter: str) -> str:
    return chr(ord(letter) + 0xFEE0)


def _beginnings(tree: dict[str, Any], depth: int = 0) -> str:
    """Matches every beginning of the words in the tree."""
    branches: list[str] = []
    for letter, branch in tree.items():
        one = (_edge(letter, rf"\b{re2.escape(letter)}") if not depth else "") or _letter(letter)
        branches.append(f"{one}(?:{_beginnings(branch, depth + 1)})?" if branch else one)
    return "|".join(branches)
