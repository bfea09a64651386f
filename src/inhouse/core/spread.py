"""A histogram as plain numbers: every request adds to it, and the library's own would cost more, with their locks."""

from bisect import bisect_left

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class Spread:
    """How values spread over buckets."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def merge(self, other: "Spread") -> None:
        self.counts = [one + more for one, more in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    def wire(self) -> list[tuple[str, float]]:
        """Buckets as Prometheus wants them: each holds those below."""
        names = [*map(str, self.bounds), "+Inf"]
        below = 0
        return [(name, below := below + count) for name, count in zip(names, self.counts, strict=True)]
