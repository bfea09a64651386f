"""Lets a text through that comes in pieces, and masks or stops what rules find in it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from inhouse.gateway.patterns import Pattern, Patterns

Replace = Callable[[str, Pattern, bytes], bytes]
"""What to put in the place of a match of a rule's pattern."""


@dataclass(frozen=True, eq=False)
class Rules:
    """What is looked for in a text: what ends it, what is replaced, what is only noted. Noted under a rule's name."""

    blocks: Sequence[tuple[str, Pattern]] = ()
    masks: Sequence[tuple[str, Pattern]] = ()
    flags: Sequence[tuple[str, Pattern]] = ()
    patterns: Patterns = field(init=False)

    def __post_init__(self) -> None:
        found = [pattern for _, pattern in (*self.blocks, *self.masks, *self.flags)]
        object.__setattr__(self, "patterns", Patterns(found))

    def __bool__(self) -> bool:
        return bool(self.blocks or self.masks or self.flags)


class Sieve:
    """One text on its way. However it is cut into pieces, what comes out is the same.

    The first match that blocks ends the text there. Of matches to be replaced that overlap, the one that begins first
    counts, and of those that begin together, the first rule's.
    """

    def __init__(self, rules: Rules, replace: Replace) -> None:
        self.blocked = ""
        """The rule that ended the text."""
        self.found: set[str] = set()
        """Rules that matched, whatever they did."""
        self._rules = rules
        self._replace = replace
        self._text = b""
        self._sent = 0  # what comes before has gone out
        self._decided = 0  # where matches that begin earlier are known

    def feed(self, text: str) -> str:
        """Take a piece, and give what can go out by now."""
        if not text or self.blocked:
            return ""
        self._text += text.encode(errors="replace")
        if self._rules.patterns.is_clear(self._text, self._decided):
            return self._all()
        return self._out(self._rules.patterns.open_at(self._text, self._decided))

    def close(self) -> str:
        """The rest of the text."""
        return "" if self.blocked else self._out(len(self._text))

    def whole(self, text: str) -> str:
        """Let a whole text through."""
        self._text += text.encode(errors="replace")
        return self.close()

    def _all(self) -> str:
        out = self._text[self._sent :]
        self._text = self._text[-1:]
        self._sent = self._decided = len(self._text)
        return out.decode(errors="replace")

    def _out(self, stop: int) -> str:
        text, sent = self._text, self._sent
        start = self._decided
        if start < stop and self._rules.patterns.may_match(text, start):
            out, sent = self._matched(stop)
        else:
            end = _boundary(text, stop)
            out = text[sent:end] if end > sent else b""
            sent = max(sent, end)
        kept = max(min(sent, stop) - 1, 0)  # one byte more, for what a match may not follow
        self._text, self._sent, self._decided = text[kept:], sent - kept, stop - kept
        return out.decode(errors="replace")

    def _matched(self, stop: int) -> tuple[bytes, int]:
        text, rules = self._text, self._rules
        end = _boundary(text, stop)
        for name, pattern in rules.blocks:
            found = pattern.find(text, self._decided, stop)
            if found is not None:
                stop = end = found[0]
                self.blocked = name
        if self.blocked:
            self.found.add(self.blocked)
        for name, pattern in rules.flags:
            if name not in self.found and pattern.find(text, self._decided, stop):
                self.found.add(name)
        return self._masked(stop, end)

    def _masked(self, stop: int, end: int) -> tuple[bytes, int]:
        text, done = self._text, self._sent
        start = max(done, self._decided)
        parts: list[bytes] = []
        upcoming = [
            (found, name, pattern) for name, pattern in self._rules.masks if (found := pattern.find(text, start, stop))
        ]
        while upcoming:
            (begin, over), name, pattern = min(upcoming, key=lambda one: one[0][0])
            self.found.add(name)
            parts += [text[done:begin], self._replace(name, pattern, text[begin:over])]
            done = over
            upcoming = [
                (again, name, pattern)
                for found, name, pattern in upcoming
                if (again := found if found[0] >= done else pattern.find(text, done, stop))
            ]
        if end > done:
            parts.append(text[done:end])
        return b"".join(parts), max(done, end)


def _boundary(text: bytes, place: int) -> int:
    """The place, or the beginning of the character that it is in."""
    while 0 < place < len(text) and text[place] & 0xC0 == 0x80:
        place -= 1
    return place
