"""Block, mask or note what requests and answers may not contain."""

import asyncio
import functools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

import msgspec
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from inhouse.core.errors import Misconfigured
from inhouse.gateway.beginnings import beginnings
from inhouse.gateway.call import Call, Endpoint, Reply
from inhouse.gateway.guarded import Texts, answer_texts, filtered, guarded_body, request_texts
from inhouse.gateway.guarded_events import Guarded, Judge
from inhouse.gateway.patterns import BadPattern, Pattern, word_list
from inhouse.gateway.pii import KINDS
from inhouse.gateway.policy import Policy, Proceed, Settings, Surroundings, policy
from inhouse.gateway.sieve import Rules
from inhouse.gateway.subjects import Rule
from inhouse.gateway.texts import Placeholders

PersonalData = Literal["email", "phone", "id_card", "card", "iban", "ip", "secret"]
CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
"""What OpenAI's moderation knows: always named in a result, and never found here."""
_SCHEMAS = ("tools", "functions", "response_format")
_CHECKED = (*_SCHEMAS, "prediction", "messages", "prompt", "input", "query", "documents", "suffix", "instructions")
_ANSWERS = frozenset({Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.TRANSCRIPTIONS, Endpoint.TRANSLATIONS})
_LARGE_BYTES = 256 << 10  # checked beside the event loop: RE2 lets other threads run meanwhile
_JUDGED_CHARACTERS = 2000
_MAX_JUDGED = 64
_MAX_KNOWN = 10_000


class ClassifierMissing(Misconfigured):
    """A rule asks a classifier, and there is none here."""


