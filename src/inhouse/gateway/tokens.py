"""Estimates token counts without a tokenizer."""

import math

_PER_ASCII = 1 / 3.5
_PER_OTHER = 0.7


def estimate(text: str) -> int:
    """About how many tokens a language model would see."""
    ascii_count = len(text.encode("ascii", "ignore"))
    return math.ceil(ascii_count * _PER_ASCII + (len(text) - ascii_count) * _PER_OTHER)


def cut(text: str, max_tokens: int) -> str:
    """The longest beginning that `estimate` counts within `max_tokens`."""
    spent = 0.0
    for position, character in enumerate(text):
        spent += _PER_ASCII if character.isascii() else _PER_OTHER
        if spent > max_tokens:
            return text[:position]
    return text
