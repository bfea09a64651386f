"""Show another model the same requests, without anybody seeing its answers."""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from pydantic import Field

from inhouse.core.errors import InhouseError
from inhouse.gateway import metrics
from inhouse.gateway.call import Call, Reply
from inhouse.gateway.policy import Policy, Proceed, Settings, Surroundings, policy
from inhouse.gateway.route import Route, Target

_MAX_FIGURES = 1024
_MOST_TOKENS = 1 << 31
_log = logging.getLogger(__name__)


class ShadowSettings(Settings):
    """How much the shadow targets of the models may do."""

    enabled: bool = Field(default=True, description="Send copies to the shadow targets of the models.")
    max_concurrent: int = Field(default=8, ge=1, le=1000, description="Copies under way; more are dropped and counted.")
    timeout_s: float = Field(default=120.0, ge=1, le=3600, description="Seconds that a copy may take.")
    max_kb: int = Field(default=1024, ge=1, le=65_536, description="Requests larger than this are not copied.")


@dataclass(slots=True)
class ShadowFigures:
    """What one shadow target has done."""

    requests: int = 0
    errors: int = 0
    dropped: int = 0
    seconds: float = 0.0
    """Of the answers that came, added up."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    same: int = 0
    """Whole answers with the same text as the one that the client got."""
    different: int = 0


@policy("shadow", order=75, settings=ShadowSettings)
class Shadow(Policy[ShadowSettings]):
    """Sends copies once the real answer is there. They never delay it, and their failures are nobody's but theirs."""

    def __init__(self, surroundings: Surroundings, *, uniform: Callable[[], float] = random.random) -> None:
        super().__init__(surroundings)
        self._uniform = uniform
        self._copies: set[asyncio.Task[None]] = set()
        self._figures: dict[tuple[str, str], ShadowFigures] = {}

    @property
    def is_active(self) -> bool:
        return self.settings.enabled

    def surrounds(self, routes: Sequence[Route]) -> bool:
        return any(route.shadow for route in routes)

    async def around(self, call: Call, proceed: Proceed) -> Reply:
        route = call.route
        if not route.shadow:
            return await proceed(call)
        wanted = [target for target in route.shadow if self._uniform() < target.weight]
        copies = [(target, self._copy(call, target)) for target in wanted]  # before anybody changes the call
        reply = await proceed(call)
        for target, copy in copies:
            self._send(route.name, target, copy, reply.body)
        return reply

    def figures(self, route: str) -> dict[str, ShadowFigures]:
        """What the shadow targets of a model have done since the start."""
        return {target: figures for (name, target), figures in self._figures.items() if name == route}

    async def drain(self) -> None:
        """Wait for the copies under way."""
        await asyncio.gather(*self._copies)

    def close(self) -> None:
        for copy in list(self._copies):  # this may be another thread than the event loop's
            copy.get_loop().call_soon_threadsafe(copy.cancel)

    def _copy(self, call: Call, target: Target) -> Call:
        return msgspec.structs.replace(
            call,
            fields=dict(call.fields),
            headers=[],
            lines=b"",
            notes={},
            captured=None,
            usage=None,
            used=None,
            cost=None,
            target=target,
            deadline=0.0,
        )

    def _send(self, route: str, target: Target, copy: Call, answer: bytes) -> None:
        figures = self._of(route, target.id)
        if len(self._copies) >= self.settings.max_concurrent or len(copy.body) > self.settings.max_kb * 1024:
            figures.dropped += 1
            metrics.dropped("shadow")
            return
        task = asyncio.create_task(self._play(target, copy, answer, figures))
        self._copies.add(task)
        task.add_done_callback(self._copies.discard)

    async def _play(self, target: Target, copy: Call, answer: bytes, figures: ShadowFigures) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        copy.deadline = started + self.settings.timeout_s
        figures.requests += 1
        try:
            async with asyncio.timeout_at(copy.deadline):
                reply = await target.backend.send(copy, target.model)
                await _read(reply, figures)
        except (InhouseError, TimeoutError):
            figures.errors += 1
        except Exception:  # the edge of a request that nobody waits for
            figures.errors += 1
            _log.exception("A shadow request to %s failed unexpectedly.", target.id)
        else:
            figures.seconds += loop.time() - started
            _compare(answer, reply.body, figures)

    def _of(self, route: str, target: str) -> ShadowFigures:
        key = (route, target)
        if key not in self._figures and len(self._figures) >= _MAX_FIGURES:
            self._figures.pop(next(iter(self._figures)))
        return self._figures.setdefault(key, ShadowFigures())


async def _read(reply: Reply, figures: ShadowFigures) -> None:
    """Hear a streamed answer to its end, and note the usage."""
    last = b""
    if reply.events is not None:
        try:
            while block := await reply.events.part():
                last = block if b'"usage"' in block else last
        finally:
            reply.events.abort()
    usage = reply.usage.wire() if reply.usage else _usage_in(last)
    figures.prompt_tokens += _sane(usage.get("prompt_tokens", 0))
    figures.completion_tokens += _sane(usage.get("completion_tokens", 0))


def _sane(tokens: int) -> int:
    """A model server may say what it likes."""
    return tokens if 0 <= tokens <= _MOST_TOKENS else 0


def _usage_in(block: bytes) -> dict[str, int]:
    for event in reversed(block.split(b"\n\n")):
        if b'"usage"' in event:
            try:
                found = msgspec.json.decode(event[event.index(b"{") :], type=_Counted).usage
            except (msgspec.DecodeError, ValueError):
                continue
            if found is not None:
                return {"prompt_tokens": found.prompt_tokens, "completion_tokens": found.completion_tokens}
    return {}


def _compare(answer: bytes, shadow: bytes, figures: ShadowFigures) -> None:
    """Note whether both whole answers say the same."""
    if not answer or not shadow:
        return
    try:
        said, repeated = (_texts(msgspec.json.decode(body, type=_Answer)) for body in (answer, shadow))
    except msgspec.DecodeError:
        return
    if said == repeated:
        figures.same += 1
    else:
        figures.different += 1


class _Tokens(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Counted(msgspec.Struct):
    usage: _Tokens | None = None


class _Answer(msgspec.Struct):
    choices: list[dict[str, Any]]


def _texts(answer: _Answer) -> list[Any]:
    return [(choice.get("message") or {}).get("content") or choice.get("text") for choice in answer.choices]
