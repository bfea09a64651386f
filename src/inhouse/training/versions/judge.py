"""Judges a version on rows with its exported network: the whole report, row by row."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from inhouse.core.errors import Invalid
from inhouse.models.label_scores import SEVERAL
from inhouse.training.calibration import auroc, reliability
from inhouse.training.dataset import Row
from inhouse.training.edge.run import Model
from inhouse.training.evaluate import NothingToEvaluate, evaluate
from inhouse.training.evaluate_labels import EVEN, evaluate_labels
from inhouse.training.labels import labels_of
from inhouse.training.robustness import NOISES, spoiled
from inhouse.training.sealed import MANIFEST

KINDS = ("classify", "tag")
NOISY_ROWS = 500
_TIMED = 100
_BATCH = 64

Scores = dict[str, float]
Predict = Callable[[Sequence[str]], list[Scores]]


class NotJudged(Invalid):
    """There is no evaluation for this kind of model."""


@dataclass(frozen=True, slots=True)
class Case:
    """A row to judge on. Golden ones must be right whatever else is."""

    row: Row
    is_golden: bool = False


def read_cases(path: Path, *, only_golden: bool = False) -> list[Case]:
    """The rows of an exported split."""
    cases = []
    for line in path.read_text(encoding="utf-8").splitlines():
        values = json.loads(line)
        is_golden = bool(values.get("meta", {}).get("golden"))
        if is_golden or not only_golden:
            row = Row(values["id"], values["text"], values["label"], values["source"], values.get("content", {}))
            cases.append(Case(row, is_golden))
    return cases


def judge(directory: Path, cases: Sequence[Case], golden: Sequence[Case], *, seed: int = 0) -> dict[str, Any]:
    """Return `metrics` (figures on the whole) and what they are made of."""
    manifest = json.loads((directory / MANIFEST).read_bytes())
    if manifest["kind"] not in KINDS:
        raise NotJudged(f"Models of the kind {manifest['kind']!r} cannot be evaluated here.", hint=f"Known: {KINDS}.")
    if not cases:
        raise NothingToEvaluate("The split has no rows.", hint="Name another split, such as dev.")
    if manifest["kind"] == "tag":
        return _judge_spans(directory, manifest, cases)
    if manifest.get("settings", {}).get(SEVERAL):
        return _judge_several(directory, manifest, cases)
    return _judge_labels(directory, manifest, cases, golden, seed=seed)


def _judge_labels(
    directory: Path, manifest: dict[str, Any], cases: Sequence[Case], golden: Sequence[Case], *, seed: int
) -> dict[str, Any]:
    model = Model(directory)
    labels, threshold = set(manifest["labels"]), manifest.get("unknown_threshold", 0.0)

    def predict(texts: Sequence[str]) -> list[Scores]:
        starts = range(0, len(texts), _BATCH)
        return [answer["scores"] for start in starts for answer in model.predict(texts[start : start + _BATCH])]

    inside = [case for case in cases if case.row.label in labels]
    outside = [case for case in cases if case.row.label not in labels]
    listed = [_listed(case, threshold, labels, scores) for case, scores in _answered(predict, cases)]
    metrics: dict[str, Any] = {"count": len(cases), "cpu_ms": _cpu_ms(predict, [case.row.text for case in cases])}
    report: dict[str, Any] = {"kind": "classify", "rows": sorted(listed, key=_badness)}
    if inside:
        found = evaluate(predict, [case.row for case in inside])
        known = [row for row in listed if row["label"] in labels]
        metrics |= {name: getattr(found, name) for name in ("accuracy", "macro_f1", "ece")}
        metrics["accuracy_at_threshold"] = float(np.mean([row["correct"] and row["known"] for row in known]))
        metrics["robustness"] = _robustness(predict, [case.row for case in inside][:NOISY_ROWS], seed)
        report["per_class"] = {label: asdict(score) for label, score in found.per_class.items()}
        report["confusion"] = _confusion(known)
        report["reliability"] = [asdict(one) for one in reliability(*_columns(known, "score", "correct"))]
    if outside:
        unknown = [row["score"] for row in listed if row["label"] not in labels]
        metrics["out_of_scope"] = {
            "count": len(outside),
            "auroc": auroc([row["score"] for row in listed if row["label"] in labels], unknown),
            "recall": float(np.mean([score < threshold for score in unknown])),
        }
    metrics |= _golden(predict, golden, threshold, labels)
    metrics["size_mb"] = round(sum(file["size"] for file in manifest["files"].values()) / 1e6, 3)
    return {**report, "metrics": metrics}


def _judge_several(directory: Path, manifest: dict[str, Any], cases: Sequence[Case]) -> dict[str, Any]:
    """Where a text may have several labels: each that reaches its threshold is given."""
    model, labels = Model(directory), manifest["labels"]
    thresholds = [manifest["settings"].get("thresholds", {}).get(label, EVEN) for label in labels]
    texts = [case.row.text for case in cases]
    starts = range(0, len(texts), _BATCH)
    answers = [answer["scores"] for start in starts for answer in model.predict(texts[start : start + _BATCH])]
    scores = np.array([[answer[label] for label in labels] for answer in answers])
    truth = np.array([[label in labels_of(case.row) for label in labels] for case in cases])
    found = evaluate_labels(scores, truth, labels, thresholds)
    given = [[label for label, is_given in zip(labels, row, strict=True) if is_given] for row in scores >= thresholds]
    rows = [
        {
            "id": case.row.id,
            "text": case.row.text,
            "label": ", ".join(sorted(labels_of(case.row))),
            "predicted": ", ".join(said),
            "score": round(float(row.max()), 6),
            "known": bool(said),
            "golden": case.is_golden,
            "correct": set(said) == set(labels_of(case.row)),
        }
        for case, said, row in zip(cases, given, scores, strict=True)
    ]
    whole = {name: getattr(found, name) for name in ("accuracy", "micro_f1", "macro_f1", "ece", "count")}
    per_class = {label: asdict(score) for label, score in found.per_class.items()}
    return {"kind": "classify", "rows": sorted(rows, key=_badness), "per_class": per_class, "metrics": whole}


def _judge_spans(directory: Path, manifest: dict[str, Any], cases: Sequence[Case]) -> dict[str, Any]:
    from tokenizers import Tokenizer

    from inhouse.models.spans import SpanFinder
    from inhouse.training.evaluate_spans import evaluate_spans

    session, settings = Model(directory).session, manifest.get("settings", {})
    finder = SpanFinder(
        Tokenizer.from_file(str(directory / "tokenizer.json")),
        manifest["labels"],
        lambda tensors: np.asarray(
            session.run(None, {node.name: tensors[node.name] for node in session.get_inputs()})[0]
        ),
        max_length=manifest["max_length"],
        stride=settings.get("stride", 0),
        temperature=manifest.get("temperature", 1.0),
        moves=np.array(settings["moves"]) if settings.get("moves") else None,
    )
    found = evaluate_spans(finder.find, [case.row for case in cases])
    rows = [{**asdict(miss), "correct": False} for miss in found.misses]
    whole = {name: value for name, value in found.metrics().items() if isinstance(value, float | int)}
    per_class = {label: asdict(score) for label, score in found.per_class.items()}
    metrics = {**whole, "micro": asdict(found.micro), "overlap": asdict(found.overlap)}
    return {"kind": "tag", "rows": rows, "per_class": per_class, "metrics": metrics}


def _answered(predict: Predict, cases: Sequence[Case]) -> list[tuple[Case, Scores]]:
    return list(zip(cases, predict([case.row.text for case in cases]), strict=True))


def _listed(case: Case, threshold: float, labels: set[str], scores: Scores) -> dict[str, Any]:
    """A row as the error browser shows it. One of no known class is right when the model says that it is unsure."""
    best = max(scores, key=scores.__getitem__)
    is_known = scores[best] >= threshold
    return {
        "id": case.row.id,
        "text": case.row.text,
        "label": case.row.label,
        "predicted": best,
        "score": round(scores[best], 6),
        "label_score": round(scores.get(case.row.label, 0.0), 6),
        "known": is_known,
        "golden": case.is_golden,
        "correct": best == case.row.label if case.row.label in labels else not is_known,
    }


def _badness(row: dict[str, Any]) -> tuple[bool, float]:
    """The surest mistakes first, then the least sure among the right ones."""
    return row["correct"], row["score"] if row["correct"] else -row["score"]


def _columns(rows: Sequence[dict[str, Any]], *names: str) -> tuple[list[Any], ...]:
    return tuple([row[name] for row in rows] for name in names)


def _confusion(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cells of the matrix that are not empty: 150 classes have 22,500, nearly all of them zero."""
    cells = Counter((row["label"], row["predicted"]) for row in rows)
    return [{"label": label, "predicted": said, "count": count} for (label, said), count in sorted(cells.items())]


