from pathlib import Path
from typing import Any

import pytest

from inhouse.core.blobs import Blobs
from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.data.datasets import (
    BadName,
    BadRows,
    DatasetExists,
    DatasetNotFound,
    Datasets,
    NothingNew,
    VersionMeanwhile,
)
from inhouse.data.examples import Example
from inhouse.data.split import LeaksIntoTest

CSV = "text,label\n" + "".join(f"{word} {n},{word}\n" for word in ("leave", "travel") for n in range(20))


@pytest.fixture
def datasets(db: Database, blobs: Blobs) -> Datasets:
    return Datasets(db, blobs)


def test_an_import_makes_version_one(datasets: Datasets, principal: Principal) -> None:
    version = datasets.create(principal, "desk", CSV.encode(), "rows.csv")

    assert version.reference == "desk@v1"
    assert version.labels == {"leave": 20, "travel": 20}
    assert version.splits == {"dev": 6, "test": 6, "train": 28}


def test_the_same_rows_have_the_same_digest(datasets: Datasets, principal: Principal) -> None:
    lines = CSV.splitlines()
    shuffled = "\n".join([lines[0], *reversed(lines[1:])])

    first = datasets.create(principal, "one", CSV.encode(), "rows.csv")
    second = datasets.create(principal, "two", shuffled.encode(), "rows.csv")

    assert first.digest == second.digest


def test_one_bad_row_imports_nothing(datasets: Datasets, principal: Principal) -> None:
    with pytest.raises(BadRows, match="row 41"):
        datasets.create(principal, "desk", (CSV + "lonely,\n").encode(), "rows.csv")

    assert datasets.latest(principal) == []


def test_bad_rows_can_be_left_out_on_purpose(datasets: Datasets, principal: Principal) -> None:
    version = datasets.create(principal, "desk", (CSV + "lonely,\n").encode(), "rows.csv", skip_bad_rows=True)

    assert version.count == 40


def test_new_rows_go_to_training_and_leave_the_test_rows_alone(datasets: Datasets, principal: Principal) -> None:
    datasets.create(principal, "desk", CSV.encode(), "rows.csv")
    before = datasets.examples(principal, "desk", 1, split="test")

    version = datasets.add(principal, "desk", [Example("my Kestrel died", "travel", "feedback:f1")], note="One more.")

    assert (version.number, version.parent, version.count) == (2, 1, 41)
    assert datasets.examples(principal, "desk", 2, split="test") == before
    assert datasets.examples(principal, "desk", 1)[0] in datasets.examples(principal, "desk", 2)


def test_a_correction_replaces_the_row_with_its_text(datasets: Datasets, principal: Principal) -> None:
    datasets.create(principal, "desk", CSV.encode(), "rows.csv")
    wrong = datasets.examples(principal, "desk", split="train")[0]

    datasets.add(principal, "desk", [Example(wrong.text.upper(), "corrected")], note="")

    labels = [row.label for row in datasets.examples(principal, "desk") if row.text.lower() == wrong.text]
    assert labels == ["corrected"]


def test_rows_of_the_test_split_are_refused(datasets: Datasets, principal: Principal) -> None:
    datasets.create(principal, "desk", CSV.encode(), "rows.csv")
    held_out = datasets.examples(principal, "desk", split="test")[0]

    with pytest.raises(LeaksIntoTest):
        datasets.add(principal, "desk", [Example(f"  {held_out.text.upper()}! ", "leave")], note="")

    assert len(datasets.versions(principal, "desk")) == 1


def test_of_two_who_add_at_once_nobodys_rows_are_lost(
    datasets: Datasets, principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets.create(principal, "desk", CSV.encode(), "rows.csv")
    read = datasets.examples

    def read_while_somebody_adds(*args: Any, **kwargs: Any) -> list[Example]:
        rows = read(*args, **kwargs)
        monkeypatch.undo()
        datasets.add(principal, "desk", [Example("first", "leave")], note="")
        return rows

    monkeypatch.setattr(datasets, "examples", read_while_somebody_adds)

    with pytest.raises(VersionMeanwhile):
        datasets.add(principal, "desk", [Example("second", "leave")], note="")

    assert [row.text for row in datasets.examples(principal, "desk") if row.text == "first"] == ["first"]


def test_adding_what_is_there_is_refused(datasets: Datasets, principal: Principal) -> None:
    datasets.create(principal, "desk", CSV.encode(), "rows.csv")
    known = datasets.examples(principal, "desk", split="train")[0]

    with pytest.raises(NothingNew):
        datasets.add(principal, "desk", [known], note="")


def test_a_name_is_used_once(datasets: Datasets, principal: Principal) -> None:
    datasets.create(principal, "desk", CSV.encode(), "rows.csv")

    with pytest.raises(DatasetExists):
        datasets.create(principal, "desk", CSV.encode(), "rows.csv")


@pytest.mark.parametrize("name", ["", "../etc", "A B", "x" * 101, "é", ".hidden"])
def test_a_bad_name_is_refused(datasets: Datasets, principal: Principal, name: str) -> None:
    with pytest.raises(BadName):
        datasets.create(principal, name, CSV.encode(), "rows.csv")


def test_another_workspace_sees_nothing(datasets: Datasets, principal: Principal, stranger: Principal) -> None:
    datasets.create(principal, "desk", CSV.encode(), "rows.csv")

    assert datasets.latest(stranger) == []
    with pytest.raises(DatasetNotFound):
        datasets.examples(stranger, "desk")


def test_an_export_holds_each_split(datasets: Datasets, principal: Principal, tmp_path: Path) -> None:
    datasets.create(principal, "desk", CSV.encode(), "rows.csv")

    datasets.export(principal, "desk", 1, tmp_path / "out")

    counts = {path.name: path.read_text().count("\n") for path in (tmp_path / "out").glob("*.jsonl")}
    assert counts == {"train.jsonl": 28, "dev.jsonl": 6, "test.jsonl": 6}
