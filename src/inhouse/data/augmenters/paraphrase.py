"""Rows said differently, by a language model or by one that was trained to."""

import asyncio
import re
from collections.abc import Iterator

from pydantic import Field

from inhouse.core.errors import InhouseError
from inhouse.data.augmenter import Augmenter, BadAugmentation, Made, Order, Written, augmenter
from inhouse.data.examples import Example, Form, normalise

_AT_ONCE = 4
_HOPELESS = 5
_NUMBERED = re.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.):、]\)?)\s*")
_QUOTES = "\"'“”‘’「」"
_LONGEST = 500
_TASK = (
    "Write {count} different ways in which a user might say the same as the text below: same meaning, same language, "
    "other words. One per line, nothing else.{style}"
)


@augmenter("paraphrase")
class Paraphrase(Augmenter):
    """A language model of the gateway is asked for other ways to say what a row says."""

    forms = (Form.TEXT, Form.PAIR)
    most = 1000

    model: str = Field(min_length=1, max_length=200)
    per_row: int = Field(default=3, ge=1, le=10)
    temperature: float = Field(default=0.9, ge=0, le=2)
    style: str = Field(default="", max_length=500)

    async def make(self, order: Order) -> Made:
        writer = order.write_with()
        rows = order.chance.sample(list(order.rows), min(len(order.rows), -(-order.count // self.per_row)))
        made = Made()
        first_error: InhouseError | None = None
        answered = 0
        for start in range(0, len(rows), _AT_ONCE):
            asked = rows[start : start + _AT_ONCE]
            answers = await asyncio.gather(
                *(
                    writer.write(
                        order.principal,
                        self.model,
                        self._messages(row.text),
                        temperature=self.temperature,
                        max_tokens=64 + self.per_row * (16 + 2 * len(row.text)),
                    )
                    for row in asked
                ),
                return_exceptions=True,
            )
            for row, answer in zip(asked, answers, strict=True):
                if isinstance(answer, InhouseError):
                    made.failed += 1
                    first_error = first_error or answer
                elif isinstance(answer, BaseException):
                    raise answer
                else:
                    answered += 1
                    self._take(made, row, answer)
            if first_error is not None and not answered and made.failed >= min(_HOPELESS, len(rows)):
                raise BadAugmentation(
                    f"{self.model!r} wrote nothing: {first_error.message}", hint=first_error.hint
                ) from first_error
        made.rows = made.rows[: order.count]
        return made

    def _take(self, made: Made, row: Example, answer: Written) -> None:
        made.tokens += answer.tokens
        if answer.cost is not None:
            made.cost = (made.cost or 0.0) + answer.cost
        others = list(_said(answer.text, row.text))[: self.per_row]
        made.rows += [self.derived(row, text) for text in others]

    def _messages(self, text: str) -> list[dict[str, str]]:
        style = f" {self.style.strip()}" if self.style.strip() else ""
        task = _TASK.format(count=self.per_row, style=style)
        return [{"role": "system", "content": task}, {"role": "user", "content": text}]


@augmenter("generate")
class Generate(Paraphrase):
    """A model trained for it (recipe preset `generate`) writes similar questions; it is told nothing but the row."""

    def _messages(self, text: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": text}]


def _said(answer: str, original: str) -> Iterator[str]:
    """The lines of an answer that are another way to say it."""
    seen = {normalise(original)}
    for line in answer.splitlines():
        text = _NUMBERED.sub("", line).strip().strip(_QUOTES).strip()
        if text and normalise(text) not in seen and len(text) <= max(_LONGEST, 3 * len(original)):
            seen.add(normalise(text))
            yield text
