"""Count requests, tokens, cost and seconds for Prometheus."""

from typing import TYPE_CHECKING

from pydantic import Field

from inhouse.gateway import metrics
from inhouse.gateway.call import Call, Endpoint, Outcome
from inhouse.gateway.metrics import Series
from inhouse.gateway.policy import Policy, Settings, Surroundings, policy

if TYPE_CHECKING:
    from inhouse.gateway.route import Route, Target

_MAX_BOUND = 4096
_MOST_TOKENS = 1 << 31


class MetricsSettings(Settings):
    """What is counted."""

    enabled: bool = Field(default=True, description="Count requests; the figures are served under /metrics.")
    by_target: bool = Field(default=True, description="Keep figures for each target, not only for each model.")


@policy("metrics", order=5, settings=MetricsSettings)
class Metrics(Policy[MetricsSettings]):
    """Adds every request to its series. The series of a route and target are looked up once."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._bound: dict[tuple[Route, Target | None, int, str, Endpoint], Series] = {}

    @property
    def is_active(self) -> bool:
        return self.settings.enabled

    def configure(self, settings: MetricsSettings) -> None:
        super().configure(settings)
        self._bound.clear()

    def admit(self, call: Call) -> None:
        metrics.series.in_flight += 1

    def settle(self, call: Call, outcome: Outcome) -> None:
        metrics.series.in_flight -= 1
        key = (call.route, call.target, outcome.status, call.arm, call.endpoint)
        series = self._bound.get(key)
        if series is None:
            series = self._bind(key)
        series.requests += 1
        series.seconds.add(outcome.duration_s)
        usage = call.usage
        if usage is not None:
            if 0 < usage.prompt_tokens < _MOST_TOKENS:  # a model server may say what it likes
                series.read += usage.prompt_tokens
            if 0 < usage.completion_tokens < _MOST_TOKENS:
                series.written += usage.completion_tokens
        if call.stream and call.first_token_s:
            series.first.add(call.first_token_s)
            tokens = usage.completion_tokens if usage is not None else outcome.parts
            if tokens > 1:
                series.between.add((outcome.duration_s - call.first_token_s) / (tokens - 1))
        if call.queued_s:
            series.queue.add(call.queued_s)
        if call.attempts > 1:
            series.retries += call.attempts - 1
        if call.cost:
            series.cost += call.cost
        if call.cache:
            series.cached[call.cache] = series.cached.get(call.cache, 0) + 1

    def _bind(self, key: "tuple[Route, Target | None, int, str, Endpoint]") -> Series:
        route, target, status, arm, endpoint = key
        if len(self._bound) >= _MAX_BOUND:
            self._bound.clear()  # routes and targets of old settings are kept alive by it
        name = target.id if target is not None and self.settings.by_target else ""
        found = metrics.series.of(endpoint.value, route.name, name, str(status), arm)
        self._bound[key] = found
        return found
