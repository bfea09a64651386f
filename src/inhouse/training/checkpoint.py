"""Checkpoints of a run: safetensors and JSON, complete or not there at all."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

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
    """The checkpoints in one directory, `step-N` each."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def save(self, step: int, state: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Write a checkpoint durably and drop all but the newest ones."""
        with draft(self._directory / f"step-{step}") as partial:
            for group, named in tensors.items():
                save_file(
                    {name: tensor.contiguous() for name, tensor in named.items()}, partial / f"{group}.safetensors"
                )
            seal(partial, {"step": step, "state": dict(state), "groups": list(tensors)})
        for old in self._newest_first()[KEPT:]:
            shutil.rmtree(old)

    def newest(self) -> Checkpoint | None:
        """The newest complete checkpoint; damaged ones are passed over."""
        for directory in self._newest_first():
            if manifest := open_sealed(directory):
                tensors = {group: load_file(directory / f"{group}.safetensors") for group in manifest["groups"]}
                return Checkpoint(manifest["step"], manifest["state"], tensors)
        return None

    def _newest_first(self) -> list[Path]:
        found = {int(number): path for path in self._directory.glob("step-*") if (number := path.name[5:]).isdigit()}
        return [found[step] for step in sorted(found, reverse=True)]
