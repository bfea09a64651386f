"""How far annotators agree: with each other beyond chance, and with the model."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any


def key(answer: Mapping[str, Any]) -> str:
    """Equal for equal answers."""
    return json.dumps(answer, ensure_ascii=False, sort_keys=True)


def share(answers: Sequence[Sequence[str]]) -> float | None:
    """Of all pairs of answers to the same task, the share that are equal; None without a pair."""
    same = sum(count * (count - 1) for one in answers for count in Counter(one).values())
    pairs = sum(len(one) * (len(one) - 1) for one in answers)
    return same / pairs if pairs else None


def alpha(answers: Sequence[Sequence[str]]) -> float | None:
    """Krippendorff's alpha for names without order: 1 is full agreement, 0 is what chance would give.

    Tasks with a single answer say nothing; None without any other. One single answer everywhere counts as agreement.
    """
    judged = [Counter(one) for one in answers if len(one) > 1]
    if not judged:
        return None
    observed = sum(sum(count * (one.total() - count) for count in one.values()) / (one.total() - 1) for one in judged)
    every = sum(judged, Counter[str]())
    total = every.total()
    expected = sum(count * (total - count) for count in every.values()) / (total - 1)
    return 1 - observed / expected if expected else 1.0


def span_f1(first: Mapping[str, Any], second: Mapping[str, Any]) -> float:
    """How far two annotators marked the same spans: 2 x the shared ones over all of both; 1 when neither marked any."""
    mine, theirs = ({key(span) for span in answer["spans"]} for answer in (first, second))
    return 2 * len(mine & theirs) / (len(mine) + len(theirs)) if mine or theirs else 1.0
