"""What turns a model directory into something that predicts. One runtime, one file in `runtimes/`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from inhouse.core.errors import InhouseError, Misconfigured
from inhouse.core.registry import Registry
from inhouse.serving.artifact import ArtifactBroken, Manifest, open_artifact
from inhouse.serving.inputs import Input, inputs_of

Output = Mapping[str, Any]
"""What a model says of one input: `scores` (label -> probability), `spans`, `vector`, `score` or `value`."""


class Network(Protocol):
    """A model in memory. May be called from several threads at once, with inputs that its kind takes."""

    def predict(self, inputs: Sequence[Any], /) -> Sequence[Output]: ...


class Runtime(Protocol):
    """Loads the kinds of models that it knows."""

    def serves(self, manifest: Manifest) -> bool: ...

    def load(self, directory: Path, manifest: Manifest) -> Network: ...


_LANGUAGE_MODELS = ("chat", "adapter")

runtimes: Registry[Runtime] = Registry("runtime", package="inhouse.serving.runtimes")


class NoRuntime(Misconfigured):
    """No installed runtime can serve this kind of model."""


@dataclass(frozen=True, slots=True)
class Model:
    """A verified model, loaded and warm."""

    manifest: Manifest
    network: Network

    def predict(self, inputs: Sequence[Input]) -> Sequence[Output]:
        return self.network.predict(inputs)


def load(directory: Path) -> Model:
    """Verify a model directory, load it with the first runtime that serves it, and warm it up."""
    manifest = open_artifact(directory)
    runtime = next((runtimes[name] for name in runtimes if runtimes[name].serves(manifest)), None)
    if runtime is None:
        raise NoRuntime(
            f"No runtime serves {manifest.kind!r} models with the files {sorted(manifest.files)}.",
            hint="Language models answer at /v1/chat/completions."
            if manifest.kind in _LANGUAGE_MODELS
            else "Known runtimes: " + ", ".join(runtimes),
        )
    try:
        model = Model(manifest, runtime.load(directory, manifest))
        outputs = model.predict(inputs_of(manifest).samples)
    except InhouseError:
        raise
    except Exception as error:  # a file from elsewhere can fail an engine in any way
        raise ArtifactBroken(
            f"The model in {directory.name!r} cannot be loaded: {error}.", hint="Export and register it again."
        ) from error
    _check_labels(directory, manifest, outputs)
    return model


def _check_labels(directory: Path, manifest: Manifest, outputs: Sequence[Output]) -> None:
    for output in outputs:
        scores = output.get("scores", {})
        if scores.keys() != set(manifest.labels if "scores" in output else ()):
            raise ArtifactBroken(
                f"The model in {directory.name!r} answers {len(scores)} labels, its manifest lists "
                f"{len(manifest.labels)}.",
                hint="Export and register it again.",
            )
