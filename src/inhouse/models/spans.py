"""From what a tagger says about tokens to spans in a text: training judges and serving answers with this very code.

A text longer than the network reads goes through it in windows that overlap. Where they do, their scores are averaged,
a window counting the more the farther the token is from its end. The tags are then those that are likeliest together
among those that make sense together (Viterbi): an I-tag only goes on with what a B-tag began.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

OUTSIDE = "O"
WINDOWS = 16
"""This many are read at once: more are not faster, and take more memory."""
_CELLS = 1 << 20
"""Of the tables that tags are decoded with: a few megabytes."""
_PARTS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}

Tensors = Mapping[str, np.ndarray]
Run = Callable[[Tensors], np.ndarray]
"""The network: what it reads, each [windows, tokens], to the scores of the tags, [windows, tokens, tags]."""


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a text, in characters, `end` exclusive. `score` is how sure the tagger is, from 0 to 1."""

    start: int
    end: int
    label: str
    score: float = 1.0

    def overlaps(self, other: Span) -> bool:
        return self.start < other.end and other.start < self.end

    def wire(self, text: str) -> dict[str, Any]:
        there = {"start": self.start, "end": self.end, "label": self.label}
        return {**there, "text": text[self.start : self.end], "score": self.score}


@dataclass(frozen=True, slots=True)
class Window:
    """What the network reads at a time of a text: tokens `first` to `last` of it, which are `own` of the encoding."""

    encoding: Encoding
    first: int
    last: int
    own: slice


def tags_of(labels: Sequence[str]) -> list[str]:
    """The tags of tokens: outside of every span, and for each label the beginning and the inside of a span."""
    return [OUTSIDE, *(f"{place}-{label}" for label in labels for place in "BI")]


def moves_of(labels: int) -> np.ndarray:
    """What it costs to go from one tag (row) to the next (column): nothing where it makes sense, everything elsewhere.

    The first tag is reached from outside.
    """
    count = 2 * labels + 1
    moves = np.zeros((count, count))
    for inside in range(2, count, 2):
        moves[:, inside] = -np.inf
        moves[[inside - 1, inside], inside] = 0.0
    return moves


def decode(scores: Sequence[np.ndarray], moves: np.ndarray) -> list[np.ndarray]:
    """Return the likeliest tags of each text, given scores [tokens, tags] and what the moves between tags cost."""
    lengths = np.array([len(one) for one in scores])
    longest, tags = int(lengths.max(initial=0)), len(moves)
    padded = np.zeros((len(scores), longest, tags))
    for row, one in zip(padded, scores, strict=True):
        row[: len(one)] = one
    came_from = np.zeros((longest, len(scores), tags), dtype=np.int32)
    best = np.tile(np.where(np.arange(tags) == 0, 0.0, -np.inf), (len(scores), 1))
    stay = np.arange(tags)
    for step in range(longest):
        here = best[:, :, None] + moves
        source = here.argmax(axis=1)
        reached = np.take_along_axis(here, source[:, None], axis=1)[:, 0] + padded[:, step]
        goes_on = (step < lengths)[:, None]
        best = np.where(goes_on, reached, best)
        came_from[step] = np.where(goes_on, source, stay)
    paths = np.zeros((len(scores), longest), dtype=np.int64)
    tag = best.argmax(axis=1)
    for step in range(longest - 1, -1, -1):
        paths[:, step] = tag
        tag = came_from[step][np.arange(len(scores)), tag]
    return [path[:length] for path, length in zip(paths, lengths, strict=True)]


def windows_of(encoding: Encoding, stride: int) -> list[Window]:
    """The windows of an encoded text, of which each but the first repeats the last `stride` tokens before it."""
    windows, first = [], 0
    for part in (encoding, *encoding.overflowing):
        own = [place for place, is_special in enumerate(part.special_tokens_mask) if not is_special]
        if own:
            windows.append(Window(part, first, first + len(own), slice(own[0], own[-1] + 1)))
            first += len(own) - stride
    return windows