def _robustness(predict: Predict, rows: Sequence[Row], seed: int) -> dict[str, Any]:
    """Accuracy on the same rows with noise in them, and how much that is below the accuracy without."""
    texts, labels = [row.text for row in rows], [row.label for row in rows]
    clean = _accuracy(predict(texts), labels)
    found: dict[str, Any] = {"rows": len(rows), "seed": seed}
    for noise in NOISES:
        accuracy = _accuracy(predict(spoiled(texts, noise, seed=seed)), labels)
        found[noise.name] = {"accuracy": accuracy, "drop": clean - accuracy}
    return found


def _accuracy(scores: Sequence[Scores], labels: Sequence[str]) -> float:
    return float(np.mean([max(one, key=one.__getitem__) == label for one, label in zip(scores, labels, strict=True)]))


def _golden(predict: Predict, golden: Sequence[Case], threshold: float, labels: set[str]) -> dict[str, Any]:
    if not golden:
        return {}
    judged = [_listed(case, threshold, labels, scores) for case, scores in _answered(predict, golden)]
    failed = [row for row in judged if not row["correct"]]
    return {"golden": {"count": len(judged), "passed": len(judged) - len(failed), "failed": failed}}


def _cpu_ms(predict: Predict, texts: Sequence[str]) -> float:
    predict(texts[:1])
    started = process_time()
    for text in texts[:_TIMED]:
        predict([text])
    return round(1000 * (process_time() - started) / len(texts[:_TIMED]), 4)
