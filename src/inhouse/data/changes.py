"""What is different between two versions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from inhouse.data.examples import Example, key

Kind = Literal["added", "removed", "changed"]
KINDS: tuple[Kind, ...] = ("added", "removed", "changed")


@dataclass(frozen=True, slots=True)
class Change:
    """A row before and after; one that is new has no before, one that is gone no after."""

    kind: Kind
    before: Example | None
    after: Example | None


def compare(old: Sequence[Example], new: Sequence[Example], form: str) -> list[Change]:
    """Rows added, removed and changed: the same question with another label, answer, place or split."""
    before = {key(row, form): row for row in old}
    after = {key(row, form): row for row in new}
    added = [Change("added", None, row) for name, row in after.items() if name not in before]
    removed = [Change("removed", row, None) for name, row in before.items() if name not in after]
    changed = [
        Change("changed", before[name], row)
        for name, row in after.items()
        if name in before and (before[name].id, before[name].split) != (row.id, row.split)
    ]
    return [*changed, *added, *removed]
