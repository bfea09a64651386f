"""Measure retrieval on gold questions: is the right passage found, and is what cannot be answered refused?"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inhouse.core.errors import Invalid


class BadGold(Invalid):
    """A line of a gold file is not a gold question."""


@dataclass(frozen=True, slots=True)
class Gold:
    """A question with the document, and page where there are pages, that answers it; no document: unanswerable."""

    question: str
    document: str | None
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a search gave for one question: documents with pages, best first."""

    places: Sequence[tuple[str, int | None]]
    coverage: float
    answerable: bool


@dataclass(frozen=True, slots=True)
class Report:
    """Shares of the answerable questions, and at the end those of the refused ones."""

    answerable: int
    unanswerable: int
    recall_at_1: float
    recall_at_3: float
    page_recall_at_3: float
    mrr: float
    refused_answerable: float
    refused_unanswerable: float
    auroc: float


def load_gold(path: Path) -> list[Gold]:
    """Read `{"question", "document", "page"}` lines."""
    gold: list[Gold] = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            gold.append(Gold(row["question"], row["document"], row.get("page")))
        except (ValueError, KeyError, TypeError) as error:
            raise BadGold(
                f"Line {number} of {path.name!r} is not a gold question: {error!r}.",
                hint='Write one JSON object a line: {"question": …, "document": … or null, "page": … or null}.',
            ) from error
    return gold


def evaluate(gold: Sequence[Gold], search: Callable[[str], Found]) -> Report:
    """Search for every question and compare."""
    results = [(one, search(one.question)) for one in gold]
    known = [(one, found) for one, found in results if one.document is not None]
    unknown = [found for one, found in results if one.document is None]
    ranks = [_rank([document for document, _ in found.places], one.document) for one, found in known]
    return Report(
        answerable=len(known),
        unanswerable=len(unknown),
        recall_at_1=_share(rank == 1 for rank in ranks),
        recall_at_3=_share(0 < rank <= 3 for rank in ranks),
        page_recall_at_3=_share(
            0 < _rank(found.places, (one.document, one.page)) <= 3 for one, found in known if one.page is not None
        ),
        mrr=_share(1 / rank if rank else 0 for rank in ranks),
        refused_answerable=_share(not found.answerable for _, found in known),
        refused_unanswerable=_share(not found.answerable for found in unknown),
        auroc=auroc([found.coverage for _, found in known], [found.coverage for found in unknown]),
    )


def auroc(positives: Sequence[float], negatives: Sequence[float]) -> float:
    """The chance that a random positive scores above a random negative (ties count half)."""
    if not positives or not negatives:
        return float("nan")
    ordered = np.sort(np.asarray(negatives))
    below = np.searchsorted(ordered, positives, "left") + np.searchsorted(ordered, positives, "right")
    return float(below.mean()) / 2 / len(ordered)


def _rank(places: Sequence[object], wanted: object) -> int:
    """1 for the first place, 0 for not found."""
    return places.index(wanted) + 1 if wanted in places else 0


def _share(values: Iterable[float]) -> float:
    counted = [float(value) for value in values]
    return sum(counted) / len(counted) if counted else float("nan")
