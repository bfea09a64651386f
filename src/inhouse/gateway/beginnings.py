"""From a regular expression, one that matches every beginning of its matches.

It tells, at the end of a text that goes on, what has to be held back until more is known.
"""

import re
from dataclasses import dataclass

_ATOM = re.compile(
    r"\\(?:p\{[^}]*\}|P\{[^}]*\}|[pP][A-Z]|x\{[0-9A-Fa-f]+\}|x[0-9A-Fa-f]{2}|[0-7]{2,3}|[^A-Zpx0-7]|[DSWAB0-7])|\.|[^\\\[\](){}|*+?^$.]"
)
_CLASS = re.compile(r"\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]", re.DOTALL)
_ASSERTION = re.compile(r"\\[bBAz]|[\^$]")
_REPEAT = re.compile(r"([*+?]|\{(\d+)(?:(,)(\d*))?\})\??")
_OPEN = re.compile(r"\((?:\?P?<\w+>|\?([imsU-]*):)?")
_FLAGS = re.compile(r"\(\?([imsU-]+)\)")
_LONGEST = 20_000


class _Strange(Exception):
    """Syntax that is not understood here."""


@dataclass(frozen=True, slots=True)
class _Part:
    whole: str
    beginning: str
    """Matches every beginning but the empty one; empty where there is no other."""


def beginnings(source: str) -> str:
    """A pattern for the beginnings of what `source` matches; empty where that is not known."""
    try:
        part, end = _alternatives(source, 0)
    except _Strange:
        return ""
    return part.beginning if end == len(source) and len(part.beginning) <= _LONGEST else ""


def _alternatives(source: str, place: int) -> tuple[_Part, int]:
    flags = _FLAGS.match(source, place)
    if flags is not None:
        place = flags.end()
    parts: list[_Part] = []
    while True:
        part, place = _sequence(source, place)
        parts.append(part)
        if not source.startswith("|", place):
            break
        place += 1
    mode = f"?{flags[1]}:" if flags is not None else "?:"
    whole = f"({mode}{'|'.join(part.whole for part in parts)})"
    beginning = "|".join(part.beginning for part in parts if part.beginning)
    return _Part(whole, f"({mode}{beginning})" if beginning else ""), place


def _sequence(source: str, place: int) -> tuple[_Part, int]:
    parts: list[_Part] = []
    while place < len(source) and source[place] not in "|)":
        part, place = _repeated(source, place)
        parts.append(part)
    beginning = ""
    for part in reversed(parts):
        later = f"{part.whole}{beginning}" if beginning else ""
        beginning = "|".join(one for one in (part.beginning, later) if one)
        beginning = f"(?:{beginning})" if beginning else ""
    return _Part("".join(part.whole for part in parts), beginning), place


def _repeated(source: str, place: int) -> tuple[_Part, int]:
    part, place = _single(source, place)
    repeat = _REPEAT.match(source, place)
    if repeat is None:
        if source[place : place + 1] in ("*", "+", "?"):
            raise _Strange
        return part, place
    how, least, comma, most = repeat.groups()
    before = "*"
    if how == "?":
        before = "{0}"
    elif least is not None and (not comma or most):
        times = int(most or least)
        before = f"{{0,{times - 1}}}" if times else ""
    whole = f"(?:{part.whole}){repeat[0]}"
    beginning = f"(?:{part.whole}){before}{part.beginning}" if part.beginning and before else ""
    return _Part(whole, beginning), repeat.end()


def _single(source: str, place: int) -> tuple[_Part, int]:
    if _FLAGS.match(source, place):
        raise _Strange  # in the middle they change what follows
    opened = _OPEN.match(source, place)
    if opened is not None:
        return _group(source, opened)
    assertion = _ASSERTION.match(source, place)
    if assertion is not None:
        return _Part(assertion[0], ""), assertion.end()
    atom = _CLASS.match(source, place) or _ATOM.match(source, place)
    if atom is None:
        raise _Strange
    return _Part(atom[0], atom[0]), atom.end()


def _group(source: str, opened: re.Match[str]) -> tuple[_Part, int]:
    if source.startswith("?", opened.end()):
        raise _Strange
    part, place = _alternatives(source, opened.end())
    if not source.startswith(")", place):
        raise _Strange
    if opened[1]:
        mode = f"(?{opened[1]}:"
        part = _Part(f"{mode}{part.whole})", f"{mode}{part.beginning})" if part.beginning else "")
    return part, place + 1
