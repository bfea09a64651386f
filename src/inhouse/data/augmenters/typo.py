"""Rows as people mistype them."""

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Literal

from pydantic import Field

from inhouse.data.augmenter import Augmenter, Made, Order, augmenter
from inhouse.data.examples import Form

Slip = Literal["neighbour", "swap", "drop", "double", "case", "width", "punctuation", "homophone"]

_ROWS = ("1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm")
_HOMOPHONES = (
    *(
        "的得地",
        "在再",
        "做作坐座",
        "那哪",
        "他她它",
        "以已",
        "账帐",
        "像象",
        "带戴",
        "记计纪",
        "需须",
        "到道",
        "是事试视",
    ),
    *(
        "有又友",
        "吗嘛",
        "里理",
        "只支指",
        "请清情",
        "时实识",
        "买卖",
        "和合",
        "机几级",
        "期其齐",
        "号好",
        "定订",
        "成城程",
    ),
    *(
        "修休",
        "址只",
        "费废",
        "报抱",
        "班般",
        "功工公",
        "员原圆",
        "密秘",
        "码马",
        "假价架",
        "退腿",
        "款宽",
        "付负",
        "单担",
    ),
)
_MARKS = {"，": ",", "。": ".", "？": "?", "！": "!", "：": ":", "；": ";", "（": "(", "）": ")"}
_LETTER = re.compile("[a-z0-9]", re.IGNORECASE)
_TRIES = 10


@augmenter("typo")
class Typo(Augmenter):
    """Neighbouring keys, letters swapped, dropped or doubled, Chinese homophones, width and punctuation."""

    forms = (Form.TEXT, Form.PAIR)

    rate: float = Field(default=0.06, gt=0, le=0.5)
    kinds: tuple[Slip, ...] = Field(
        default=("neighbour", "swap", "drop", "double", "width", "punctuation", "homophone"), min_length=1
    )

    async def make(self, order: Order) -> Made:
        made = Made()
        rows = list(order.rows)
        while rows and len(made.rows) < order.count:
            order.chance.shuffle(rows)
            for row in rows[: order.count - len(made.rows)]:
                made.rows.append(self.derived(row, self.mistyped(row.text, order.chance)))
        return made

    def mistyped(self, text: str, chance: Random) -> str:
        """The text with at least one slip, where it has a place for one."""
        wanted = max(1, round(len(text) * self.rate))
        letters = list(text)
        for _ in range(wanted):
            for _ in range(_TRIES):
                at = chance.randrange(len(letters))
                changed = _SLIPS[chance.choice(self.kinds)](letters, at, chance)
                if changed is not None and "".join(changed).strip():
                    letters = changed
                    break
        return "".join(letters).strip()


def _neighbour(letters: list[str], at: int, chance: Random) -> list[str] | None:
    around = _AROUND.get(letters[at].lower(), "")
    if not around:
        return None
    key = chance.choice(around)
    return [*letters[:at], key.upper() if letters[at].isupper() else key, *letters[at + 1 :]]


def _swap(letters: list[str], at: int, chance: Random) -> list[str] | None:
    if at + 1 >= len(letters) or letters[at] == letters[at + 1] or " " in letters[at : at + 2]:
        return None
    return [*letters[:at], letters[at + 1], letters[at], *letters[at + 2 :]]


def _drop(letters: list[str], at: int, chance: Random) -> list[str] | None:
    return [*letters[:at], *letters[at + 1 :]] if len(letters) > 3 else None


def _double(letters: list[str], at: int, chance: Random) -> list[str] | None:
    return [*letters[: at + 1], *letters[at:]] if letters[at].isalpha() else None


def _case(letters: list[str], at: int, chance: Random) -> list[str] | None:
    other = letters[at].swapcase()
    return [*letters[:at], other, *letters[at + 1 :]] if other != letters[at] else None


def _width(letters: list[str], at: int, chance: Random) -> list[str] | None:
    """A letter or digit as wide as a Chinese character, as input methods leave them."""
    if not _LETTER.fullmatch(letters[at]):
        return None
    return [*letters[:at], chr(ord(letters[at]) + 0xFEE0), *letters[at + 1 :]]


def _punctuation(letters: list[str], at: int, chance: Random) -> list[str] | None:
    other = _OTHER_MARKS.get(letters[at])
    if other is None:
        return None
    return [*letters[:at], *([other] if chance.random() < 0.5 else []), *letters[at + 1 :]]


def _homophone(letters: list[str], at: int, chance: Random) -> list[str] | None:
    others = _SOUNDS.get(letters[at])
    return [*letters[:at], chance.choice(others), *letters[at + 1 :]] if others else None


def _neighbours() -> dict[str, str]:
    """Each key with those beside it, above it and below it."""
    found: dict[str, str] = {}
    for number, row in enumerate(_ROWS):
        for place, key in enumerate(row):
            beside = row[max(0, place - 1) : place] + row[place + 1 : place + 2]
            above = _ROWS[number - 1][place : place + 2] if number else ""
            below = _ROWS[number + 1][max(0, place - 1) : place + 1] if number + 1 < len(_ROWS) else ""
            letters = [one for one in beside + above + below if one.isalpha() == key.isalpha()]
            found[key] = "".join(letters)
    return found


_AROUND = _neighbours()
_SOUNDS: dict[str, Sequence[str]] = {
    letter: [other for other in group if other != letter] for group in _HOMOPHONES for letter in group
}
_OTHER_MARKS = {**_MARKS, **{narrow: wide for wide, narrow in _MARKS.items()}}
_SLIPS: dict[str, Callable[[list[str], int, Random], list[str] | None]] = {
    "neighbour": _neighbour,
    "swap": _swap,
    "drop": _drop,
    "double": _double,
    "case": _case,
    "width": _width,
    "punctuation": _punctuation,
    "homophone": _homophone,
}
