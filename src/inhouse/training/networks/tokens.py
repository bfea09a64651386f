"""Conversations as tokens, and which of them are to be learned: what the assistant said, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inhouse.core.errors import Invalid
from inhouse.models.language.template import CHATML, ChatTemplate, load_template, template_source
from inhouse.models.language.vocabulary import Vocabulary, disarmed, read_json
from inhouse.training.conversations import Message, assistant


class TemplateMissing(Invalid):
    """The base does not say how conversations become text."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """One sequence. Those of `ids` are learned where `learn` says so."""

    id: str
    ids: list[int]
    learn: list[bool]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def targets(self) -> int:
        """How many tokens are predicted: the first one has nothing before it."""
        return sum(self.learn[1:])


class Reader:
    """Reads conversations as the model in a directory will when it is served: same template, same tokens."""

    def __init__(self, directory: Path, *, max_length: int, template: str = "own") -> None:
        self.vocabulary = Vocabulary(directory)
        self.max_length = max_length
        self.truncated = 0
        self._template = _template(directory, template)
        self._end = end_token(directory, self.vocabulary)

    def text(self, id: str, text: str) -> list[Tokens]:
        """Plain text, all of it to be learned."""
        ids = self.vocabulary.encode(text, start=True) + self._ending([])
        return self._kept(Tokens(id, ids, [True] * len(ids)))

    def conversation(self, id: str, messages: Sequence[Message]) -> list[Tokens]:
        """One sequence in which every turn of the assistant is learned.

        Where the template changes earlier turns as a conversation goes on, each turn is a sequence of its own.
        """
        turns = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
        text = self._render(messages[: turns[-1] + 1]) if turns else ""
        parts = [(self.prompt(messages[:turn]), self._render(messages[: turn + 1])) for turn in turns]
        if not all(text.startswith(prompt) and text.startswith(whole) for prompt, whole in parts):
            return [one for prompt, whole in parts for one in self._learned(id, whole, [(prompt, whole)])]
        return self._learned(id, text, parts)

    def answer(self, id: str, messages: Sequence[Message], answer: str) -> list[Tokens]:
        """A conversation of which only this last answer is learned."""
        whole = self._render([*messages, assistant(answer)])
        return self._learned(id, whole, [(self.prompt(messages), whole)])

    def prompt(self, messages: Sequence[Message]) -> str:
        """The text that the model continues with its answer."""
        return self._render(messages, add_generation_prompt=True)

    def _render(self, messages: Sequence[Message], **values: bool) -> str:
        return self._template.render(disarmed([dict(message) for message in messages], self.vocabulary), **values)

    def _learned(self, id: str, text: str, parts: Sequence[tuple[str, str]]) -> list[Tokens]:
        ids = self.vocabulary.encode(text)
        learn = [False] * len(ids)
        for prompt, whole in parts:
            start = _shared(ids, self.vocabulary.encode(prompt))
            end = len(ids) if whole == text else _shared(ids, self.vocabulary.encode(whole))
            learn[start:end] = [True] * (end - start)
        ending = self._ending([id for id, learned in zip(ids, learn, strict=True) if learned])
        return self._kept(Tokens(id, ids + ending, learn + [True] * len(ending)))

    def _ending(self, learned: Sequence[int]) -> list[int]:
        """The token that ends an answer, unless the template writes one: a model that never sees it never stops."""
        return [] if self._end is None or self._end in learned else [self._end]

    def _kept(self, tokens: Tokens) -> list[Tokens]:
        """The sequence as far as it is read; none where nothing to learn is left."""
        if len(tokens) > self.max_length:
            self.truncated += 1
            tokens = Tokens(tokens.id, tokens.ids[: self.max_length], tokens.learn[: self.max_length])
        return [tokens] if tokens.targets else []


def end_token(directory: Path, vocabulary: Vocabulary) -> int | None:
    """The token that ends a text, as the tokenizer's configuration has it."""
    named = read_json(directory / "tokenizer_config.json").get("eos_token")
    content = named.get("content") if isinstance(named, dict) else named
    return vocabulary.id(content) if content else None


def _template(directory: Path, wanted: str) -> ChatTemplate:
    if wanted == "chatml":
        return ChatTemplate(CHATML)
    if not template_source(directory):
        raise TemplateMissing(
            f"The base in {str(directory)!r} has no chat template: it does not say how conversations become text.",
            hint="Set chat_template to chatml, or add a chat_template.jinja to the base.",
        )
    return load_template(directory)


def _shared(ids: Sequence[int], others: Sequence[int]) -> int:
    """How many tokens two sequences begin with in common."""
    pairs = zip(ids, others, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(ids), len(others)))
