"""What a training process is told: the content of `spec.json` in the run's directory."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

SPEC, EVENTS, STOP, LOCK, LOG = "spec.json", "events.jsonl", "stop", "lock", "child.log"
DATASET, CHECKPOINTS, ARTIFACT, TENSORBOARD = "dataset", "checkpoints", "artifact", "tensorboard"


class Spec(BaseModel):
    """One training run. A relative dataset directory is meant from the run's directory."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str
    config: dict[str, Any] = Field(default_factory=dict)
    seed: int = 0
    dataset: Path = Path(DATASET)
    threads: int = Field(default=2, ge=1)
    """Of each process."""
    processes: int = Field(default=1, ge=1)
    checkpoint_every_s: float = Field(default=10.0, ge=0)
    keep_checkpoints: int = Field(default=2, ge=1)
    checkpoint_copy: str = ""
    """Where checkpoints go besides: a directory or an fsspec URL, to which the run's name is added."""
    tensorboard: bool = True
    lineage: dict[str, Any] = Field(default_factory=dict)
