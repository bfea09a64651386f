"""Does a model still understand when people mistype? Noise that readers hardly notice, the same for the same seed."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_NEIGHBOURS = {
    letter: row[max(0, place - 1) : place] + row[place + 1 : place + 2]
    for row in ("qwertyuiop", "asdfghjkl", "zxcvbnm")
    for place, letter in enumerate(row)
}
_SHARE = 0.06
"""Of the characters of a text that are touched: about one in sixteen, and one at least."""


@dataclass(frozen=True, slots=True)
class Noise:
    """One way in which texts come out wrong."""

    name: str
    spoil: Callable[[str, random.Random], str]


def typos(text: str, chance: random.Random) -> str:
    """Swap, drop, double or mistype characters. Chinese has no neighbours on the keyboard, the rest applies."""
    characters = list(text)
    for _ in range(max(1, round(_SHARE * len(text)))):
        place = chance.randrange(len(characters)) if characters else 0
        if len(characters) < 2:
            break
        _mistype(characters, place, chance)
    return "".join(characters)


def case(text: str, chance: random.Random) -> str:
    """All capitals, none, or some."""
    way = chance.choice((str.upper, str.lower, str.swapcase, str.title))
    return way(text)


def width(text: str, chance: random.Random) -> str:
    """Full-width letters and digits, as Chinese keyboards make them, and spaces that are doubled or lost."""
    wide = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
    if chance.random() < 0.5:
        return text.translate(wide)
    return text.replace(" ", chance.choice(("  ", "\u3000")))


NOISES = (Noise("typos", typos), Noise("case", case), Noise("width", width))


def spoiled(texts: Sequence[str], noise: Noise, *, seed: int = 0) -> list[str]:
    """The texts with noise in them, each from its own place and the seed alone."""
    return [noise.spoil(text, random.Random(f"{seed}:{noise.name}:{number}")) for number, text in enumerate(texts)]


def _mistype(characters: list[str], place: int, chance: random.Random) -> None:
    letter = characters[place]
    way = chance.choice(("swap", "drop", "double", "hit beside"))
    if way == "swap" and place + 1 < len(characters):
        characters[place], characters[place + 1] = characters[place + 1], letter
    elif way == "double":
        characters[place] = letter * 2
    elif way == "hit beside" and letter.lower() in _NEIGHBOURS:
        characters[place] = chance.choice(_NEIGHBOURS[letter.lower()])
    else:
        del characters[place]
