"""The policies of one workspace, in their order, around whatever answers."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inhouse.gateway.call import Call, Outcome, Reply
from inhouse.gateway.metering import Metered, ended, note_usage
from inhouse.gateway.policy import Policy, Proceed, Settings, Surroundings, policies
from inhouse.gateway.route import Route

Settle = Callable[[Call, Outcome], None]


@dataclass(frozen=True, slots=True)
class _Stages:
    """The hooks of the active policies, by the numbers of these."""

    admits: tuple[tuple[int, Callable[[Call], None]], ...] = ()
    settles: tuple[tuple[int, Settle], ...] = ()
    """Those further in come first."""
    count: int = 0

    def settle(self, call: Call, outcome: Outcome) -> None:
        for _, settle in self.settles:
            settle(call, outcome)

    def settle_below(self, number: int, call: Call, outcome: Outcome) -> None:
        """Tell the end to those who admitted the call before the one of that number did not."""
        for own, settle in self.settles:
            if own < number:
                settle(call, outcome)


class Chain:
    """Every request of a workspace passes it. Policies keep their state when settings change."""

    def __init__(self, surroundings: Surroundings, attempt: Callable[["Chain", Call], Any]) -> None:
        self._attempt: Proceed = functools.partial(attempt, self)
        self._policies: dict[str, Policy[Any]] = {name: policies[name](surroundings) for name in policies}
        self._stages = _Stages()
        self._is_configured = False
        self._proceed: Proceed = self._attempt

    def __getitem__(self, name: str) -> Any:
        return self._policies[name]

    def __contains__(self, name: str) -> bool:
        return name in self._policies

    def configure(self, settings: Mapping[str, Settings], routes: Sequence[Route] = ()) -> None:
        """Take new settings; calls under way end by those with which they began."""
        for name, policy in self._policies.items():
            wanted = settings.get(name) or policy.settings_type()
            if wanted != policy.settings or not self._is_configured:
                policy.configure(wanted)
        active = sorted((one for one in self._policies.values() if one.is_active), key=lambda one: one.order)
        self._is_configured = True
        self._stages = _stages(active)
        proceed = self._attempt
        for policy in reversed(active):
            if _overrides(policy, "around") and policy.surrounds(routes):
                proceed = functools.partial(policy.around, proceed=proceed)
        self._proceed = proceed  # all at once: requests come while another thread is here

    async def run(self, call: Call) -> Reply:
        """Answer a call. Its end is told to every policy that admitted it, exactly once."""
        stages = self._stages
        number = 0
        try:
            for number, admit in stages.admits:  # noqa: B007  # who refuses is known by it
                admit(call)
            number = stages.count
            reply = await self._proceed(call)
        except BaseException as error:
            if call.has_begun:  # nobody will see it, but it is spent
                note_usage(call)
            stages.settle_below(number, call, ended(call, error))
            raise
        call.usage = reply.usage or call.usage
        if reply.events is not None:
            reply.events = Metered(reply.events, call, stages.settle)
            return reply
        note_usage(call, body=reply.body)
        if call.captured is not None:
            call.captured.append(reply.body)
        stages.settle(call, ended(call, None))
        return reply

    def close(self) -> None:
        for policy in self._policies.values():
            policy.close()


def _stages(active: Sequence[Policy[Any]]) -> _Stages:
    numbered = list(enumerate(active))
    return _Stages(
        tuple((number, one.admit) for number, one in numbered if _overrides(one, "admit")),
        tuple((number, one.settle) for number, one in reversed(numbered) if _overrides(one, "settle")),
        len(active),
    )


def _overrides(policy: Policy[Any], hook: str) -> bool:
    return getattr(type(policy), hook) is not getattr(Policy, hook)
