"""Who carries out a run: given its directory and what `spec.json` says, an executor starts what trains it."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from inhouse.core.errors import Unavailable
from inhouse.core.registry import Registry
from inhouse.training.spec import Spec


class TrainingInterrupted(Unavailable):
    """The server is stopping; the run goes on when it is back."""


class Executor(Protocol):
    """Trains runs, each in its directory. Several threads may call it at once."""

    def run(self, directory: Path, spec: Spec) -> int:
        """Train until the end and return what `child.main` does, or raise `TrainingInterrupted` after `close`."""
        ...

    def close(self) -> None:
        """Kill what is training; it can go on from its checkpoints."""
        ...


executors: Registry[Callable[[], Executor]] = Registry("executor", package="inhouse.training.executors")

Made = TypeVar("Made", bound=Callable[[], Executor])


def executor(name: str) -> Callable[[Made], Made]:
    """Make an executor known by the name that the setting `training.executor` has for it."""

    def add(made: Made) -> Made:
        executors.add(name, made)
        return made

    return add
