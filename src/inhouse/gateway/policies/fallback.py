"""Ask another model when the wanted one is away, or cannot take the request."""

from collections.abc import Sequence

from pydantic import Field

from inhouse.core.errors import InhouseError, LimitExceeded, TimedOut, Unavailable
from inhouse.gateway.call import Call, Reply
from inhouse.gateway.policies.retry import TRIED
from inhouse.gateway.policy import Policy, Proceed, Settings, policy
from inhouse.gateway.route import Route

_TOO_LONG = "context_length_exceeded"
_FILTERED = "content_filter"
_HEADER = b"x-model-fallback"


class FallbackSettings(Settings):
    """Which models step in. Names on the left are models, or `*` for all others."""

    unavailable: dict[str, list[str]] = Field(
        default_factory=dict,
        description="Who steps in when a model is away or overloaded, after the fallbacks of the model itself.",
    )
    context_length: dict[str, list[str]] = Field(
        default_factory=dict, description="Who takes what is too long for a model; else as when it is away."
    )
    content_filter: dict[str, list[str]] = Field(
        default_factory=dict, description="Who takes what a model's own filter refused; without a name, nobody."
    )
    max_models: int = Field(default=3, ge=1, le=10, description="Most other models that are asked for one request.")


@policy("fallback", order=70, settings=FallbackSettings)
class Fallback(Policy[FallbackSettings]):
    """Asks other models in order, each at most once, and only before the answer has begun.

    While all servers of a model are left alone, the others come first. When all of them fail, the client sees the
    error of the model that it asked for.
    """

    def surrounds(self, routes: Sequence[Route]) -> bool:
        settings = self.settings
        named = settings.unavailable or settings.context_length or settings.content_filter
        return bool(named) or any(route.fallbacks for route in routes)

    async def around(self, call: Call, proceed: Proceed) -> Reply:
        wanted = call.route
        if self.surroundings.is_out(wanted) and (others := self._when_away(wanted)):
            reply = await self._elsewhere(call, proceed, others)
            return reply or await proceed(call)
        try:
            return await proceed(call)
        except InhouseError as error:
            others = self._others(wanted, error)
            reply = await self._elsewhere(call, proceed, others) if others else None
            if reply is None:
                raise
            return reply

    async def _elsewhere(self, call: Call, proceed: Proceed, others: Sequence[str]) -> Reply | None:
        """The answer of the first of these models that has one, or of those that step in for them in turn."""
        wanted, target, arm = call.route, call.target, call.arm
        waiting = list(others)
        asked = {wanted.name}
        while waiting and len(asked) <= self.settings.max_models:
            route = self._open(call, waiting.pop(0), asked)
            if route is None:
                continue
            asked.add(route.name)
            _turn_to(call, route)
            try:
                reply = await proceed(call)
            except InhouseError as error:
                waiting.extend(self._others(route, error))
                continue
            call.headers.append((_HEADER, route.name.encode()))
            return reply
        _turn_to(call, wanted)
        call.target, call.arm = target, arm
        return None

    def _others(self, route: Route, error: InhouseError) -> Sequence[str]:
        """The models that can help after this error."""
        code = error.details.get("code") or error.details.get("upstream_code")
        if code == _FILTERED:
            return _of(self.settings.content_filter, route)
        if code == _TOO_LONG and (special := _of(self.settings.context_length, route)):
            return special
        if code == _TOO_LONG or _is_away(error):
            return self._when_away(route)
        return ()

    def _when_away(self, route: Route) -> Sequence[str]:
        return [*route.fallbacks, *_of(self.settings.unavailable, route)]

    def _open(self, call: Call, name: str, asked: set[str]) -> Route | None:
        """The route of that model, unless it had its turn, is gone, or the key may not use it."""
        route = self.surroundings.find(name)
        if route is None or route.name in asked:
            return None
        return route if self.surroundings.may_use(call.principal, route.name) else None


def _of(lists: dict[str, list[str]], route: Route) -> list[str]:
    return lists.get(route.name) or lists.get("*", [])


def _is_away(error: InhouseError) -> bool:
    return error.retryable and isinstance(error, Unavailable | TimedOut | LimitExceeded)


def _turn_to(call: Call, route: Route) -> None:
    call.route = route
    call.target = None
    call.arm = ""
    call.notes.pop(TRIED, None)
