"""Answers that must fit a JSON schema: which tokens may come next.

The grammar engine is llguidance; nothing else knows that it exists.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from inhouse.serving.lm.request import BadParameter

if TYPE_CHECKING:
    from inhouse.models.language.vocabulary import Vocabulary

MOST_BYTES, MOST_DEPTH = 64 << 10, 32
_LIMITS = {
    "max_items_in_row": 1000,
    "initial_lexer_fuel": 200_000,
    "step_lexer_fuel": 100_000,
    "step_max_items": 25_000,
    "max_lexer_states": 50_000,
    "max_grammar_size": 50_000,
    "verbose_errors": False,
}
_OPTIONS = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class Constraints:
    """Makes constraints for one model. Preparing its vocabulary takes a moment, so it is done once, on first use."""

    def __init__(self, vocabulary: "Vocabulary", *, scores: int, ends: Sequence[int]) -> None:
        self._tokenizer = LLTokenizer(vocabulary.document, n_vocab=max(scores, vocabulary.size), eos_token=list(ends))
        self._scores = scores
        self._limits = LLParserLimits(**_LIMITS)

    def for_schema(self, schema: Any, *, param: str) -> "Constraint":
        """An answer that is JSON and fits the schema; `True` stands for any object."""
        _check_size(schema, param)
        described = {"type": "object"} if schema is True else schema
        grammar = LLMatcher.grammar_from_json_schema(json.dumps(described), overrides=_OPTIONS)  # pyright: ignore
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0, limits=self._limits)
        if matcher.is_error():
            raise BadParameter(param, f"The JSON schema cannot be used: {_reason(matcher)}")
        return Constraint(matcher, self._scores)

    def for_calls(self, tools: Sequence[Mapping[str, Any]], names: Sequence[str]) -> "Constraint":
        """A call of one of the named functions, as JSON: its name and arguments."""
        calls = [_call(tool) for tool in tools if tool["name"] in names]
        definitions = {name: schema for call in calls for name, schema in call.pop("$defs", {}).items()}
        schema: dict[str, Any] = calls[0] if len(calls) == 1 else {"anyOf": calls}
        return self.for_schema({**schema, "$defs": definitions} if definitions else schema, param="tools")


def _call(tool: Mapping[str, Any]) -> dict[str, Any]:
    parameters = dict(tool.get("parameters") or {"type": "object", "properties": {}, "additionalProperties": False})
    definitions = parameters.pop("$defs", {})
    call: dict[str, Any] = {
        "type": "object",
        "properties": {"name": {"const": tool["name"]}, "arguments": {"type": "object", **parameters}},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }
    return {**call, "$defs": definitions} if definitions else call


class Constraint:
    """Where one answer stands in its grammar."""

    def __init__(self, matcher: LLMatcher, scores: int) -> None:
        self._matcher = matcher
        self._scores = scores

    def allowed(self) -> np.ndarray:
        """Which tokens may come next: one boolean for each score."""
        return np.frombuffer(self._matcher.compute_logit_bias(), dtype=np.uint8)[: self._scores] != 0

    def accept(self, id: int) -> None:
        """Go on with a token that was allowed."""
        if not self._matcher.consume_token(id):
            raise BadParameter("response_format", f"The answer cannot follow the JSON schema: {_reason(self._matcher)}")

    @property
    def is_done(self) -> bool:
        """Whether the answer is complete and nothing can follow."""
        return self._matcher.is_stopped()

    def copy(self) -> "Constraint":
        return Constraint(self._matcher.deep_copy(), self._scores)


def _check_size(schema: Any, param: str) -> None:
    """Refuse what is too large or too deep before anything walks it by recursion."""
    level, depth, nodes = [schema], 0, 0
    while level:
        nodes += len(level)
        depth += 1
        if depth > MOST_DEPTH or nodes > 10_000:
            limit = f"{MOST_DEPTH} levels" if depth > MOST_DEPTH else "10000 parts"
            raise BadParameter(param, f"The JSON schema has more than {limit}.")
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
    if len(json.dumps(schema)) > MOST_BYTES:
        raise BadParameter(param, f"The JSON schema has more than {MOST_BYTES} bytes.")


def _reason(matcher: LLMatcher) -> str:
    return matcher.get_error().strip().split("\n")[0][:300] or "it is too complex."