class GuardRule(BaseModel):
    """One thing to look for, where, and what to do about it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][\w\-]{0,39}$", description="What results, headers and logs call the rule.")
    kind: Literal["regex", "words", "pii", "classifier"] = Field(description="How to look.")
    where: Literal["input", "output", "both"] = Field(default="both", description="In requests, in answers, or both.")
    action: Literal["block", "mask", "flag"] = Field(default="block", description="What to do with what is found.")
    subject: str = Field(
        default="*",
        max_length=200,
        pattern=r"^(\*|(key|user|team):.+)$",
        description="Everybody (*), or one key:<id>, user:<id> or team:<name>.",
    )
    model: str = Field(
        default="*", min_length=1, max_length=200, description="Models that it is about; * stands for any text."
    )
    patterns: tuple[str, ...] = Field(
        default=(), max_length=100, description="Regular expressions, in RE2's syntax. Matches are at most 256 bytes."
    )
    ignore_case: bool = Field(default=True, description="Whether the regular expressions ignore case.")
    words: tuple[str, ...] = Field(
        default=(), max_length=10_000, description="Words and phrases, in any case and in full or half width."
    )
    finds: tuple[PersonalData, ...] = Field(
        default=("email", "phone", "id_card", "card", "iban", "secret"), description="Kinds of personal data."
    )
    restore: bool = Field(
        default=False, description="Give clients what was masked in their request back where the answer repeats it."
    )
    classifier: str = Field(default="", max_length=200, description="Name of the served classifier to ask.")
    labels: tuple[str, ...] = Field(default=(), max_length=100, description="Labels of the classifier that count.")
    threshold: float = Field(default=0.8, ge=0, le=1, description="The least score of such a label.")

    @field_validator("words")
    @classmethod
    def _are_words(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        found = tuple(dict.fromkeys(word.strip() for word in words))
        if not all(found) or max(map(len, found), default=1) > 100:
            raise ValueError("words have 1 to 100 characters")
        return found

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.kind == "classifier" and not (self.classifier and self.labels):
            raise ValueError("a classifier rule needs a classifier and its labels")
        if self.kind == "classifier" and self.action == "mask":
            raise ValueError("a classifier says nothing about places, so it cannot mask")
        if not self.found and self.kind != "classifier":
            raise ValueError(f"a rule of the kind {self.kind} needs something to look for")
        return self

    @cached_property
    def found(self) -> tuple[Pattern, ...]:
        """What it looks for."""
        label = re.sub(r"[^A-Z]+", "_", self.name.upper()).strip("_") or "TEXT"
        if self.kind == "pii":
            return tuple(KINDS[kind] for kind in self.finds)
        if self.kind == "words" and self.words:
            return (word_list(self.words, label=label),)
        if self.kind != "regex":
            return ()
        flags = "i" if self.ignore_case else "-i"
        sources = [f"(?{flags}:{source})" for source in self.patterns]
        try:
            return tuple(Pattern(source, label=label, tail=beginnings(source)) for source in sources)
        except BadPattern as error:
            raise ValueError(error.message) from error

    def is_about(self, call: Call) -> bool:
        whom = Rule(subject=self.subject, each="workspace", model=self.model)
        return whom.fits(call.route.name) and bool(whom.counts(call.principal))


class GuardSettings(Settings):
    rules: tuple[GuardRule, ...] = Field(default=(), max_length=200, description="What to look for.")

    @field_validator("rules")
    @classmethod
    def _have_names_of_their_own(cls, rules: tuple[GuardRule, ...]) -> tuple[GuardRule, ...]:
        if len({rule.name for rule in rules}) < len(rules):
            raise ValueError("two rules have one name")
        return rules


@dataclass(frozen=True)
class _Side:
    """What is looked for in requests, or in answers."""

    rules: Rules
    judges: tuple[GuardRule, ...]

    def __bool__(self) -> bool:
        return bool(self.rules) or bool(self.judges)

    @classmethod
    def of(cls, rules: Sequence[GuardRule], where: str) -> "_Side":
        here = [rule for rule in rules if rule.where in (where, "both")]

        def all_that(action: str) -> list[tuple[str, Pattern]]:
            return [(rule.name, pattern) for rule in here if rule.action == action for pattern in rule.found]

        judges = tuple(rule for rule in here if rule.kind == "classifier")
        return cls(Rules(all_that("block"), all_that("mask"), all_that("flag")), judges)


@dataclass(frozen=True)
class _Plan:
    request: _Side
    answer: _Side
    restorable: frozenset[str]

    @classmethod
    def of(cls, rules: Sequence[GuardRule]) -> "_Plan":
        restorable = frozenset(rule.name for rule in rules if rule.restore and rule.action == "mask")
        return cls(_Side.of(rules, "input"), _Side.of(rules, "output"), restorable)


@policy("guard", order=40, settings=GuardSettings)
class Guard(Policy[GuardSettings]):
    """Rules for what people may ask and models may say. A streamed answer is held back no more than it must be."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self.found: Counter[str] = Counter()
        """How many requests and answers each rule has matched."""
        self._plans: dict[tuple[int, ...], _Plan] = {}
        self._known: dict[tuple[str, str, str], _Plan] = {}

    def configure(self, settings: GuardSettings) -> None:
        super().configure(settings)
        self._plans = {}  # after the rules, and before what is known of callers: requests come meanwhile
        self._known = {}

    @property
    def is_active(self) -> bool:
        return bool(self.settings.rules)

    async def around(self, call: Call, proceed: Proceed) -> Reply:
        plan = self._plan(call)
        if not (plan.request or plan.answer) or call.endpoint is Endpoint.MODERATIONS:
            return await proceed(call)
        placeholders = Placeholders(b"\n".join(map(bytes, call.fields.values())))
        if plan.request:
            await self._check_request(call, plan, placeholders)
        reply = await proceed(call)
        if call.endpoint not in _ANSWERS or not (plan.answer or placeholders.originals):
            return reply
        return await self._check_answer(call, plan.answer, placeholders, reply)

    async def moderate(self, texts: Sequence[str]) -> dict[str, Any]:
        """What the rules say of texts, as OpenAI's moderation does: each rule is a category of its own."""
        rules = self.settings.rules
        if sum(map(len, texts)) > _LARGE_BYTES:
            found = await asyncio.to_thread(_found_in, rules, texts)
        else:
            found = _found_in(rules, texts)
        return {"results": [await self._moderated(rules, *one) for one in zip(texts, found, strict=True)]}

    async def _moderated(self, rules: Sequence[GuardRule], text: str, found: Mapping[str, float]) -> dict[str, Any]:
        scores = {**dict.fromkeys(CATEGORIES, 0.0), **found}
        least: dict[str, float] = {}
        for rule in rules:
            if rule.kind == "classifier":
                scores[rule.name] = max(await self._score(rule, [text]), 0.0)
                least[rule.name] = rule.threshold
        categories = {name: score > 0 and score >= least.get(name, 1.0) for name, score in scores.items()}
        return {
            "flagged": any(categories.values()),
            "categories": categories,
            "category_scores": scores,
            "category_applied_input_types": {name: ["text"] for name in scores},
        }

    def _plan(self, call: Call) -> _Plan:
        who = call.principal
        place = (who.user_id, who.team, call.route.name)
        known, plans, rules = self._known, self._plans, self.settings.rules  # in this order: see `configure`
        plan = known.get(place)
        if plan is None:
            numbers = tuple(number for number, rule in enumerate(rules) if rule.is_about(call))
            plan = plans.get(numbers)
            if plan is None:
                plan = plans[numbers] = _Plan.of([rules[number] for number in numbers])
            if len(known) >= _MAX_KNOWN:
                known.clear()
                plans.clear()
            known[place] = plan
        return plan

    async def _check_request(self, call: Call, plan: _Plan, placeholders: Placeholders) -> None:
        texts = request_texts(plan.request.rules, placeholders, plan.restorable)
        members = [name for name in _CHECKED if name in call.fields]
        if len(call.body) > _LARGE_BYTES:
            found = await asyncio.to_thread(_passed, call, members, texts)
        else:
            found = _passed(call, members, texts)
        try:
            if not texts.blocked and plan.request.judges:
                texts.blocked = await self._judge(plan.request.judges, texts, texts.passed)
            if texts.blocked:
                raise filtered(texts.blocked, "request")
        finally:
            self._note(call, texts)
        for name, value in found.items():
            call.put(name, value)

    async def _check_answer(self, call: Call, side: _Side, placeholders: Placeholders, reply: Reply) -> Reply:
        texts = answer_texts(side.rules, placeholders)
        if reply.events is not None:
            return await self._check_events(call, side, texts, reply)
        if len(reply.body) > _LARGE_BYTES:
            body = await asyncio.to_thread(guarded_body, reply.body, texts)
        else:
            body = guarded_body(reply.body, texts)
        try:
            if not texts.blocked and side.judges:
                texts.blocked = await self._judge(side.judges, texts, texts.passed)
            if texts.blocked:
                raise filtered(texts.blocked, "answer")
        finally:
            self._note(call, texts)
        return reply if body is reply.body else msgspec.structs.replace(reply, body=body)

    async def _check_events(self, call: Call, side: _Side, texts: Texts, reply: Reply) -> Reply:
        assert reply.events is not None
        judge: Judge | None = functools.partial(self._judge, side.judges, texts) if side.judges else None
        events = Guarded(reply.events, texts, judge, done=lambda: self._note(call, texts))
        try:
            await events.begin()
        except BaseException:
            events.abort()
            raise
        return msgspec.structs.replace(reply, events=events)

    async def _judge(self, rules: Sequence[GuardRule], texts: Texts, spoken: Sequence[str]) -> str:
        """Which classifier rule blocks one of the texts; nothing if none does. Of long ones, the last count."""
        pieces = [
            text[start : start + _JUDGED_CHARACTERS]
            for text in spoken
            for start in range(0, len(text), _JUDGED_CHARACTERS)
            if text.strip()
        ][-_MAX_JUDGED:]
        for rule in rules:
            if pieces and await self._score(rule, pieces) >= rule.threshold:
                texts.found.add(rule.name)
                if rule.action == "block":
                    return rule.name
        return ""

    async def _score(self, rule: GuardRule, texts: Sequence[str]) -> float:
        """The highest score that one of the rule's labels has for a text; below any threshold if it has none."""
        classifier = self.surroundings.classifier
        if classifier is None:
            raise ClassifierMissing(f"The rule {rule.name!r} asks a classifier, and there is none here.")
        found = await classifier.labels(self.surroundings.workspace_id, rule.classifier, texts)
        return max((score for label, score in found if label in rule.labels), default=-1.0)

    def _note(self, call: Call, texts: Texts) -> None:
        found = sorted(texts.found | ({texts.blocked} if texts.blocked else set()))
        known: list[str] = call.notes.setdefault("guard", [])
        new = [name for name in found if name and name not in known]
        known += new
        self.found.update(new)


def _found_in(rules: Sequence[GuardRule], texts: Sequence[str]) -> list[dict[str, float]]:
    """What each text has of what the rules look for: 1 or 0 by the rule's name."""

    def found(data: bytes) -> dict[str, float]:
        return {rule.name: float(any(one.find(data, 0, len(data)) for one in rule.found)) for rule in rules}

    return [found(text.encode(errors="replace")) for text in texts]


def _passed(call: Call, members: Sequence[str], texts: Texts) -> dict[str, Any]:
    """The members of a request that change as they pass."""
    found: dict[str, Any] = {}
    for name in members:
        try:
            value = call.json(name)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        passed = texts.schema(value) if name in _SCHEMAS else texts.whole(value)
        if passed is not value:
            found[name] = passed
    return found
