"""Which labels a classifier learns, and which rows are of none of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from inhouse.training.dataset import NotTrainable, Row, Splits


@dataclass(frozen=True, slots=True)
class Labelled:
    """The rows of a run, those of a label apart from those of none.

    With `several`, a row may have any number of labels: then one without any is as good as the others.
    """

    names: list[str]
    inside: Splits
    outside: Splits
    several: bool

    def numbers(self, rows: Sequence[Row]) -> list[list[int]]:
        """The places of each row's labels among the names; a label that is none of them has no place."""
        places = {name: number for number, name in enumerate(self.names)}
        return [[places[label] for label in labels_of(row) if label in places] for row in rows]

    def check(self) -> None:
        """Raise `NotTrainable` unless there are two labels to learn and none is held out that cannot be learned."""
        if len(self.names) < 2:
            raise NotTrainable(
                f"The training rows have {len(self.names)} labels, a classifier needs at least two.",
                hint="Add rows of another label.",
            )
        held_out = Counter(label for row in self.inside.dev + self.inside.test for label in labels_of(row))
        if unseen := sorted(held_out.keys() - set(self.names)):
            raise NotTrainable(
                f"No training row has the label {unseen[0]!r}, although held-out rows do.",
                hint="Add training rows for: " + ", ".join(unseen),
            )


def labelled(splits: Splits, *, unknown_label: str) -> Labelled:
    """Sort out the rows. Those labelled `unknown_label` are of no label; nobody has to have any."""
    several = any("labels" in row.content for row in splits.train)
    inside, outside = Splits([], [], []), Splits([], [], [])
    for name in ("train", "dev", "test"):
        for row in getattr(splits, name):
            is_outside = not several and unknown_label != "" and row.label == unknown_label
            getattr(outside if is_outside else inside, name).append(row)
    names = sorted(
        {label for row in inside.train for label in labels_of(row)} - ({unknown_label} if several else set())
    )
    return Labelled(names, inside, outside, several)


def labels_of(row: Row) -> Sequence[str]:
    """The labels of a row: `content["labels"]` where several may be right, else the one that it has."""
    return row.content.get("labels", [row.label] if row.label else [])
