"""What an annotator may answer, by form of the rows, and what a dataset learns from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inhouse.core.errors import Invalid
from inhouse.data.examples import Example, Form

Answer = dict[str, Any]
"""`{label}` or `{labels}` for texts, `{spans}`, `{score}` for pairs, `{choice}` for preferences, `{good}` for ratings,
`{text}` for conversations."""

MAX_EDIT = 100_000


class BadAnswer(Invalid):
    """The answer is not one that this queue takes."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a queue asks about each row. No labels means: any."""

    form: Form
    labels: tuple[str, ...] = ()
    multiple: bool = False
    """Whether a text may have several labels, or none of them."""

    def check(self, example: Example, answer: Mapping[str, Any]) -> Answer:
        """Return the answer in its one canonical way, or raise `BadAnswer`."""
        return _CHECKS[self.form](self, example, answer)

    def _known(self, label: object) -> str:
        if not isinstance(label, str) or not label.strip():
            raise BadAnswer("A label is a text.", hint='Like {"label": "travel"}.')
        if self.labels and label not in self.labels:
            raise BadAnswer(f"This queue has no label {label!r}.", hint=f"It has: {', '.join(self.labels)}.")
        return label.strip()

    def _of_text(self, _example: Example, answer: Mapping[str, Any]) -> Answer:
        if not self.multiple:
            return {"label": self._known(answer.get("label"))}
        labels = answer.get("labels")
        if not isinstance(labels, Sequence) or isinstance(labels, str):
            raise BadAnswer("This queue asks for several labels.", hint='Like {"labels": ["travel", "expenses"]}.')
        return {"labels": sorted({self._known(label) for label in labels})}

    def _of_spans(self, example: Example, answer: Mapping[str, Any]) -> Answer:
        spans = answer.get("spans")
        if not isinstance(spans, Sequence) or isinstance(spans, str):
            raise BadAnswer(
                "This queue asks for spans.", hint='Like {"spans": [{"start": 0, "end": 4, "label": "x"}]}.'
            )
        return {"spans": sorted((self._span(example, span) for span in spans), key=lambda span: tuple(span.values()))}

    def _span(self, example: Example, span: object) -> dict[str, Any]:
        found = span if isinstance(span, Mapping) else {}
        start, end = found.get("start"), found.get("end")
        if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(example.text):
            raise BadAnswer(
                f"The span {span!r} is not within the text of {len(example.text)} characters.",
                hint="`start` counts from 0, `end` is the first character after it.",
            )
        return {"start": start, "end": end, "label": self._known(found.get("label"))}

    def _of_pair(self, _example: Example, answer: Mapping[str, Any]) -> Answer:
        score = answer.get("score")
        if not isinstance(score, int | float) or not 0 <= score <= 1:
            raise BadAnswer("How alike the two texts are is a number from 0 to 1.", hint='Like {"score": 1}.')
        return {"score": float(score)}

    def _of_preference(self, _example: Example, answer: Mapping[str, Any]) -> Answer:
        if answer.get("choice") not in ("first", "second", "tie"):
            raise BadAnswer("Say which answer is better.", hint='{"choice": "first"}, "second" or "tie".')
        return {"choice": answer["choice"]}

    def _of_rating(self, _example: Example, answer: Mapping[str, Any]) -> Answer:
        if not isinstance(answer.get("good"), bool):
            raise BadAnswer("Say whether the answer is good.", hint='{"good": true} or {"good": false}.')
        return {"good": answer["good"]}

    def _of_chat(self, _example: Example, answer: Mapping[str, Any]) -> Answer:
        text = answer.get("text")
        if not isinstance(text, str) or not text.strip() or len(text) > MAX_EDIT:
            raise BadAnswer(
                f"The answer to learn is a text of up to {MAX_EDIT:,} characters.", hint='Like {"text": "…"}.'
            )
        return {"text": text.strip()}


_CHECKS: dict[Form, Callable[[Question, Example, Mapping[str, Any]], Answer]] = {
    Form.TEXT: Question._of_text,
    Form.SPANS: Question._of_spans,
    Form.PAIR: Question._of_pair,
    Form.PREFERENCE: Question._of_preference,
    Form.RATING: Question._of_rating,
    Form.CHAT: Question._of_chat,
}
LABELLED = tuple(_CHECKS)
"""The forms that people can label."""


def check_task(form: Form, example: Example) -> None:
    """Raise `BadAnswer` unless the row has what an annotator needs to see."""
    needed = {
        Form.PAIR: ("other",),
        Form.PREFERENCE: ("messages", "answers"),
        Form.RATING: ("messages", "answer"),
        Form.CHAT: ("messages",),
    }.get(form, ())
    missing = [name for name in needed if name not in example.content]
    if not example.text.strip() or missing:
        raise BadAnswer(
            f"The row {example.text[:40]!r} cannot be labelled: it has no {' or '.join(missing) or 'text'}.",
            hint=f"A row to label as {form} needs `text`" + "".join(f", `content.{name}`" for name in needed) + ".",
        )
    answers = example.content.get("answers")
    if form == Form.PREFERENCE and not (isinstance(answers, list) and len(answers) == 2):
        raise BadAnswer("A preference is between two answers.", hint='Give `content.answers` as ["…", "…"].')


def teach(question: Question, task: Example, answer: Answer, *, source: str) -> Example | None:
    """The row that the answer makes, or None where it teaches nothing: a tie, or no label at all."""
    row = {"meta": task.meta, "user": task.user, "source": source}
    given = {name: value for name, value in task.content.items() if name not in ("answers", "answer", "labels")}
    match question.form:
        case Form.TEXT if question.multiple:
            labels = answer["labels"]
            return Example(task.text, labels[0], content={"labels": labels}, **row) if labels else None
        case Form.TEXT:
            return Example(task.text, answer["label"], **row)
        case Form.SPANS:
            return Example(task.text, content={"spans": answer["spans"]}, **row)
        case Form.PAIR:
            return Example(task.text, content={**given, "score": answer["score"]}, **row)
        case Form.PREFERENCE:
            if answer["choice"] == "tie":
                return None
            first, second = task.content["answers"]
            better, worse = (first, second) if answer["choice"] == "first" else (second, first)
            return Example(task.text, content={**given, "chosen": better, "rejected": worse}, **row)
        case Form.RATING:
            content = {**given, "answer": task.content["answer"], "good": answer["good"]}
            return Example(task.text, content=content, **row)
        case _:
            reply = {"role": "assistant", "content": answer["text"]}
            return Example(task.text, content={**given, "messages": [*task.content["messages"], reply]}, **row)


def guess(question: Question, output: Mapping[str, Any], threshold: float = 0.5) -> tuple[Answer, float] | None:
    """What a model's output means as an answer, and how unsure it is (0 to 1); None where it is of another form."""
    if question.form == Form.TEXT and (scores := output.get("scores")):
        if question.multiple:
            unsure = sum(1 - abs(2 * p - 1) for p in scores.values()) / len(scores)
            chosen = output.get("labels") or [label for label, p in scores.items() if p >= threshold]
            return {"labels": sorted(chosen)}, unsure
        best = max(scores, key=scores.__getitem__)
        return {"label": best}, 1 - scores[best]
    if question.form == Form.SPANS and "spans" in output:
        spans = [{name: span[name] for name in ("start", "end", "label")} for span in output["spans"]]
        return {"spans": spans}, 1 - min((span["score"] for span in output["spans"]), default=0.5)
    if question.form == Form.PAIR and "score" in output:
        return {"score": float(output["score"] >= threshold)}, 1 - abs(2 * output["score"] - 1)
    return None
