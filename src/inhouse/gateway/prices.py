"""What a call has used, and what that costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import msgspec

from inhouse.gateway.call import Call, Endpoint, Outcome
from inhouse.gateway.route import Route, Target

_CHAT, _COMPLETIONS = Endpoint.CHAT, Endpoint.COMPLETIONS
_MAX_KNOWN = 4096
_MOST_TOKENS = 1 << 31
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens cost, read and written."""

    input: float
    output: float

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        return (prompt_tokens * self.input + completion_tokens * self.output) / _MILLION


class Used(msgspec.Struct):
    """Tokens that a model really read and wrote for a call, and their cost; None without a price."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None


def expected(call: Call, answer_tokens: int) -> tuple[int, int]:
    """Tokens that a call may read and write at most; `answer_tokens` where it does not say how long it may answer."""
    if not call.fields:  # sound and pictures: nothing that could be counted
        return 0, 0
    if call.endpoint is _CHAT or call.endpoint is _COMPLETIONS:
        return call.prompt_estimate, (call.max_tokens or answer_tokens) * call.choices
    return call.prompt_estimate, 0


class Prices:
    """The price list of a workspace. The first pattern that fits `server/model`, the model there, or its route wins."""

    def __init__(self) -> None:
        self._list: Sequence[tuple[str, Price]] = ()
        self._known: dict[tuple[Route, Target], Price | None] = {}
        self._highest: dict[Route, Price | None] = {}

    def set(self, prices: Sequence[tuple[str, Price]]) -> None:
        self._list = prices
        self._known = {}
        self._highest = {}

    def of(self, route: Route, target: Target) -> Price | None:
        try:
            return self._known[route, target]
        except KeyError:
            pass
        names = (target.id, target.model, route.name)
        found = next((price for pattern, price in self._list if any(fnmatchcase(n, pattern) for n in names)), None)
        if len(self._known) >= _MAX_KNOWN:  # routes are made anew when settings change
            self._known = {}
        self._known[route, target] = found
        return found

    def highest(self, route: Route) -> Price | None:
        """What a call costs at most, wherever it goes."""
        try:
            return self._highest[route]
        except KeyError:
            pass
        prices = [price for target in route.targets if (price := self.of(route, target)) is not None]
        found = Price(max(one.input for one in prices), max(one.output for one in prices)) if prices else None
        if len(self._highest) >= _MAX_KNOWN:
            self._highest = {}
        self._highest[route] = found
        return found

    def used(self, call: Call, outcome: Outcome) -> Used:
        """What a call has used, counted once; its cost is noted in the call."""
        found = call.used
        if found is None:
            found = call.used = self._count(call, outcome)
            call.cost = found.cost
        return found

    def _count(self, call: Call, outcome: Outcome) -> Used:
        if call.cache:
            return Used(cost=0.0)
        usage = call.usage
        if usage is not None:
            prompt, completion = usage.prompt_tokens, usage.completion_tokens
            if not (0 <= prompt <= _MOST_TOKENS and 0 <= completion <= _MOST_TOKENS):
                prompt, completion = _sane(prompt), _sane(completion)
        elif outcome.ok and call.fields:
            prompt, completion = call.prompt_estimate, 0
        else:
            return Used()
        price = self.of(call.route, call.target) if call.target is not None and self._list else None
        return Used(prompt, completion, price.of(prompt, completion) if price is not None else call.cost)


def _sane(tokens: int) -> int:
    """A model server may say what it likes; nobody gets tokens back for it."""
    return tokens if 0 <= tokens <= _MOST_TOKENS else 0 if tokens < 0 else _MOST_TOKENS
