"""Models over tables, exported to ONNX with all that prepares the values."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inhouse.models.table import Feature, columns
from inhouse.serving.artifact import Manifest
from inhouse.serving.exported import NETWORK, open_session
from inhouse.serving.runtime import Output, runtimes

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class TabularRuntime:
    """Serves `tabular` models that carry `model.onnx`."""

    def serves(self, manifest: Manifest) -> bool:
        return manifest.kind == "tabular" and NETWORK in manifest.files

    def load(self, directory: Path, manifest: Manifest) -> "Table":
        return Table(open_session(directory / NETWORK), manifest)


class Table:
    """One loaded model: a label's probabilities, or a number."""

    def __init__(self, session: "InferenceSession", manifest: Manifest) -> None:
        self._session = session
        self._labels = manifest.labels
        self._features = [Feature.read(feature) for feature in manifest.settings["features"]]
        self._output = session.get_outputs()[-1].name

    def predict(self, inputs: Sequence[Mapping[str, Any]]) -> list[Output]:
        (found,) = self._session.run([self._output], columns(self._features, [row["features"] for row in inputs]))
        rows = np.asarray(found, dtype=np.float64).tolist()
        if not self._labels:
            return [{"value": value} for [value] in rows]
        return [{"scores": dict(zip(self._labels, row, strict=True))} for row in rows]


runtimes.add("tabular", TabularRuntime())
