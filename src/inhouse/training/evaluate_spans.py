"""How good a tagger is: per type and on the whole, by exact places and by places that merely overlap."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from inhouse.models.spans import Span
from inhouse.training.dataset import Row
from inhouse.training.evaluate import ClassScore, NothingToEvaluate
from inhouse.training.spans import spans_of

WORST = 20

Find = Callable[[list[str]], list[list[Span]]]


@dataclass(frozen=True, slots=True)
class Miss:
    """A text whose spans the model got wrong: what is marked in it, and what the model found."""

    id: str
    text: str
    marked: list[dict[str, Any]]
    found: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class SpanReport:
    """The result of an evaluation. A span is right when its type and both ends are; for `overlap` it is enough that a
    span of the same type lies there in part.

    `micro` counts all spans alike, `macro_f1` all types. `accuracy` is the share of texts without a wrong span.
    """

    accuracy: float
    macro_f1: float
    micro: ClassScore
    overlap: ClassScore
    count: int
    per_class: dict[str, ClassScore]
    per_class_overlap: dict[str, ClassScore]
    misses: list[Miss]

    def metrics(self) -> dict[str, Any]:
        """All but the single texts, as JSON."""
        return {name: value for name, value in asdict(self).items() if name != "misses"}


def evaluate_spans(find: Find, rows: Sequence[Row]) -> SpanReport:
    """Judge a tagger, given as a function from texts to spans, on rows whose spans are known."""
    if not rows:
        raise NothingToEvaluate(
            "There are no rows to evaluate on.", hint="Import more rows, so that some are held out."
        )
    marked = [spans_of(row) for row in rows]
    found = find([row.text for row in rows])
    labels = sorted({span.label for spans in (*marked, *found) for span in spans})
    exact = {label: _Tally() for label in labels}
    loose = {label: _Tally() for label in labels}
    misses = []
    for row, truth, said in zip(rows, marked, found, strict=True):
        places, hits = {_place(span) for span in truth}, {_place(span) for span in said}
        for label in labels:
            true = [span for span in truth if span.label == label]
            told = [span for span in said if span.label == label]
            right = len({_place(span) for span in true} & hits)
            exact[label].add(len(true), len(told), right, right)
            loose[label].add(len(true), len(told), _touched(true, told), _touched(told, true))
        if places != hits:
            wrong = Miss(row.id, row.text, [s.wire(row.text) for s in truth], [s.wire(row.text) for s in said])
            misses.append((len(places ^ hits), wrong))
    per_class = {label: tally.score() for label, tally in exact.items()}
    judged = [score.f1 for score in per_class.values() if score.support]
    return SpanReport(
        accuracy=1 - len(misses) / len(rows),
        macro_f1=sum(judged) / len(judged) if judged else 1.0,
        micro=_sum(exact.values()).score(),
        overlap=_sum(loose.values()).score(),
        count=len(rows),
        per_class=per_class,
        per_class_overlap={label: tally.score() for label, tally in loose.items()},
        misses=[miss for _, miss in sorted(misses, key=lambda pair: -pair[0])[:WORST]],
    )


@dataclass(slots=True)
class _Tally:
    """How many spans there are, how many were found, how many of the former were met and how many of the latter."""

    true: int = 0
    told: int = 0
    met: int = 0
    right: int = 0

    def add(self, true: int, told: int, met: int, right: int) -> None:
        self.true += true
        self.told += told
        self.met += met
        self.right += right

    def score(self) -> ClassScore:
        precision = self.right / self.told if self.told else 0.0
        recall = self.met / self.true if self.true else 0.0
        both = precision + recall
        return ClassScore(precision, recall, 2 * precision * recall / both if both else 0.0, self.true)


def _sum(tallies: Any) -> _Tally:
    total = _Tally()
    for tally in tallies:
        total.add(tally.true, tally.told, tally.met, tally.right)
    return total


def _touched(spans: Sequence[Span], others: Sequence[Span]) -> int:
    return sum(any(span.overlaps(other) for other in others) for span in spans)


def _place(span: Span) -> tuple[int, int, str]:
    return span.start, span.end, span.label
