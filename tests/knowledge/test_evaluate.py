from pathlib import Path

import pytest

from inhouse.knowledge.evaluate import BadGold, Found, Gold, auroc, evaluate, load_gold
from inhouse.knowledge.refuse import DEFAULT_THRESHOLD, calibrate, is_answerable

GOLD = [Gold("q1", "a.pdf", 2), Gold("q2", "b.md"), Gold("q3", None)]
ANSWERS = {
    "q1": Found([("x.md", None), ("a.pdf", 2)], 0.5, answerable=True),
    "q2": Found([("x.md", None)], 0.1, answerable=False),
    "q3": Found([("x.md", None)], 0.2, answerable=False),
}


def test_a_report_counts_finds_and_refusals() -> None:
    report = evaluate(GOLD, ANSWERS.__getitem__)

    assert (report.answerable, report.unanswerable) == (2, 1)
    assert (report.recall_at_1, report.recall_at_3, report.page_recall_at_3, report.mrr) == (0, 0.5, 1.0, 0.25)
    assert (report.refused_answerable, report.refused_unanswerable) == (0.5, 1.0)
    assert report.auroc == 0.5


def test_gold_questions_are_read_from_lines(tmp_path: Path) -> None:
    path = tmp_path / "gold.jsonl"
    path.write_text('{"question": "q", "document": "a.pdf", "page": 2}\n{"question": "r", "document": null}\n')

    assert load_gold(path) == [Gold("q", "a.pdf", 2), Gold("r", None)]


@pytest.mark.parametrize("line", ["not json", "[]", '{"document": "a.pdf"}'])
def test_a_bad_gold_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "gold.jsonl"
    path.write_text(f'{{"question": "q", "document": null}}\n{line}\n')

    with pytest.raises(BadGold, match="Line 2"):
        load_gold(path)


def test_ties_count_half() -> None:
    assert auroc([1.0, 2.0], [1.0]) == 0.75


def test_calibration_refuses_no_more_than_allowed() -> None:
    threshold = calibrate([n / 100 for n in range(100)], false_refusals=0.05)

    assert threshold == 0.05
    assert calibrate([]) == DEFAULT_THRESHOLD
    assert is_answerable(threshold, threshold)
