"""What turns a model directory into something that predicts. One runtime, one file in `runtimes/`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from inhouse.core.errors import InhouseError, Misconfigured
from inhouse.core.registry import Registry
from inhouse.serving.artifact import ArtifactBroken, Manifest, open_artifact

Scores = Mapping[str, float]
"""Label -> probability, for one text."""


class Network(Protocol):
    """A model in memory. May be called from several threads at once."""

    def predict(self, texts: Sequence[str]) -> list[Scores]: ...


class Runtime(Protocol):
    """Loads the kinds of models that it knows."""

    def serves(self, manifest: Manifest) -> bool: ...

    def load(self, directory: Path, manifest: Manifest) -> Network: ...


runtimes: Registry[Runtime] = Registry("runtime", package="inhouse.serving.runtimes")


class NoRuntime(Misconfigured):
    """No installed runtime can serve this kind of model."""


@dataclass(frozen=True, slots=True)
class Model:
    """A verified model, loaded and warm."""

    manifest: Manifest
    network: Network

    def predict(self, texts: Sequence[str]) -> list[Scores]:
        return self.network.predict(texts)


def load(directory: Path) -> Model:
    """Verify a model directory, load it with the first runtime that serves it, and warm it up."""
    manifest = open_artifact(directory)
    runtime = next((runtimes[name] for name in runtimes if runtimes[name].serves(manifest)), None)
    if runtime is None:
        raise NoRuntime(
            f"No runtime serves {manifest.kind!r} models with the files {sorted(manifest.files)}.",
            hint="Known runtimes: " + ", ".join(runtimes),
        )
    try:
        model = Model(manifest, runtime.load(directory, manifest))
        scores = model.predict(["warm-up", "预热 " * 16])
    except InhouseError:
        raise
    except Exception as error:  # a file from elsewhere can fail an engine in any way
        raise ArtifactBroken(
            f"The model in {directory.name!r} cannot be loaded: {error}.", hint="Export and register it again."
        ) from error
    if any(set(row) != set(manifest.labels) for row in scores):
        raise ArtifactBroken(
            f"The model in {directory.name!r} answers {len(scores[0])} labels, its manifest lists "
            f"{len(manifest.labels)}.",
            hint="Export and register it again.",
        )
    return model
