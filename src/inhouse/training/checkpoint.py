"""Checkpoints of a run: safetensors and JSON, complete or not there at all."""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from inhouse.training.mirror import Mirror, MirrorAway
from inhouse.training.sealed import draft, open_sealed, seal

KEPT = 2
"""The one before stays, should the newest turn out damaged."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything needed to go on as if nothing had happened: plain state, and tensors by group and name."""

    step: int
    state: dict[str, Any]
    tensors: dict[str, dict[str, Tensor]]


class Checkpoints:
    """The checkpoints in one directory, `step-N` each; with a mirror, each is copied there as well."""

    def __init__(self, directory: Path, *, keep: int = KEPT, mirror: Mirror | None = None) -> None:
        self._directory = directory
        self._keep = keep
        self._mirror = mirror

    def save(self, step: int, state: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Write a checkpoint durably and drop all but the newest ones."""
        with draft(self._directory / f"step-{step}") as partial:
            for group, named in tensors.items():
                save_file(
                    {name: tensor.contiguous() for name, tensor in named.items()}, partial / f"{group}.safetensors"
                )
            seal(partial, {"step": step, "state": dict(state), "groups": list(tensors)})
        for old in self._newest_first()[self._keep :]:
            shutil.rmtree(old)

    def copy(self) -> None:
        """Bring the mirror up to the newest checkpoint."""
        if self._mirror:
            self._mirror.put(self._newest_first()[0])
            for name in _by_step(self._mirror.names())[self._keep :]:
                self._mirror.remove(name)

    def newest(self) -> Checkpoint | None:
        """The newest complete checkpoint, from the mirror when none is here; damaged ones are passed over."""
        return self._here() or self._fetched()

    def _here(self) -> Checkpoint | None:
        for directory in self._newest_first():
            if manifest := open_sealed(directory):
                tensors = {group: load_file(directory / f"{group}.safetensors") for group in manifest["groups"]}
                return Checkpoint(manifest["step"], manifest["state"], tensors)
        return None

    def _fetched(self) -> Checkpoint | None:
        if self._mirror is None:
            return None
        for name in _by_step(self._mirror.names()):
            try:
                with draft(self._directory / name) as partial:
                    self._mirror.get(name, partial)
            except MirrorAway:  # as a copy that was never finished is
                continue
            if fetched := self._here():
                return fetched
        return None

    def _newest_first(self) -> list[Path]:
        return [self._directory / name for name in _by_step(path.name for path in self._directory.glob("step-*"))]


def _by_step(names: Iterable[str]) -> list[str]:
    """The names that are of checkpoints, newest first."""
    steps = {int(step): name for name in names if (step := name.removeprefix("step-")).isdigit()}
    return [steps[step] for step in sorted(steps, reverse=True)]
