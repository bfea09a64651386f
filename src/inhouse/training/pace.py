"""How fast a training goes."""

import time
from collections.abc import Sequence
from typing import Any


class Pace:
    """How fast this life of the run goes, since it began."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._steps = 0
        self._examples = 0
        self._tokens = 0

    def count(self, group: Sequence[Sequence[Any]]) -> None:
        """One step over these batches."""
        self._steps += 1
        for items in group:
            self._examples += len(items)
            self._tokens += sum(map(len, items))

    @property
    def examples_per_s(self) -> float:
        return self._examples / self._seconds

    @property
    def tokens_per_s(self) -> float:
        return self._tokens / self._seconds

    @property
    def seconds_per_step(self) -> float:
        return self._seconds / max(self._steps, 1)

    @property
    def _seconds(self) -> float:
        return max(time.monotonic() - self._started, 1e-9)
