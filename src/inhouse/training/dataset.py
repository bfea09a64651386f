"""The rows of a training run, as exported into its directory."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inhouse.core.errors import Invalid
from inhouse.data.examples import FEEDBACK, Form


class NotTrainable(Invalid):
    """The dataset cannot teach a model."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `content` is what its form has besides text and label: see `data.examples.Form`.

    Rows that came from feedback are corrections.
    """

    id: str
    text: str
    label: str
    source: str = "import"
    content: dict[str, Any] = field(default_factory=dict)

    @property
    def is_correction(self) -> bool:
        return self.source.startswith(FEEDBACK)


@dataclass(frozen=True, slots=True)
class Splits:
    """What a run learns from (`train`), is steered by (`dev`) and is judged on (`test`)."""

    train: list[Row]
    dev: list[Row]
    test: list[Row]
    form: Form = Form.TEXT

    @property
    def labels(self) -> list[str]:
        return sorted({row.label for row in self.train})

    def check_labels(self) -> None:
        """Raise `NotTrainable` unless there are two labels to learn and none is held out that cannot be learned."""
        if len(self.labels) < 2:
            raise NotTrainable(
                f"The training rows have {len(self.labels)} labels, a classifier needs at least two.",
                hint="Add rows of another label.",
            )
        held_out = Counter(row.label for row in self.dev + self.test)
        if unseen := sorted(held_out.keys() - set(self.labels)):
            raise NotTrainable(
                f"No training row has the label {unseen[0]!r}, although held-out rows do.",
                hint="Add training rows for: " + ", ".join(unseen),
            )


def read_splits(directory: Path) -> Splits:
    """Read `train.jsonl`, `dev.jsonl` and `test.jsonl`, and from `dataset.json` which form the rows have."""
    train, dev, test = (_read(directory / f"{name}.jsonl") for name in ("train", "dev", "test"))
    return Splits(train, dev, test, form=_form(directory / "dataset.json"))


def _form(path: Path) -> Form:
    """Labelled texts, unless it says otherwise: a directory made by hand may have no such file."""
    if not path.is_file():
        return Form.TEXT
    try:
        return Form(json.loads(path.read_bytes()).get("form", Form.TEXT))
    except (ValueError, AttributeError) as error:
        raise NotTrainable(f"dataset.json does not say which form the rows have: {error}.") from error


def _read(path: Path) -> list[Row]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError as error:
        raise NotTrainable(
            f"The dataset directory has no {path.name}.", hint="Export the dataset version again."
        ) from error
    return [_row(path.name, number, line) for number, line in enumerate(lines, start=1) if line]


def _row(name: str, number: int, line: str) -> Row:
    try:
        content = json.loads(line)
        return Row(
            content["id"],
            content["text"],
            content["label"],
            content.get("source", "import"),
            content.get("content", {}),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise NotTrainable(f"Line {number} of {name} is not a labelled row: {error!r}.") from error
