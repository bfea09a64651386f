"""Two versions of a model side by side, with what is more than chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inhouse.models.store import Evaluation, ModelVersion
from inhouse.training.compare import mcnemar, paired_bootstrap

SHOWN = 50


@dataclass(frozen=True, slots=True)
class Comparison:
    """Version A minus version B. `rows` says on which rows both were evaluated; without any there is no `test`."""

    a: str
    b: str
    rows: str = ""
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
    config: dict[str, dict[str, Any]] = field(default_factory=dict)
    lineage: dict[str, dict[str, Any]] = field(default_factory=dict)
    test: dict[str, Any] = field(default_factory=dict)
    fixed: list[dict[str, Any]] = field(default_factory=list)
    broken: list[dict[str, Any]] = field(default_factory=list)


def compare(
    a: ModelVersion, b: ModelVersion, pair: Sequence[Evaluation], reports: Sequence[Mapping[str, Any]]
) -> Comparison:
    """Put two versions side by side: on shared rows where both were evaluated on some, else by their own figures."""
    figures: list[Mapping[str, Any]] = [a.metrics, b.metrics]
    classes: list[Mapping[str, Any]] = [version.metrics.get("per_class", {}) for version in (a, b)]
    paired: dict[str, Any] = {}
    if pair:
        figures = [one.metrics for one in pair]
        classes = [report.get("per_class", {}) for report in reports]
        paired = _paired(reports[0], reports[1])
    settings = [version.lineage.get("config") or {} for version in (a, b)]
    origins = [{key: value for key, value in one.lineage.items() if key != "config"} for one in (a, b)]
    return Comparison(
        a=a.reference,
        b=b.reference,
        rows=f"{pair[0].dataset}@v{pair[0].dataset_version} {pair[0].split}" if pair else "",
        metrics=_numbers(figures[0], figures[1]),
        per_class=_classes(classes[0], classes[1]),
        config=_differences(settings[0], settings[1]),
        lineage=_differences(origins[0], origins[1]),
        **paired,
    )


def _paired(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """What the rows that both saw prove: is one of the two more often right than chance would have it?"""
    theirs = {row["id"]: row for row in b["rows"]}
    both = [(row, theirs[row["id"]]) for row in a["rows"] if row["id"] in theirs]
    if a["kind"] != "classify" or not both:
        return {}
    ours = [one["correct"] for one, _ in both]
    others = [other["correct"] for _, other in both]
    gain = paired_bootstrap(ours, others)
    test = {
        "rows": len(both),
        "p": mcnemar(ours, others),
        "difference": gain.mean,
        "low": gain.low,
        "high": gain.high,
        "only_a": sum(one and not other for one, other in zip(ours, others, strict=True)),
        "only_b": sum(other and not one for one, other in zip(ours, others, strict=True)),
    }
    fixed = [_row(one, other) for one, other in both if one["correct"] and not other["correct"]]
    broken = [_row(one, other) for one, other in both if other["correct"] and not one["correct"]]
    return {"test": test, "fixed": fixed[:SHOWN], "broken": broken[:SHOWN]}


def _row(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": one["id"], "text": one["text"], "label": one["label"], "a": one["predicted"], "b": other["predicted"]}


def _numbers(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    names = [name for name in a if name in b and all(_is_number(side[name]) for side in (a, b))]
    return {name: {"a": a[name], "b": b[name], "difference": a[name] - b[name]} for name in names}


def _classes(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """F1 of each class in both, the largest loss first; a class that one of them does not have counts as 0 there."""
    f1 = [{label: score["f1"] for label, score in side.items()} for side in (a, b)]
    found = {
        label: {"a": f1[0].get(label, 0.0), "b": f1[1].get(label, 0.0)} for label in sorted(f1[0].keys() | f1[1].keys())
    }
    for score in found.values():
        score["difference"] = score["a"] - score["b"]
    return dict(sorted(found.items(), key=lambda item: item[1]["difference"]))


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    names = sorted(a.keys() | b.keys())
    return {name: {"a": a.get(name), "b": b.get(name)} for name in names if a.get(name) != b.get(name)}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
