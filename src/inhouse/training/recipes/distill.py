"""Let a small model learn from what a large one says."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pydantic import Field

from inhouse.data.examples import Form
from inhouse.training.recipe import Looped, recipe

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from inhouse.training.dataset import Splits
    from inhouse.training.networks.distillation import Teacher
    from inhouse.training.networks.encoded import Encoded
    from inhouse.training.networks.supervised import Lesson
    from inhouse.training.networks.vector_classifier import VectorClassifier
    from inhouse.training.task import Task

Number = TypeVar("Number", int, float)


@recipe("distill")
class Distill(Looped):
    """Train a small classifier on a large one's opinion of every row, labelled or not; or a small language model."""

    forms = (Form.TEXT, Form.CHAT)

    teacher: str = Field(min_length=1)
    base: str | None = None
    layers: int | None = Field(default=None, ge=1, le=100)
    temperature: float = Field(default=2.0, gt=0, le=100)
    teacher_share: float = Field(default=0.7, ge=0, le=1)
    unknown_label: str = Field(default="oos", max_length=200)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    dropout: float | None = Field(default=None, ge=0, lt=1)
    freeze_embeddings: bool = True
    max_length: int = Field(default=256, ge=8, le=8192)

    def prepare(self, splits: Splits, *, seed: int) -> Task[Encoded] | Task[Lesson]:
        return self._talks(splits, seed) if splits.form is Form.CHAT else self._labels(splits, seed)

    def _talks(self, splits: Splits, seed: int) -> Task[Lesson]:
        from inhouse.training.language import Wanted
        from inhouse.training.networks.lm_distillation import distil

        plan = self.plan(seed, epochs=3, batch_size=8, learning_rate=2e-5 if self.base else 1e-3)
        wanted = Wanted(base=self.base, method="full", max_length=self.max_length, precision=self.precision)
        share = {"temperature": self.temperature, "teacher_share": self.teacher_share}
        return distil(splits, plan, wanted, teacher=self.teacher, seed=seed, **share)

    def _labels(self, splits: Splits, seed: int) -> Task[Encoded]:
        import torch

        from inhouse.training.networks.classification import Classification
        from inhouse.training.networks.classifier import Classifier
        from inhouse.training.networks.distillation import Softened, open_teacher, rows_for, taught
        from inhouse.training.networks.encoded import encoded
        from inhouse.training.networks.objectives import OneLabel

        torch.manual_seed(seed)
        teacher = open_teacher(self.teacher, max_length=self.max_length)
        rows, bare = rows_for(splits, teacher.labels, unknown_label=self.unknown_label)
        learned = [*rows.inside.train, *rows.outside.train, *bare]
        network, tokenizer = self._student(teacher, [row.text for row in learned])
        objective = Softened(OneLabel(self.label_smoothing), self.temperature, self.teacher_share)
        train = taught(
            encoded(learned, rows, tokenizer, objective),
            [row.text for row in learned],
            teacher,
            temperature=self.temperature,
        )
        dev = encoded(rows.inside.dev, rows, tokenizer, objective)
        is_new = self.base is None and self.layers is None
        plan = self.plan(seed, epochs=12 if is_new else 4, batch_size=64, learning_rate=1e-2 if is_new else 3e-4)
        return Classification(plan, Classifier(network, tokenizer, rows), objective, train=train, dev=dev)

    def _student(self, teacher: Teacher, texts: list[str]) -> tuple[VectorClassifier, Tokenizer]:
        from inhouse.training.networks.beginning import from_scratch, on_encoder
        from inhouse.training.networks.distillation import on_layers

        labels = len(teacher.labels)
        if self.base:
            return on_encoder(
                self.base,
                labels,
                max_length=self.max_length,
                dropout=_or(self.dropout, 0.1),
                pooling=None,
                freeze_embeddings=self.freeze_embeddings,
                head_learning_rate=None,
            )
        if self.layers:
            return on_layers(
                teacher,
                self.layers,
                max_length=self.max_length,
                dropout=_or(self.dropout, 0.1),
                freeze_embeddings=self.freeze_embeddings,
            )
        return from_scratch(texts, labels, max_length=self.max_length, dropout=_or(self.dropout, 0.3))


def _or(chosen: Number | None, default: Number) -> Number:
    return default if chosen is None else chosen
