"""A scikit-learn pipeline over named values as one ONNX network."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from skl2onnx import to_onnx, update_registered_converter
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)
from skl2onnx.operator_converters.random_forest import (
    convert_sklearn_random_forest_classifier,
    convert_sklearn_random_forest_regressor_converter,
)
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline

from inhouse.models.table import Feature

OPSET = 18


def export(pipeline: Pipeline, features: Sequence[Feature]) -> bytes:
    """The whole pipeline as ONNX: it takes the values as they are given."""
    types = {True: FloatTensorType([None, 1]), False: StringTensorType([None, 1])}
    found: Any = to_onnx(
        pipeline,
        initial_types=[(f"f{number}", types[feature.is_number]) for number, feature in enumerate(features)],
        options={id(pipeline): {"zipmap": False}} if hasattr(pipeline, "classes_") else None,
        target_opset=OPSET,
    )
    return found.SerializeToString()


class _Plain:
    """Hands nodes on with attributes in Python's own numbers: onnx takes no others, the converter of trees gives some.

    A threshold becomes the largest number of 32 bits up to it: of such values, the same ones are below it.
    """

    def __init__(self, container: Any) -> None:
        self._container = container

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def add_node(self, *node: Any, nodes_values: Sequence[float] = (), **attributes: Any) -> None:
        plain = {name: _plain(value) for name, value in attributes.items()}
        thresholds = {"nodes_values": _below(nodes_values)} if len(nodes_values) else {}
        self._container.add_node(*node, **plain, **thresholds)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return int(value) if isinstance(value, bool) else value


def _below(thresholds: Sequence[float]) -> list[float]:
    exact = np.asarray(thresholds, dtype=np.float64)
    near = exact.astype(np.float32)
    return np.where(near > exact, np.nextafter(near, np.float32(-np.inf)), near).tolist()


def _converter(convert: Callable[[Any, Any, Any], None]) -> Callable[[Any, Any, Any], None]:
    return lambda scope, operator, container: convert(scope, operator, _Plain(container))


_OPTIONS = {"raw_scores": [True, False]}
update_registered_converter(
    HistGradientBoostingClassifier,
    "SklearnHistGradientBoostingClassifier",
    calculate_linear_classifier_output_shapes,
    _converter(convert_sklearn_random_forest_classifier),
    options={
        **_OPTIONS,
        "zipmap": [True, False, "columns"],
        "output_class_labels": [False, True],
        "nocl": [True, False],
    },
)
update_registered_converter(
    HistGradientBoostingRegressor,
    "SklearnHistGradientBoostingRegressor",
    calculate_linear_regressor_output_shapes,
    _converter(convert_sklearn_random_forest_regressor_converter),
    options=_OPTIONS,
)
