"""A small language model learns from a large one: from its opinion of every token, or from the answers it writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from inhouse.models.language.template import template_source
from inhouse.training.conversations import Message, assistant, messages_of
from inhouse.training.dataset import Row, Splits
from inhouse.training.language import Wanted
from inhouse.training.networks.bases import resolve_base
from inhouse.training.networks.causal import Causal, longest_for, open_causal
from inhouse.training.networks.packing import IGNORED
from inhouse.training.networks.student import Student, open_student
from inhouse.training.networks.supervised import Lesson, Supervised
from inhouse.training.networks.tokens import Reader
from inhouse.training.networks.writing import write
from inhouse.training.precision import number_type
from inhouse.training.ranks import own_device
from inhouse.training.task import Batch, Plan, Task

ANSWER_TOKENS = 256
WRITTEN_AT_ONCE = 16


def distil(
    splits: Splits, plan: Plan, wanted: Wanted, *, teacher: str, temperature: float, teacher_share: float, seed: int
) -> Task[Lesson]:
    """What the loop trains, of rows of the form chat.

    A student with the teacher's tokens learns from its logits; one from scratch is given them. A base with other tokens
    learns from answers that the teacher writes to the questions of the training rows.
    """
    directory = resolve_base(teacher)
    model: Any = open_causal(directory, dtype=number_type(wanted.precision, own_device()))
    model.requires_grad_(False).to(own_device())
    student = open_student(wanted, (), seed=seed, like=directory)
    if _reads_alike(student.base, directory):
        share = {"temperature": temperature, "teacher_share": teacher_share}
        return Distillation(wanted, plan, splits, student, teacher=Causal(model), **share)
    template = "own" if template_source(directory) else "chatml"
    reader = Reader(directory, max_length=longest_for(model, wanted.max_length), template=template)
    taught = replace(splits, train=_answered(splits.train, model, reader, tokens=min(ANSWER_TOKENS, wanted.max_length)))
    return Supervised(wanted, plan, taught, student)


class Distillation(Supervised):
    """Learns what the assistant said, and what the teacher would have said at every token of it."""

    def __init__(
        self,
        wanted: Wanted,
        plan: Plan,
        splits: Splits,
        student: Student,
        *,
        teacher: Causal,
        temperature: float,
        teacher_share: float,
    ) -> None:
        super().__init__(wanted, plan, splits, student)
        self._teacher = teacher
        self._temperature = temperature
        self._share = teacher_share

    def loss(self, batch: Batch) -> Tensor:
        student_NV = self.network.logits(batch).float()
        with torch.no_grad():
            teacher_NV = self._teacher.logits(batch).float()
        target_N = batch["targets"][batch["targets"] != IGNORED]
        far = divergence(student_NV, teacher_NV, self._temperature)
        return (1 - self._share) * F.cross_entropy(student_NV, target_N) + self._share * far


def divergence(student_NV: Tensor, teacher_NV: Tensor, temperature: float) -> Tensor:
    """How far the student is from the teacher: KL of the softened probabilities (Hinton et al. 2015), by token.

    Models of one family fill up their vocabularies differently: only the words of both are compared.
    """
    words = min(student_NV.shape[-1], teacher_NV.shape[-1])
    student_NV, teacher_NV = (one[:, :words] / temperature for one in (student_NV, teacher_NV))
    found = F.kl_div(student_NV.log_softmax(-1), teacher_NV.log_softmax(-1), reduction="batchmean", log_target=True)
    return temperature**2 * found


def _reads_alike(student: Path, teacher: Path) -> bool:
    """Whether both turn the same text into the same tokens."""
    return (student / "tokenizer.json").read_bytes() == (teacher / "tokenizer.json").read_bytes()


def _answered(rows: Sequence[Row], model: object, reader: Reader, *, tokens: int) -> list[Row]:
    """The rows with the teacher's answers in place of the last ones."""
    talks = [_question(row) for row in rows]
    parts = [talks[start : start + WRITTEN_AT_ONCE] for start in range(0, len(talks), WRITTEN_AT_ONCE)]
    answers = [answer for part in parts for answer in write(model, reader, part, tokens=tokens)]
    told = zip(rows, talks, answers, strict=True)
    return [replace(row, content={"messages": [*talk, assistant(answer)]}) for row, talk, answer in told if answer]


def _question(row: Row) -> list[Message]:
    messages = messages_of(row)
    last = max((number for number, one in enumerate(messages) if one["role"] == "assistant"), default=len(messages))
    return messages[:last]
