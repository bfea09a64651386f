"""Taggers exported to ONNX: texts of any length, read in windows, to the spans in them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inhouse.models.spans import SpanFinder, Tensors, tags_of
from inhouse.serving.artifact import ArtifactBroken, Manifest
from inhouse.serving.exported import NETWORK, TOKENIZER, open_session, open_tokenizer
from inhouse.serving.runtime import Output, runtimes

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class TagRuntime:
    """Serves `tag` models that carry `model.onnx` and `tokenizer.json`."""

    def serves(self, manifest: Manifest) -> bool:
        return manifest.kind == "tag" and {NETWORK, TOKENIZER} <= manifest.files.keys()

    def load(self, directory: Path, manifest: Manifest) -> "OnnxTagger":
        settings = manifest.settings
        if settings.get("tags") != tags_of(manifest.labels):
            raise ArtifactBroken(
                f"The tags of the model in {directory.name!r} are not those of its labels.",
                hint="Export and register it again.",
            )
        session = open_session(directory / NETWORK)
        finder = SpanFinder(
            open_tokenizer(directory, manifest),
            manifest.labels,
            _Run(session),
            max_length=manifest.max_length,
            stride=int(settings["stride"]),
            temperature=manifest.temperature,
            moves=np.array(settings["moves"]) if settings.get("moves") else None,
        )
        return OnnxTagger(finder)


class OnnxTagger:
    """One loaded tagger."""

    def __init__(self, finder: SpanFinder) -> None:
        self._finder = finder

    def predict(self, inputs: Sequence[str], /) -> list[Output]:
        found = self._finder.find(inputs)
        return [{"spans": [span.wire(text) for span in spans]} for text, spans in zip(inputs, found, strict=True)]


class _Run:
    """The network as the finder calls it."""

    def __init__(self, session: "InferenceSession") -> None:
        self._session = session
        self._inputs = [node.name for node in session.get_inputs()]
        self._output = session.get_outputs()[0].name

    def __call__(self, tensors: Tensors) -> np.ndarray:
        found: Any = self._session.run([self._output], {name: tensors[name] for name in self._inputs})
        return np.asarray(found[0])


runtimes.add("tag", TagRuntime())
