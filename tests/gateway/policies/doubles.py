"""Stand-ins for what surrounds a policy: a clock that only we move, and backends that say what they are told."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from inhouse.core.errors import InhouseError, LimitExceeded, TimedOut, Unavailable
from inhouse.core.principal import Principal
from inhouse.gateway.call import Call, Endpoint, Reply, Usage
from inhouse.gateway.route import Route, Target

BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'


class Down(Unavailable):
    """It does not answer."""


class Slow(TimedOut):
    """It answers too late."""


class Busy(LimitExceeded):
    """It asks to come back later."""


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time

    def move(self, seconds: float) -> None:
        self.time += seconds


@dataclass(eq=False)
class Told:
    """A backend that answers in turn what it was told, and then for ever the last thing."""

    name: str = "lab"
    says: deque[Reply | InhouseError] = field(default_factory=deque)
    heard: list[Call] = field(default_factory=list)

    async def send(self, call: Call, model: str) -> Reply:
        self.heard.append(call)
        said = self.says[0] if len(self.says) == 1 else self.says.popleft()
        if isinstance(said, InhouseError):
            raise said
        return said


class Blocks:
    """Streamed events that are all there, or end in an error."""

    def __init__(self, *blocks: bytes | InhouseError) -> None:
        self._blocks = deque(blocks)
        self.aborted = False

    async def part(self) -> bytes:
        block = self._blocks.popleft() if self._blocks else b""
        if isinstance(block, InhouseError):
            raise block
        return block

    def abort(self) -> None:
        self.aborted = True


def answer(text: str = "Hello.", usage: Usage | None = None) -> Reply:
    """A whole chat answer."""
    message = {"role": "assistant", "content": text}
    body = {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    return Reply(msgspec.json.encode(body), usage=usage)


def told(name: str = "lab", *says: Reply | InhouseError) -> Told:
    return Told(name, deque(says or [answer()]))


def targets(*names: str, weight: float = 1.0, arm: str = "") -> tuple[Target, ...]:
    return tuple(Target(told(name), "m", weight, arm) for name in names)


def route(*found: Target, name: str = "m", **more: object) -> Route:
    return Route(name, found, **more)  # pyright: ignore[reportArgumentType]


def call(on: Route | None = None, **more: object) -> Call:
    found = on or route(*targets("lab"))
    principal = Principal("default", "user_ann", frozenset({"chat:run"}), key_id="key_1")
    fields = msgspec.json.decode(BODY, type=dict[str, msgspec.Raw])
    return Call(principal, Endpoint.CHAT, found.name, found, BODY, fields, **more)  # pyright: ignore[reportArgumentType]


def first_of(uniform: Sequence[float]) -> Callable[[], float]:
    """Random numbers that are none."""
    numbers = deque(uniform)
    return lambda: numbers.popleft() if numbers else 0.0
