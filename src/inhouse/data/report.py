"""What a dataset version is like, before anybody trains on it."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from inhouse.data.examples import Example, Form, label_counts, normalise, question
from inhouse.data.near import THRESHOLD, Found, near

SHOWN = 50
_EDGES = (0, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10_240)
_SCRIPTS = {
    "kana": re.compile("[\u3040-\u30ff]"),
    "hangul": re.compile("[\uac00-\ud7af]"),
    "han": re.compile("[\u3400-\u9fff\uf900-\ufaff]"),
    "cyrillic": re.compile("[\u0400-\u04ff]"),
    "arabic": re.compile("[\u0600-\u06ff]"),
    "latin": re.compile("[A-Za-z\u00c0-\u024f]"),
}


@dataclass(frozen=True, slots=True)
class Bin:
    """How many texts have `start` to `end` characters, `end` exclusive; the last bin has no end."""

    start: int
    end: int | None
    count: int


@dataclass(frozen=True, slots=True)
class Alike:
    """Two rows that are nearly, or in what they ask exactly, the same."""

    first: str
    second: str
    first_text: str
    second_text: str
    first_split: str
    second_split: str
    likeness: float


@dataclass(frozen=True, slots=True)
class Conflict:
    """Rows that ask the same and differ in what is right."""

    text: str
    labels: list[str]


@dataclass(frozen=True, slots=True)
class Report:
    """Counts of the whole version; of what was found, the first 50 are listed.

    `leaks` are pairs of a training row and a held-out row, `near_duplicates` pairs within training or within the held
    rows. `is_complete` is false where there were too many candidates to compare them all.
    """

    count: int
    splits: dict[str, int]
    labels: dict[str, dict[str, int]]
    lengths: list[Bin]
    scripts: dict[str, int]
    sources: dict[str, int]
    synthetic: int
    duplicates: int
    near_duplicate_count: int
    near_duplicates: list[Alike]
    leak_count: int
    leaks: list[Alike]
    conflict_count: int
    conflicts: list[Conflict]
    threshold: float
    is_complete: bool


def report(rows: Sequence[Example], form: str, threshold: float = THRESHOLD) -> Report:
    asked: dict[str, list[Example]] = defaultdict(list)
    for row in rows:
        asked[question(row, form)].append(row)
    exact = [pair for same in asked.values() if len(same) > 1 for pair in _across(same)]
    found, pairs = _near(rows, form, threshold)
    leaking = [*exact, *(pair for pair in pairs if _is_leak(pair))]
    close = [pair for pair in pairs if not _is_leak(pair)]
    conflicts = [conflict for same in asked.values() if (conflict := _conflict(same, form))]
    return Report(
        count=len(rows),
        splits=dict(sorted(Counter(row.split for row in rows).items())),
        labels=_balance(rows, form),
        lengths=_lengths(rows),
        scripts=dict(Counter(script(row.text) for row in rows).most_common()),
        sources=dict(Counter(_kind(row.source) for row in rows).most_common()),
        synthetic=sum(row.is_synthetic for row in rows),
        duplicates=sum(len(same) - 1 for same in asked.values()),
        near_duplicate_count=len(close),
        near_duplicates=_first(close),
        leak_count=len(leaking),
        leaks=_first(leaking),
        conflict_count=len(conflicts),
        conflicts=conflicts[:SHOWN],
        threshold=threshold,
        is_complete=found.is_complete,
    )


def script(text: str) -> str:
    """The script that a text is in; `mixed` where Latin letters are no rarity beside another one."""
    if text.isascii():
        return "latin" if any(letter.isalpha() for letter in text) else "none"
    found = {name: len(letters.findall(text)) for name, letters in _SCRIPTS.items()}
    if found["kana"]:
        found["kana"] += found.pop("han")
    latin = found.pop("latin")
    name, most = max(found.items(), key=lambda item: item[1])
    if not most and not latin:
        return "other" if any(letter.isalpha() for letter in text) else "none"
    if latin > 2 * most:  # a Latin word has several letters, many other scripts have less
        return "mixed" if latin <= 5 * most else "latin"
    return name


def _near(rows: Sequence[Example], form: str, threshold: float) -> tuple[Found, list[Alike]]:
    """Pairs that are near by what is shown of them; of rows with the same text one in each place is compared."""
    if form == Form.TABLE:
        return Found([], is_complete=True), []
    different: dict[tuple[str, bool], Example] = {}
    for row in rows:
        different.setdefault((normalise(_shown(row)), row.split == "train"), row)
    kept = list(different.values())
    found = near([_shown(row) for row in kept], threshold)
    return found, [_alike(kept[pair.first], kept[pair.second], pair.likeness) for pair in found.pairs]


def _shown(row: Example) -> str:
    other = row.content.get("other")
    return f"{row.text}\n{other}" if other else row.text


def _across(same: Sequence[Example]) -> Iterable[Alike]:
    """A training row and a held-out row that ask the same."""
    held = next((row for row in same if row.split != "train"), None)
    return [_alike(row, held, 1.0) for row in same if held is not None and row.split == "train"]


def _alike(first: Example, second: Example, likeness: float) -> Alike:
    if first.split != "train" and second.split == "train":
        first, second = second, first
    texts = (_shown(first)[:300], _shown(second)[:300])
    return Alike(first.id, second.id, *texts, first.split, second.split, likeness)


def _is_leak(pair: Alike) -> bool:
    return (pair.first_split == "train") != (pair.second_split == "train")


def _first(pairs: Sequence[Alike]) -> list[Alike]:
    return sorted(pairs, key=lambda pair: -pair.likeness)[:SHOWN]


def _conflict(same: Sequence[Example], form: str) -> Conflict | None:
    if len(same) < 2 or form == Form.CHAT:
        return None
    said = {_right(row, form) for row in same}
    return Conflict(same[0].text[:300], sorted(said)[:20]) if len(said) > 1 else None


def _right(row: Example, form: str) -> str:
    """What a row says is right. Two answers are only at odds where they say so of the same ones."""
    if form == Form.RATING:
        return ""
    if form == Form.PREFERENCE:
        return ""
    if form in (Form.SPANS, Form.PAIR):
        return json.dumps(row.content, ensure_ascii=False, sort_keys=True)[:300]
    return "|".join(row.content.get("labels") or [row.label])


def _balance(rows: Sequence[Example], form: str) -> dict[str, dict[str, int]]:
    """Label -> split -> how often, the most frequent first."""
    splits = sorted({row.split for row in rows})
    by_split = {name: label_counts((row for row in rows if row.split == name), form) for name in splits}
    every = sum(by_split.values(), Counter())
    return {label: {name: by_split[name][label] for name in splits} for label, _ in every.most_common(1000)}


def _lengths(rows: Sequence[Example]) -> list[Bin]:
    counts = Counter(next(start for start in reversed(_EDGES) if len(row.text) >= start) for row in rows)
    bins = [Bin(start, end, counts[start]) for start, end in pairwise(_EDGES)]
    bins.append(Bin(_EDGES[-1], None, counts[_EDGES[-1]]))
    while len(bins) > 1 and not bins[-1].count:
        bins.pop()
    return bins


def _kind(source: str) -> str:
    """`feedback:f1` -> `feedback`; of synthetic rows it matters how they were made."""
    return source if source.startswith("synthetic:") else source.partition(":")[0]
