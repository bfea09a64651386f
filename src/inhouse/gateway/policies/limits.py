"""Let keys, users and teams make only so many requests, and use only so many tokens, a minute."""

import functools
import math
from collections.abc import Sequence

from pydantic import Field

from inhouse.core.errors import LimitExceeded
from inhouse.gateway.call import Call, Outcome, Reply
from inhouse.gateway.line import Line
from inhouse.gateway.policy import Policy, Proceed, Settings, Surroundings, policy
from inhouse.gateway.prices import expected
from inhouse.gateway.route import Route
from inhouse.gateway.subjects import Counters, Identity, Rule

_NOTE = "limits"
_PENDING = "limits waiting"
_MINUTE = 60.0
_NOISE = 1e-9
_TOLD = b"x-ratelimit-limit-*: %d\r\nx-ratelimit-remaining-*: %%d\r\nx-ratelimit-reset-*: %%b\r\n"


class TooManyRequests(LimitExceeded):
    """More requests than allowed for the time."""


class TooManyTokens(LimitExceeded):
    """More tokens than allowed for the time."""


class RequestOverLimit(LimitExceeded):
    """One request that is larger than what may come at once: waiting does not help."""

    retryable = False


class Limit(Rule):
    """How fast somebody may go."""

    requests_per_minute: int | None = Field(default=None, ge=1, le=10_000_000, description="Requests in a minute.")
    tokens_per_minute: int | None = Field(
        default=None, ge=1, le=10_000_000_000, description="Tokens in a minute, read and written."
    )
    burst_s: int = Field(
        default=60, ge=1, le=86_400, description="So many seconds' worth may come at once after a pause."
    )


class LimitsSettings(Settings):
    """How fast keys, users and teams may go. Every rule that fits a request applies."""

    rules: tuple[Limit, ...] = Field(default=(), max_length=1000, description="The limits.")
    answer_tokens: int = Field(
        default=500,
        ge=0,
        le=1_000_000,
        description="Tokens to count for an answer whose length the request does not bound, until it is there.",
    )
    max_wait_s: float = Field(
        default=0, ge=0, le=600, description="A request over a limit waits so long for its turn; 0 refuses it at once."
    )
    max_waiting: int = Field(default=100, ge=1, le=10_000, description="How many requests wait; more are refused.")


class _Bucket:
    """What one subject of one rule has used of late. It runs out at the allowed rate, and holds so much at most."""

    __slots__ = (
        "_at",
        "request_rate",
        "requests",
        "requests_max",
        "requests_told",
        "token_rate",
        "tokens",
        "tokens_max",
        "tokens_told",
    )

    def __init__(self, rule: Limit, now: float) -> None:
        self.requests = 0.0
        self.tokens = 0.0
        self._at = now
        self.configure(rule)

    def configure(self, rule: Limit) -> None:
        self.request_rate = (rule.requests_per_minute or 0) / _MINUTE
        self.token_rate = (rule.tokens_per_minute or 0) / _MINUTE
        self.requests_max = max(1.0, self.request_rate * rule.burst_s)
        self.tokens_max = max(1.0, self.token_rate * rule.burst_s)
        self.requests_told = _TOLD.replace(b"*", b"requests") % self.requests_max
        self.tokens_told = _TOLD.replace(b"*", b"tokens") % self.tokens_max

    def leak(self, now: float) -> None:
        passed = now - self._at
        if passed <= 0:
            return
        self._at = now
        left = self.requests - passed * self.request_rate
        self.requests = left if left > 0 else 0.0
        left = self.tokens - passed * self.token_rate
        self.tokens = left if left > 0 else 0.0

    def give_back(self, tokens: int) -> None:
        """Take back tokens that were counted and not used; fewer than none were used more than counted."""
        if self.token_rate:
            left = self.tokens - tokens
            self.tokens = left if left > 0 else 0.0


