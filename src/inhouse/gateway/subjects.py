"""Rules that depend on who asks for what, and the counters that belong to them."""

from collections.abc import Callable, Hashable, Sequence
from fnmatch import fnmatchcase
from typing import Any, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from inhouse.core.principal import Principal
from inhouse.gateway.call import Call

_MAX_COUNTERS = 50_000
_MAX_KNOWN = 10_000


class Rule(BaseModel):
    """Whom a rule is about, for which models, and who has a counter of their own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: str = Field(
        default="*",
        max_length=200,
        pattern=r"^(\*|(key|user|team):.+)$",
        description="Everybody (*), or one key:<id>, user:<id> or team:<name>.",
    )
    each: Literal["", "key", "user", "team", "workspace"] = Field(
        default="",
        description="Who has an amount of their own. Where empty: each key if the rule is about everybody, "
        "otherwise its subject as a whole.",
    )
    model: str = Field(
        default="*", min_length=1, max_length=200, description="Models that it is about; * stands for any text."
    )

    @property
    def identity(self) -> Hashable:
        """Rules that only differ in how much they allow are the same rule, and go on with what is counted."""
        return (self.subject, self.each, self.model)

    def counts(self, principal: Principal) -> str:
        """The subject that a request is counted to; empty when the rule is not about who asks."""
        key = f"key:{principal.key_id}" if principal.key_id else ""
        user = f"user:{principal.person}"
        team = f"team:{principal.team}" if principal.team else ""
        if self.subject != "*" and self.subject not in (key, user, team):
            return ""
        each = self.each or ("key" if self.subject == "*" else "")
        return {"": self.subject, "key": key or user, "user": user, "team": team, "workspace": "workspace"}[each]

    def fits(self, model: str) -> bool:
        return self.model == "*" or fnmatchcase(model, self.model)


RuleT = TypeVar("RuleT", bound=Rule)
RuleIn = TypeVar("RuleIn", bound=Rule, contravariant=True)


class Counter(Protocol[RuleIn]):
    """Counts for one subject of one rule."""

    def configure(self, rule: RuleIn) -> None:
        """Take other amounts, and keep what is counted."""
        ...


CounterT = TypeVar("CounterT", bound=Counter[Any])
Identity = tuple[Hashable, int]


class Counters(Generic[RuleT, CounterT]):
    """Finds the counters of a request. A request of somebody who has been here before costs one look-up."""

    def __init__(self, make: Callable[[RuleT, Identity, str], CounterT], *, max_counters: int = _MAX_COUNTERS) -> None:
        self.dropped = 0
        self._make = make
        self._max_counters = max_counters
        self._rules: Sequence[tuple[Identity, RuleT]] = ()
        self._counters: dict[tuple[Identity, str], CounterT] = {}
        self._known: dict[tuple[str, str, str], tuple[CounterT, ...]] = {}

    def configure(self, rules: Sequence[RuleT]) -> None:
        """Take new rules; what is counted for those that stay, stays."""
        self._rules = numbered(rules)
        wanted = dict(self._rules)
        kept = {place: counter for place, counter in list(self._counters.items()) if place[0] in wanted}
        for (identity, _), counter in kept.items():
            counter.configure(wanted[identity])
        self._counters = kept
        self._known = {}  # last: see `_find`

    def of(self, call: Call) -> tuple[CounterT, ...]:
        who = call.principal
        place = (who.user_id, who.team, call.route.name)
        try:
            return self._known[place]
        except KeyError:
            return self._find(place, who, call.route.name)

    def all(self) -> list[tuple[str, CounterT]]:
        """Every counter with its subject."""
        return [(subject, counter) for (_, subject), counter in list(self._counters.items())]

    def _find(self, place: tuple[str, str, str], who: Principal, model: str) -> tuple[CounterT, ...]:
        known = self._known  # before the rules: what older ones say must not get among what newer ones say
        found = tuple(
            self._counter(identity, rule, subject)
            for identity, rule in self._rules
            if rule.fits(model) and (subject := rule.counts(who))
        )
        if len(known) >= _MAX_KNOWN:
            known.clear()
        known[place] = found
        return found

    def _counter(self, identity: Identity, rule: RuleT, subject: str) -> CounterT:
        place = (identity, subject)
        if place not in self._counters:
            if len(self._counters) >= self._max_counters:
                self._counters.pop(next(iter(self._counters)))
                self._known = {}
                self.dropped += 1
            self._counters[place] = self._make(rule, identity, subject)
        return self._counters[place]


def numbered(rules: Sequence[RuleT]) -> list[tuple[Identity, RuleT]]:
    """Rules with what tells them apart, also from others about the same."""
    seen: dict[Hashable, int] = {}
    found: list[tuple[Identity, RuleT]] = []
    for rule in rules:
        number = seen[rule.identity] = seen.get(rule.identity, -1) + 1
        found.append(((rule.identity, number), rule))
    return found
