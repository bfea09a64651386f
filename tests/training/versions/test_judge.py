import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from inhouse.training.dataset import Row
from inhouse.training.evaluate import NothingToEvaluate
from inhouse.training.spec import DATASET
from inhouse.training.versions.judge import Case, judge, read_cases


@pytest.fixture
def test_rows(run_directory: Path) -> list[Case]:
    return read_cases(run_directory / DATASET / "test.jsonl")


def strange(number: int, *, is_golden: bool = False) -> Case:
    return Case(Row(f"strange-{number}", f"zzz qqq {number}", "weather"), is_golden)


def test_a_report_has_figures_classes_confusion_and_every_row(artifact: Path, test_rows: list[Case]):
    report = judge(artifact, test_rows, [])

    assert report["metrics"]["count"] == len(report["rows"]) == 18
    assert report["metrics"]["accuracy"] > 0.8
    assert set(report["per_class"]) == {"leave", "password", "printer"}
    assert sum(cell["count"] for cell in report["confusion"]) == 18
    assert sum(one["count"] for one in report["reliability"]) == 18
    assert report["metrics"]["cpu_ms"] > 0
    assert report["metrics"]["size_mb"] > 1


def test_wrong_rows_come_first_the_surest_at_the_top(artifact: Path, test_rows: list[Case]):
    wrong = [
        Case(Row(f"w{n}", case.row.text, "printer")) for n, case in enumerate(test_rows) if case.row.label == "leave"
    ]

    report = judge(artifact, [*test_rows, *wrong], [])

    mistakes = [row for row in report["rows"] if not row["correct"]]
    assert len(mistakes) >= len(wrong)
    assert report["rows"][: len(mistakes)] == mistakes
    assert [row["score"] for row in mistakes] == sorted((row["score"] for row in mistakes), reverse=True)


def test_rows_of_no_known_class_are_to_come_out_as_unknown(artifact: Path, test_rows: list[Case]):
    report = judge(artifact, [*test_rows, *map(strange, range(5))], [])

    outside: dict[str, Any] = report["metrics"]["out_of_scope"]
    rows = {row["id"]: row for row in report["rows"]}
    unsure = [rows[f"strange-{n}"] for n in range(5) if not rows[f"strange-{n}"]["known"]]
    assert outside["count"] == 5
    assert outside["recall"] == len(unsure) / 5
    assert outside["auroc"] > 0.9
    assert all(row["correct"] for row in unsure)
    assert report["metrics"]["accuracy"] == judge(artifact, test_rows, [])["metrics"]["accuracy"]


def test_golden_cases_that_fail_are_named(artifact: Path, test_rows: list[Case]):
    good = next(case for case in test_rows if case.row.text == "请问forgot the password")
    bad = Case(Row("bad", "forgot the password", "printer"), is_golden=True)

    golden = judge(artifact, test_rows, [good, bad])["metrics"]["golden"]

    assert (golden["count"], golden["passed"]) == (2, 1)
    assert [row["id"] for row in golden["failed"]] == ["bad"]


def test_noise_is_the_same_for_the_same_seed(artifact: Path, test_rows: list[Case]):
    once, again = (judge(artifact, test_rows, [], seed=3)["metrics"]["robustness"] for _ in range(2))

    assert once == again
    assert once["typos"]["drop"] == pytest.approx(
        judge(artifact, test_rows, [])["metrics"]["accuracy"] - once["typos"]["accuracy"]
    )


def test_golden_rows_are_read_from_their_meta(tmp_path: Path):
    lines = [
        {"id": "1", "text": "a", "label": "x", "source": "import", "meta": {"golden": True}},
        {"id": "2", "text": "b", "label": "x", "source": "import", "meta": {}},
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    found = read_cases(tmp_path / "train.jsonl", only_golden=True)

    assert [case.row.id for case in found] == ["1"]


def test_of_several_labels_each_has_its_own_threshold(artifact: Path, test_rows: list[Case], tmp_path: Path):
    shutil.copytree(artifact, tmp_path / "several")
    manifest = json.loads((artifact / "manifest.json").read_text())
    manifest["settings"] = {"multi_label": True, "thresholds": {"leave": 0.0, "password": 1.1}}
    (tmp_path / "several" / "manifest.json").write_text(json.dumps(manifest))

    report = judge(tmp_path / "several", test_rows, [])

    assert all("leave" in row["predicted"] and "password" not in row["predicted"] for row in report["rows"])
    assert report["per_class"]["leave"]["recall"] == 1.0
    assert report["per_class"]["password"]["recall"] == 0.0
    assert 0 < report["metrics"]["micro_f1"] < 1


def test_no_rows_say_nothing(artifact: Path):
    with pytest.raises(NothingToEvaluate):
        judge(artifact, [], [])
