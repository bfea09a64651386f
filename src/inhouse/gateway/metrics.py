"""What the gateway counts. Labels hold known names only, so that bad requests cannot make new series.

What every request adds to is kept as plain numbers and turned into Prometheus series when somebody looks: adding takes
a fifth of what the library's own counters take, with their lock each.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from prometheus_client import REGISTRY, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from inhouse.core.spread import Spread

_TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.0, 2.5)
_MAX_SERIES = 5000
_OTHER = "other"
Labels = tuple[str, ...]

_refused = Counter("inhouse_gateway_refused_total", "Requests that named no model, or nothing readable.", ["status"])
_breaker = Gauge("inhouse_gateway_breaker_state", "0 closed, 1 trying again, 2 open.", ["target"])
_dropped = Counter("inhouse_gateway_dropped_total", "What a full queue did not take, by queue.", ["what"])
_loop_lag = Gauge("inhouse_gateway_loop_lag_seconds", "How late the event loop wakes up.")
_gpu_busy = Gauge("inhouse_gpu_busy_ratio", "Share of time that the GPU works.", ["gpu"])
_gpu_used = Gauge("inhouse_gpu_memory_used_bytes", "GPU memory in use.", ["gpu"])
_gpu_total = Gauge("inhouse_gpu_memory_total_bytes", "GPU memory in all.", ["gpu"])


@dataclass(slots=True, eq=False)
class Series:
    """What requests of one endpoint, model, target, status and arm add up to."""

    endpoint: str
    model: str
    target: str
    status: str
    arm: str
    requests: int = 0
    retries: int = 0
    read: int = 0
    written: int = 0
    cost: float = 0.0
    cached: dict[str, int] = field(default_factory=dict)
    seconds: Spread = field(default_factory=Spread)
    queue: Spread = field(default_factory=Spread)
    first: Spread = field(default_factory=Spread)
    between: Spread = field(default_factory=lambda: Spread(_TOKEN_SECONDS))


class SeriesTable(Collector):
    """The series by their labels, at most so many of them."""

    def __init__(self, most: int = _MAX_SERIES) -> None:
        self.in_flight = 0
        self._most = most
        self._found: dict[Labels, Series] = {}

    def of(self, endpoint: str, model: str, target: str, status: str, arm: str) -> Series:
        """The series of these labels; past the bound, those of `other` models."""
        key = (endpoint, model, target, status, arm)
        if key not in self._found and len(self._found) >= self._most:
            key = (endpoint, _OTHER, _OTHER, status, "")
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = Series(*key)
        return found

    def describe(self) -> Iterable[Metric]:
        return ()  # asked at registration: it need not collect for that

    def collect(self) -> Iterator[Metric]:
        found = list(self._found.values())
        yield GaugeMetricFamily("inhouse_gateway_in_flight", "Requests being answered.", value=self.in_flight)
        yield _counter(
            "requests",
            "Requests for a model, by what the client saw.",
            ("endpoint", "model", "target", "status", "arm"),
            (((one.endpoint, one.model, one.target, one.status, one.arm), one.requests) for one in found),
        )
        yield _counter(
            "tokens",
            "Tokens read and written.",
            ("model", "target", "direction"),
            (
                ((one.model, one.target, direction), count)
                for one in found
                for direction, count in (("in", one.read), ("out", one.written))
            ),
        )
        yield _counter(
            "cost",
            "Cost by the price list, in its currency.",
            ("model", "target"),
            (((one.model, one.target), one.cost) for one in found),
        )
        yield _counter(
            "cached",
            "Answers that no model was asked for: hit, semantic or shared.",
            ("model", "result"),
            (((one.model, result), count) for one in found for result, count in list(one.cached.items())),
        )
        yield _counter(
            "retries", "Attempts after the first.", ("model",), (((one.model,), one.retries) for one in found)
        )
        yield from _spreads(found)


def _spreads(found: list[Series]) -> Iterator[Metric]:
    def by_model(pick: Callable[[Series], Spread]) -> Iterator[tuple[Labels, Spread]]:
        return (((one.model,), pick(one)) for one in found)

    whole = (((one.endpoint, one.model), one.seconds) for one in found)
    yield _histogram("seconds", "Seconds to the end of an answer.", ("endpoint", "model"), whole)
    for name, text, pick in (
        ("queue_seconds", "Seconds in the queue, of requests that waited.", lambda one: one.queue),
        ("first_token_seconds", "Seconds to the first token of a stream.", lambda one: one.first),
        ("inter_token_seconds", "Mean seconds between the tokens of a stream.", lambda one: one.between),
    ):
        yield _histogram(name, text, ("model",), by_model(pick))


def _counter(name: str, text: str, labels: Labels, values: Iterable[tuple[Labels, float]]) -> Metric:
    sums: dict[Labels, float] = {}
    for key, value in values:
        sums[key] = sums.get(key, 0) + value
    family = CounterMetricFamily(f"inhouse_gateway_{name}", text, labels=labels)
    for key, value in sums.items():
        family.add_metric(key, value)
    return family


def _histogram(name: str, text: str, labels: Labels, values: Iterable[tuple[Labels, Spread]]) -> Metric:
    sums: dict[Labels, Spread] = {}
    for key, spread in values:
        sums.setdefault(key, Spread(spread.bounds)).merge(spread)
    family = HistogramMetricFamily(f"inhouse_gateway_{name}", text, labels=labels)
    for key, spread in sums.items():
        family.add_metric(key, spread.wire(), spread.total)
    return family


series = SeriesTable()
REGISTRY.register(series)


def refused(status: int) -> None:
    """Count a request that never became a call."""
    _refused.labels(str(status)).inc()


def breaker(target: str, level: int) -> None:
    """Publish a breaker's state: 0 closed, 1 trying again, 2 open."""
    _breaker.labels(target).set(level)


def dropped(what: str, count: int = 1) -> None:
    """Count what a full queue did not take: `audit`, `shadow`, `tracing`, `usage`, …"""
    _dropped.labels(what).inc(count)


def loop_lag(seconds: float) -> None:
    _loop_lag.set(seconds)


def gpu(index: str, *, busy: float, used_bytes: float, total_bytes: float) -> None:
    _gpu_busy.labels(index).set(busy)
    _gpu_used.labels(index).set(used_bytes)
    _gpu_total.labels(index).set(total_bytes)
