"""Choosing rows."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from inhouse.data.examples import Example, normalise


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions that a row has to meet, all of those that are set.

    `labels` any of which it has, `without_labels` none of which, `splits`, `sources` by their beginning (`feedback`,
    `synthetic:typo`), `synthetic` or not, `search` as words in its text, lengths in characters.
    """

    labels: Sequence[str] = ()
    without_labels: Sequence[str] = ()
    splits: Sequence[str] = ()
    sources: Sequence[str] = ()
    synthetic: bool | None = None
    search: str = ""
    min_length: int = 0
    max_length: int | None = None

    def passes(self, row: Example) -> bool:
        return (
            self.min_length <= len(row.text)
            and (self.max_length is None or len(row.text) <= self.max_length)
            and (not self.splits or row.split in self.splits)
            and (not self.sources or row.source.startswith(tuple(self.sources)))
            and self.synthetic in (None, row.is_synthetic)
            and (not self.labels or not _labels(row).isdisjoint(self.labels))
            and _labels(row).isdisjoint(self.without_labels)
            and (not self.search or _finds(self.search, row.text))
        )

    def said(self) -> dict[str, Any]:
        """The conditions that are set, for a version's origin."""
        return {
            name: value for name, value in asdict(self).items() if value not in ((), [], "", None, 0) or value is False
        }


def _labels(row: Example) -> set[str]:
    spans = (span["label"] for span in row.content.get("spans", []))
    return {row.label, *row.content.get("labels", []), *spans}


def _finds(search: str, text: str) -> bool:
    """Case, width, spaces and punctuation aside."""
    return normalise(search) in normalise(text)