class SpanFinder:
    """Finds the spans of texts of any length with a network that scores the tags of tokens."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        labels: Sequence[str],
        run: Run,
        *,
        max_length: int,
        stride: int,
        temperature: float = 1.0,
        moves: np.ndarray | None = None,
    ) -> None:
        set_windows(tokenizer, max_length=max_length, stride=stride)
        self._tokenizer = tokenizer
        self._labels = list(labels)
        self._run = run
        self._stride = stride
        self._temperature = temperature
        allowed = moves_of(len(self._labels))
        self._moves = allowed if moves is None else allowed + moves

    def find(self, texts: Sequence[str]) -> list[list[Span]]:
        """Return the spans of each text, in their order."""
        read = [windows_of(encoding, self._stride) for encoding in self._tokenizer.encode_batch(list(texts))]
        found: list[list[Span]] = [[] for _ in texts]
        for group in self._groups([windows[-1].last if windows else 0 for windows in read]):
            scores = self._scores([read[number] for number in group])
            for number, one, path in zip(group, scores, decode(scores, self._moves), strict=True):
                found[number] = self._spans(texts[number], _offsets(read[number]), one, path)
        return found

    def scores(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The scores of the tags of every token of each text, [tokens, tags]."""
        return self._scores([windows_of(encoding, self._stride) for encoding in self._tokenizer.encode_batch(texts)])

    def _groups(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Texts that are decoded together: of like length, as many as the tables have room for."""
        tags = len(self._moves)
        group: list[int] = []
        for number in sorted(range(len(lengths)), key=lengths.__getitem__):
            if not lengths[number]:
                continue
            if group and (len(group) + 1) * max(lengths[number], tags) * tags > _CELLS:
                yield group
                group = []
            group.append(number)
        if group:
            yield group

    def _scores(self, texts: Sequence[Sequence[Window]]) -> list[np.ndarray]:
        tags = len(self._moves)
        sums = [np.zeros((windows[-1].last if windows else 0, tags)) for windows in texts]
        weights = [np.zeros((len(one), 1)) for one in sums]
        flat = [(number, window) for number, windows in enumerate(texts) for window in windows]
        flat.sort(key=lambda pair: len(pair[1].encoding.ids))
        for start in range(0, len(flat), WINDOWS):
            batch = flat[start : start + WINDOWS]
            scored = self._run(self._tensors([window.encoding for _, window in batch]))
            for (number, window), one in zip(batch, scored, strict=True):
                size = window.last - window.first
                weight = np.minimum(np.arange(size) + 1, size - np.arange(size))[:, None]
                sums[number][window.first : window.last] += weight * one[window.own]
                weights[number][window.first : window.last] += weight
        return [total / weight for total, weight in zip(sums, weights, strict=True)]

    def _tensors(self, encodings: Sequence[Encoding]) -> Tensors:
        longest = max(len(encoding.ids) for encoding in encodings)
        pad = pad_of(self._tokenizer)
        tensors = {name: np.zeros((len(encodings), longest), dtype=np.int64) for name in _PARTS}
        tensors["input_ids"][:] = pad
        for row, encoding in enumerate(encodings):
            for name, part in _PARTS.items():
                tensors[name][row, : len(encoding.ids)] = getattr(encoding, part)
        return tensors

    def _spans(self, text: str, offsets: Sequence[tuple[int, int]], scores: np.ndarray, path: np.ndarray) -> list[Span]:
        chances = _softmax(scores / self._temperature)
        spans = []
        starts = np.flatnonzero(path % 2 == 1)
        for first in starts.tolist():
            tag, last = int(path[first]), first + 1
            while last < len(path) and path[last] == tag + 1:
                last += 1
            start, end = _trim(text, offsets[first][0], offsets[last - 1][1])
            if start < end:
                score = float(chances[first:last, tag : tag + 2].sum(-1).mean())
                spans.append(Span(start, end, self._labels[tag // 2], score))
        return spans


def set_windows(tokenizer: Tokenizer, *, max_length: int, stride: int) -> None:
    """Let the tokenizer read texts in windows of so many tokens. Rows of a batch are filled up here, not by it."""
    tokenizer.enable_truncation(max_length, stride=stride)
    tokenizer.no_padding()


def pad_of(tokenizer: Tokenizer) -> int:
    """What short rows are filled up with; the attention mask says that nothing is there."""
    return next((number for token in ("[PAD]", "<pad>") if (number := tokenizer.token_to_id(token)) is not None), 0)


def _offsets(windows: Sequence[Window]) -> list[tuple[int, int]]:
    offsets: list[tuple[int, int]] = []
    for window in windows:
        offsets += window.encoding.offsets[window.own][len(offsets) - window.first :]
    return offsets


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """Without the spaces that some tokenizers count to a word."""
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
