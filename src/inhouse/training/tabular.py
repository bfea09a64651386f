"""What the `tabular` recipe trains: a scikit-learn pipeline, and the same as ONNX."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import torch
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import mean_absolute_error, r2_score, roc_auc_score, root_mean_squared_error
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from inhouse.core.errors import Misconfigured
from inhouse.core.ids import now
from inhouse.models.table import CATEGORY, NUMBER, Feature, category, columns
from inhouse.training.dataset import NotTrainable, Row, Splits
from inhouse.training.evaluate import evaluate, unknown_threshold
from inhouse.training.sealed import draft, seal
from inhouse.training.table_export import export
from inhouse.training.task import Emit, Fit

if TYPE_CHECKING:
    from inhouse.training.recipes.tabular import Tabular

FORMAT = 1
TOLERANCE = 1e-3
MAX_JUDGED = 2000
"""So many rows are shuffled to see how much each feature matters."""


class ExportDiffers(Misconfigured):
    """The exported model does not compute what the trained one does."""


class Table(Fit):
    """Learns a label or a number from named values."""

    def __init__(self, recipe: Tabular, splits: Splits, *, seed: int) -> None:
        self._recipe = recipe
        self._splits = splits
        self._seed = seed
        self._is_regression = recipe.is_regression(splits)
        self._labels = [] if self._is_regression else splits.labels
        self._features = read_features(splits, recipe.max_categories)
        self._pipeline = self._build()

    def fit(self, *, emit: Emit, should_stop: Callable[[], bool]) -> bool:
        emit("started", steps=1, epochs=1, resumed_from=0)
        with threadpool_limits(torch.get_num_threads()):
            self._pipeline.fit(self._table(self._splits.train), self._targets(self._splits.train))
        return True

    def finish(self, directory: Path, *, lineage: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
        rows = self._splits.test or self._splits.dev
        with threadpool_limits(torch.get_num_threads()):
            metrics = {**self._judge(rows), "importance": self._importance(rows)} if rows else {}
        emit("evaluated", metrics=metrics)
        manifest = {
            "kind": "tabular",
            "created_at": now(),
            "labels": self._labels,
            "signature": {"inputs": {"features": "map"}, "outputs": self._outputs()},
            "unknown_threshold": self._threshold(),
            "settings": {
                "task": "regression" if self._is_regression else "classification",
                "features": [feature.wire() for feature in self._features],
            },
            "metrics": metrics,
            "lineage": dict(lineage),
        }
        with draft(directory) as partial:
            network = export(self._pipeline, self._features)
            self._check_export(network, self._splits.dev or self._splits.train)
            (partial / "model.onnx").write_bytes(network)
            (partial / "config.json").write_text(json.dumps({"model_type": f"inhouse-{self._recipe.model}"}))
            seal(partial, {"format": FORMAT, **manifest})
        emit("exported")
        return metrics

    def _build(self) -> Pipeline:
        """Numbers and categories each their way, then the model. Trees take unknown numbers as they are."""
        numbers = [n for n, feature in enumerate(self._features) if feature.is_number]
        names = [n for n, feature in enumerate(self._features) if not feature.is_number]
        known: Any = [list(self._features[n].values) for n in names]
        filled = Pipeline(
            [("fill", SimpleImputer(strategy="median", keep_empty_features=True)), ("scale", StandardScaler())]
        )
        steps = [
            ("numbers", filled if self._recipe.model == "linear" else "passthrough", numbers),
            ("names", OneHotEncoder(categories=known, handle_unknown="ignore", sparse_output=False), names),
        ]
        prepared = ColumnTransformer([step for step in steps if step[2]])
        return Pipeline([("prepare", prepared), ("model", self._estimator())])

    def _estimator(self) -> Any:
        recipe = self._recipe
        if recipe.model == "linear":
            if self._is_regression:
                return Ridge(alpha=recipe.strength)
            return LogisticRegression(C=1 / max(recipe.strength, 1e-6), max_iter=2000, random_state=self._seed)
        kind = HistGradientBoostingRegressor if self._is_regression else HistGradientBoostingClassifier
        return kind(
            max_iter=recipe.rounds,
            learning_rate=recipe.learning_rate,
            max_leaf_nodes=recipe.leaves,
            l2_regularization=recipe.strength,
            random_state=self._seed,
        )

    def _judge(self, rows: Sequence[Row]) -> dict[str, Any]:
        targets = self._targets(rows)
        if self._is_regression:
            found = self._pipeline.predict(self._table(rows))
            usual = np.full(len(targets), np.median(self._targets(self._splits.train)))
            return {
                "mae": float(mean_absolute_error(targets, found)),
                "rmse": float(root_mean_squared_error(targets, found)),
                "r2": float(r2_score(targets, found)) if len(targets) > 1 else 0.0,
                "base": {"mae": float(mean_absolute_error(targets, usual))},
                "count": len(targets),
            }
        found = self._pipeline.predict_proba(self._table(rows))
        scores = [dict(zip(self._labels, row, strict=True)) for row in found.tolist()]
        return {**evaluate(lambda _: scores, rows).metrics(), **self._auroc(targets, found)}

    def _auroc(self, targets: np.ndarray, found: np.ndarray) -> dict[str, float]:
        """One label against the rest, the mean over the labels that some rows have and some haven't."""
        each = [
            roc_auc_score(targets == number, found[:, number])
            for number in range(len(self._labels))
            if 0 < (targets == number).sum() < len(targets)
        ]
        return {"auroc": float(np.mean(each))} if each else {}

    def _importance(self, rows: Sequence[Row]) -> dict[str, float]:
        """How much worse the model is without each feature: accuracy lost, or R², when its values are shuffled."""
        rows = rows[:MAX_JUDGED]
        if len(rows) < 2:
            return {}
        found: Any = permutation_importance(
            self._pipeline, self._table(rows), self._targets(rows), n_repeats=5, random_state=self._seed
        )
        pairs = zip(self._features, found.importances_mean.tolist(), strict=True)
        ranked = sorted(((feature.name, value) for feature, value in pairs), key=lambda pair: -pair[1])
        return {name: round(value, 4) for name, value in ranked}

    def _threshold(self) -> float:
        if self._is_regression or not self._splits.dev:
            return 0.0
        found = self._pipeline.predict_proba(self._table(self._splits.dev))
        return unknown_threshold(found.max(1), found.argmax(1) == self._targets(self._splits.dev))

    def _check_export(self, network: bytes, rows: Sequence[Row]) -> None:
        session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
        outputs = session.run(None, columns(self._features, [row.content["features"] for row in rows]))
        exported = np.asarray(outputs[-1], dtype=np.float64)
        table = self._table(rows)
        if self._is_regression:
            trained = self._pipeline.predict(table).reshape(-1, 1)
            gap = float((np.abs(exported - trained) / np.maximum(1.0, np.abs(trained))).max())
        else:
            gap = float(np.abs(exported - self._pipeline.predict_proba(table)).max())
        if not gap <= TOLERANCE:
            raise ExportDiffers(f"The ONNX export is off by {gap:.2g} on {len(rows)} rows (allowed: {TOLERANCE}).")

    def _table(self, rows: Sequence[Row]) -> np.ndarray:
        return np.concatenate(
            [
                column.astype(object)
                for column in columns(self._features, [row.content["features"] for row in rows]).values()
            ],
            axis=1,
        )

    def _targets(self, rows: Sequence[Row]) -> np.ndarray:
        if self._is_regression:
            return np.array([float(row.label) for row in rows])
        numbers = {label: number for number, label in enumerate(self._labels)}
        return np.array([numbers[row.label] for row in rows])

    def _outputs(self) -> dict[str, str]:
        return {"value": "number"} if self._is_regression else {"label": "string", "scores": "map"}


def read_features(splits: Splits, max_categories: int) -> list[Feature]:
    """The columns of the training rows. Numbers are those of which every known value, in any split, is one."""
    values: dict[str, list[object]] = {}
    for row in splits.train:
        for name, value in row.content["features"].items():
            values.setdefault(name, []).append(value)
    names = {
        name
        for row in (*splits.train, *splits.dev, *splits.test)
        for name, value in row.content["features"].items()
        if isinstance(value, bool) or not isinstance(value, int | float | None)
    }
    known = {name: given for name, given in values.items() if any(value is not None for value in given)}
    if not known:
        raise NotTrainable("No feature has any value.", hint="Choose other columns to predict from.")
    return [
        _category(name, given, max_categories) if name in names else Feature(name, NUMBER)
        for name, given in known.items()
    ]


def _category(name: str, given: Sequence[object], most: int) -> Feature:
    counts = Counter(map(category, given))
    return Feature(name, CATEGORY, tuple(sorted(value for value, _ in counts.most_common(most))))