@policy("limits", order=30, settings=LimitsSettings)
class Limits(Policy[LimitsSettings]):
    """Counts requests and tokens as they come; an answer counts as long as it may get, until it is there."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self.buckets: Counters[Limit, _Bucket] = Counters(self._bucket)
        self.line = Line()

    def configure(self, settings: LimitsSettings) -> None:
        self.settings = settings
        self.line.configure(settings.max_wait_s, settings.max_waiting)
        self.buckets.configure(settings.rules)

    @property
    def is_active(self) -> bool:
        return bool(self.settings.rules)

    def surrounds(self, routes: Sequence[Route]) -> bool:
        return self.settings.max_wait_s > 0

    def admit(self, call: Call) -> None:
        buckets = self.buckets.of(call)
        if not buckets:
            return
        tokens = sum(expected(call, self.settings.answer_tokens))
        is_behind = self.line.is_behind(call, buckets) if self.line.waiting else False
        refusal = None if is_behind else self._take(call, buckets, tokens)
        if refusal is None and not is_behind:
            return
        if self.settings.max_wait_s and (refusal is None or refusal.retryable):
            call.notes[_PENDING] = (buckets, tokens)
            return
        _tell(call, buckets)
        raise refusal or _refusal(buckets[0], tokens)

    async def around(self, call: Call, proceed: Proceed) -> Reply:
        pending = call.notes.pop(_PENDING, None)
        if pending is not None:
            buckets, tokens = pending
            await self.line.wait(call, buckets, lambda: self._take(call, buckets, tokens))
        return await proceed(call)

    def _take(self, call: Call, buckets: tuple[_Bucket, ...], tokens: int) -> LimitExceeded | None:
        """Count the request in every bucket, or in none and say which refuses it."""
        now = self.surroundings.clock()
        for bucket in buckets:
            bucket.leak(now)
            if (bucket.request_rate and bucket.requests + 1 > bucket.requests_max + _NOISE) or (
                bucket.token_rate and bucket.tokens + tokens > bucket.tokens_max + _NOISE
            ):
                return _refusal(bucket, tokens)
        for bucket in buckets:
            if bucket.request_rate:
                bucket.requests += 1
            if bucket.token_rate:
                bucket.tokens += tokens
        call.notes[_NOTE] = (buckets, tokens)
        _tell(call, buckets)
        return None

    def settle(self, call: Call, outcome: Outcome) -> None:
        note = call.notes.get(_NOTE)
        if note is None:
            return
        buckets, tokens = note
        used = self.surroundings.prices.used(call, outcome)
        unused = tokens - used.prompt_tokens - used.completion_tokens
        for bucket in buckets:
            bucket.give_back(unused)

    def _bucket(self, rule: Limit, _: Identity, __: str) -> _Bucket:
        return _Bucket(rule, self.surroundings.clock())


def _refusal(bucket: _Bucket, tokens: int) -> LimitExceeded:
    code = "rate_limit_exceeded"
    if bucket.request_rate and bucket.requests + 1 > bucket.requests_max + _NOISE:
        wait_s = _wait(bucket.requests + 1 - bucket.requests_max, bucket.request_rate)
        return TooManyRequests(
            f"The limit of {bucket.request_rate * _MINUTE:g} requests a minute is reached.",
            hint=f"Try again in {wait_s:g} s.",
            retry_after_s=wait_s,
            code=code,
        )
    if tokens > bucket.tokens_max:
        return RequestOverLimit(
            f"The request may take {tokens} tokens, and {bucket.tokens_max:g} is the most at once.",
            hint="Send less text, or set a smaller max_tokens.",
            code=code,
        )
    wait_s = _wait(bucket.tokens + tokens - bucket.tokens_max, bucket.token_rate)
    return TooManyTokens(
        f"The limit of {bucket.token_rate * _MINUTE:g} tokens a minute is reached.",
        hint=f"Try again in {wait_s:g} s.",
        retry_after_s=wait_s,
        code=code,
    )


def _wait(excess: float, rate: float) -> float:
    return math.ceil(excess / rate * 1000) / 1000


def _tell(call: Call, buckets: tuple[_Bucket, ...]) -> None:
    """Say in the answer's headers how much is left of the tightest limits."""
    for_requests = for_tokens = buckets[0]
    if len(buckets) > 1:
        for_requests = min(buckets, key=_requests_left)
        for_tokens = min(buckets, key=_tokens_left)
    if rate := for_requests.request_rate:
        left = int(for_requests.requests_max - for_requests.requests)
        call.lines += for_requests.requests_told % (max(left, 0), _span(int(for_requests.requests / rate + 0.999)))
    if rate := for_tokens.token_rate:
        left = int(for_tokens.tokens_max - for_tokens.tokens)
        call.lines += for_tokens.tokens_told % (max(left, 0), _span(int(for_tokens.tokens / rate + 0.999)))


def _requests_left(bucket: _Bucket) -> float:
    return bucket.requests_max - bucket.requests if bucket.request_rate else math.inf


def _tokens_left(bucket: _Bucket) -> float:
    return bucket.tokens_max - bucket.tokens if bucket.token_rate else math.inf


@functools.lru_cache(maxsize=4096)
def _span(seconds: int) -> bytes:
    """`1s`, `6m0s`, `1h0m0s`: how OpenAI writes a time span."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return (
        (f"{hours}h" if hours else "").encode() + (f"{minutes}m" if minutes or hours else "").encode() + b"%ds" % rest
    )
