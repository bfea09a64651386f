"""Texts that are nearly the same, found without comparing each with each.

Two texts are near when at least `THRESHOLD` of the three-character pieces that either has are in both (the Jaccard
index of their pieces, case, width, spaces and punctuation aside). Candidates come from 32 min-hashes in 8 bands, which
finds 98 % of the pairs right at the threshold and more above; each is then compared exactly, so that none is false.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from inhouse.data.examples import normalise

THRESHOLD = 0.8
MAX_COMPARED = 200_000
_PIECE = 3
_BANDS = 8
_ROWS = 4
_LONGEST = 2000
_BLOCK = 4096
_NEIGHBOURS = 4
_EDGE = 2


class Near(NamedTuple):
    """Two texts by their places in the list, and how alike they are."""

    first: int
    second: int
    likeness: float


@dataclass(frozen=True, slots=True)
class Found:
    """The pairs that are near; `is_complete` is false where there were more candidates than are compared."""

    pairs: list[Near]
    is_complete: bool


def near(texts: Sequence[str], threshold: float = THRESHOLD) -> Found:
    """Pairs of texts that are near but not the same. Only the first 2,000 characters of each count."""
    normal = [normalise(text)[:_LONGEST] for text in texts]
    pairs: list[Near] = []
    for compared, (first, second) in enumerate(_candidates(_keys(normal))):
        if compared == MAX_COMPARED:
            return Found(pairs, is_complete=False)
        if normal[first] != normal[second] and (alike := likeness(normal[first], normal[second])) >= threshold:
            pairs.append(Near(first, second, round(alike, 4)))
    return Found(pairs, is_complete=True)


def likeness(first: str, second: str) -> float:
    """How much of the pieces of two normalised texts is shared, 0 to 1."""
    ours, theirs = _pieces(first), _pieces(second)
    return len(ours & theirs) / len(ours | theirs)


def _pieces(text: str) -> set[str]:
    padded = f"\x02{text}\x03"
    return {padded[at : at + _PIECE] for at in range(max(1, len(padded) - _EDGE))}


def _keys(texts: Sequence[str]) -> np.ndarray:
    """A number for each text and band: equal where the texts agree in all min-hashes of the band."""
    chance = np.random.default_rng(0)
    factors = chance.integers(1, 1 << 63, _BANDS * _ROWS, dtype=np.uint64) | np.uint64(1)
    keys = np.empty((_BANDS, len(texts)), np.uint64)
    for start in range(0, len(texts), _BLOCK):
        block = texts[start : start + _BLOCK]
        pieces, begins = _hashed(block)
        for band in range(_BANDS):
            key = np.full(len(block), band, np.uint64)
            for factor in factors[band * _ROWS : (band + 1) * _ROWS]:
                mixed = pieces * factor
                mixed ^= mixed >> np.uint64(29)
                least = np.minimum.reduceat(mixed * np.uint64(0xBF58476D1CE4E5B9), begins)
                key = (key ^ least) * np.uint64(0x9E3779B97F4A7C15)
            keys[band, start : start + len(block)] = key
    return keys


def _hashed(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The pieces of all texts as numbers, one after another, and where those of each text begin."""
    padded = [f"\x02{text}\x03" if text else "\x02\x03\x03" for text in texts]
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    windows = (codes[:-2] << np.uint64(42)) ^ (codes[1:-1] << np.uint64(21)) ^ codes[2:]
    lengths = np.fromiter(map(len, padded), np.int64, len(padded))
    ends = np.cumsum(lengths)
    is_whole = np.ones(len(windows), bool)  # windows that reach into the next text are none
    for back in (1, 2):
        cut = ends[:-1] - back
        is_whole[cut] = False
    counts = lengths - _EDGE
    return windows[is_whole], np.concatenate(([0], np.cumsum(counts)[:-1]))


def _candidates(keys: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs that share a band, each once; of many that share one, each with its nearest few in the list."""
    count = keys.shape[1]
    seen: set[int] = set()
    for band in keys:
        order = np.argsort(band, kind="stable")
        values = band[order]
        for apart in range(1, _NEIGHBOURS + 1):
            same = np.flatnonzero(values[:-apart] == values[apart:])
            for one, other in zip(order[same].tolist(), order[same + apart].tolist(), strict=True):
                first, second = (one, other) if one < other else (other, one)
                pair = first * count + second
                if pair not in seen:
                    seen.add(pair)
                    yield first, second
