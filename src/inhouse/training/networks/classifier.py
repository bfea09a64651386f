"""A classifier once it is trained: how sure its answers are, how good they are, and its artifact."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from inhouse.core.ids import now
from inhouse.models.label_scores import LabelScores
from inhouse.training.dataset import Row
from inhouse.training.evaluate import (
    evaluate,
    evaluate_outside,
    fit_several_temperature,
    fit_temperature,
    fit_unknown_logit,
    unknown_threshold,
)
from inhouse.training.evaluate_labels import best_thresholds, evaluate_labels
from inhouse.training.export import write_artifact
from inhouse.training.labels import Labelled
from inhouse.training.networks.network import outputs_of
from inhouse.training.networks.vector_classifier import VectorClassifier
from inhouse.training.task import Emit

THRESHOLDS = "thresholds"


@dataclass(frozen=True, slots=True)
class Reading:
    """How the logits become answers: probabilities, and from which of them on an answer counts."""

    scores: LabelScores
    unknown_threshold: float = 0.0
    thresholds: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Classifier:
    """A network with its tokenizer, and the rows that it learns from and is judged on."""

    network: VectorClassifier
    tokenizer: Tokenizer
    rows: Labelled

    def finish(self, directory: Path, *, lineage: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
        """Calibrate on the dev rows, evaluate on the test rows, write the artifact, and return the metrics."""
        self.network.cpu()
        reading = self._calibrate_several() if self.rows.several else self._calibrate()
        metrics = self._evaluate_several(reading) if self.rows.several else self._evaluate(reading)
        emit("evaluated", metrics=metrics)
        truncation = self.tokenizer.truncation
        assert truncation is not None
        thresholds = dict(zip(self.rows.names, reading.thresholds, strict=True)) if self.rows.several else {}
        manifest = {
            "kind": "classify",
            "created_at": now(),
            "labels": self.rows.names,
            "signature": {"inputs": {"text": "string"}, "outputs": {"label": "string", "scores": "map"}},
            "max_length": truncation["max_length"],
            "temperature": reading.scores.temperature,
            "unknown_threshold": reading.unknown_threshold,
            "settings": {**reading.scores.settings(), **({THRESHOLDS: thresholds} if thresholds else {})},
            "metrics": metrics,
            "lineage": dict(lineage),
        }
        samples = [row.text for row in self.rows.inside.dev or self.rows.inside.train]
        write_artifact(directory, self.network, self.tokenizer, manifest, samples=samples)
        emit("exported")
        return metrics

    def _calibrate(self) -> Reading:
        """What suits the dev rows, those of no label included; neutral where there are none."""
        inside, outside = self.rows.inside.dev, self.rows.outside.dev
        if not inside:
            return Reading(LabelScores())
        logits, targets = self._logits(inside), np.array([first for first, *_ in self.rows.numbers(inside)])
        temperature = fit_temperature(logits, targets)
        if not outside:
            scores = LabelScores(temperature)
            sure, right = _best(scores.probabilities(logits), targets)
            return Reading(scores, unknown_threshold(sure, right))
        beyond = self._logits(outside)
        unknown = fit_unknown_logit(logits / temperature, targets, beyond / temperature)
        scores = LabelScores(temperature, unknown)
        sure, right = _best(scores.probabilities(logits), targets)
        return Reading(scores, unknown_threshold(sure, right, scores.probabilities(beyond).max(-1).tolist()))

    def _calibrate_several(self) -> Reading:
        rows = self.rows.inside.dev
        if not rows:
            return Reading(LabelScores(several=True), thresholds=[0.5] * len(self.rows.names))
        logits, truth = self._logits(rows), self._truth(rows)
        scores = LabelScores(fit_several_temperature(logits, truth), several=True)
        return Reading(scores, thresholds=best_thresholds(scores.probabilities(logits), truth))

    def _evaluate(self, reading: Reading) -> dict[str, Any]:
        """Judge on the test rows; on dev where none was held out for testing; where there is neither, not at all."""
        inside, outside = self.rows.inside, self.rows.outside
        rows, beyond = (inside.test, outside.test) if inside.test else (inside.dev, outside.dev)
        if not rows:
            return {}

        def predict(texts: Sequence[str]) -> list[dict[str, float]]:
            probabilities = reading.scores.probabilities(self._outputs(texts))
            return [dict(zip(self.rows.names, row, strict=True)) for row in probabilities.tolist()]

        report = evaluate(predict, rows)
        if not beyond:
            return report.metrics()
        sure = [max(scores.values()) for scores in predict([row.text for row in beyond])]
        return {**report.metrics(), "oos": evaluate_outside(report, sure, reading.unknown_threshold).metrics()}

    def _evaluate_several(self, reading: Reading) -> dict[str, Any]:
        rows = self.rows.inside.test or self.rows.inside.dev
        if not rows:
            return {}
        probabilities = reading.scores.probabilities(self._logits(rows))
        return evaluate_labels(probabilities, self._truth(rows), self.rows.names, reading.thresholds).metrics()

    def _logits(self, rows: Sequence[Row]) -> np.ndarray:
        return self._outputs([row.text for row in rows])

    def _outputs(self, texts: Sequence[str]) -> np.ndarray:
        """Texts of like length go through the network together: less of it is padding."""
        order = np.argsort([len(text) for text in texts], kind="stable")
        found = outputs_of(self.network, self.tokenizer, [texts[place] for place in map(int, order)]).double().numpy()
        return found[np.argsort(order)]

    def _truth(self, rows: Sequence[Row]) -> np.ndarray:
        truth = np.zeros((len(rows), len(self.rows.names)))
        for place, numbers in enumerate(self.rows.numbers(rows)):
            truth[place, numbers] = 1
        return truth


def _best(probabilities: np.ndarray, targets: np.ndarray) -> tuple[list[float], list[bool]]:
    return probabilities.max(-1).tolist(), (probabilities.argmax(-1) == targets).tolist()
