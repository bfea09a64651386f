from dataclasses import replace

import pytest

from inhouse.models.store import Evaluation, ModelVersion
from inhouse.training.versions.comparison import compare

A = ModelVersion(
    model="intent",
    number=2,
    kind="classify",
    digest="sha256:a",
    size_bytes=1,
    labels=["x", "y"],
    metrics={"accuracy": 0.9, "per_class": {"x": {"f1": 0.9}, "y": {"f1": 0.8}}},
    lineage={"config": {"epochs": 6}, "seed": 1, "recipe": "classify"},
    owner_id="user_ann",
    created_at=0.0,
)
B = replace(
    A,
    number=1,
    metrics={"accuracy": 0.7, "per_class": {"x": {"f1": 0.95}}},
    lineage={"config": {"epochs": 3, "dropout": 0.1}, "seed": 1, "recipe": "classify"},
)


def report(right: set[str]) -> dict[str, object]:
    rows = [
        {"id": f"r{n}", "text": f"text {n}", "label": "x", "predicted": "x" if f"r{n}" in right else "y"}
        for n in range(10)
    ]
    return {"kind": "classify", "rows": [{**row, "correct": row["id"] in right} for row in rows]}


def test_own_figures_and_settings_are_put_side_by_side():
    found = compare(A, B, (), ())

    assert found.metrics["accuracy"] == {"a": 0.9, "b": 0.7, "difference": pytest.approx(0.2)}
    assert list(found.per_class) == ["x", "y"]
    assert found.per_class["y"]["b"] == 0.0
    assert found.config == {"dropout": {"a": None, "b": 0.1}, "epochs": {"a": 6, "b": 3}}
    assert found.lineage == {}
    assert found.test == {}


def test_shared_rows_are_tested_for_more_than_chance():
    pair = [
        Evaluation(f"e{n}", "intent", n, "desk", 1, "test", status="ready", metrics={"accuracy": score})
        for n, score in ((2, 0.9), (1, 0.2))
    ]
    ours, theirs = {f"r{n}" for n in range(9)}, {"r0", "r9"}

    found = compare(A, B, pair, [report(ours), report(theirs)])

    assert found.rows == "desk@v1 test"
    assert (found.test["only_a"], found.test["only_b"]) == (8, 1)
    assert found.test["p"] == pytest.approx(0.0390625)
    assert found.test["difference"] == pytest.approx(0.7)
    assert found.test["low"] < 0.7 < found.test["high"]
    assert [row["id"] for row in found.broken] == ["r9"]
    assert {"a": "x", "b": "y"}.items() <= found.fixed[0].items()
