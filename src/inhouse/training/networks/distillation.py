"""A small classifier that learns what a large one says, on rows with labels and without."""

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import cast

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from inhouse.core.errors import Invalid
from inhouse.training.dataset import NotTrainable, Row, Splits
from inhouse.training.labels import Labelled, labelled
from inhouse.training.networks.bases import resolve_base
from inhouse.training.networks.encoded import Encoded
from inhouse.training.networks.encoder_classifier import EncoderClassifier, Pooling
from inhouse.training.networks.network import Network, outputs_of
from inhouse.training.networks.objectives import OUTSIDE, Objective
from inhouse.training.networks.open import MANIFEST, open_network
from inhouse.training.networks.pretrained import Pretrained, longest_of, open_with_head
from inhouse.training.task import Batch, Judged

POOLING: Pooling = "cls"
"""The classifiers of transformers mostly read the first token."""


class NoTeacher(Invalid):
    """What is given as teacher cannot teach this."""


@dataclass(frozen=True, slots=True)
class Teacher:
    """A trained classifier: the labels that it knows, in the order of its logits."""

    network: Network
    tokenizer: Tokenizer
    labels: list[str]

    def logits(self, texts: Sequence[str]) -> Tensor:
        return outputs_of(self.network, self.tokenizer, texts)


def open_teacher(directory: str, *, max_length: int) -> Teacher:
    """A version of a classifier, or a Hugging Face directory that holds one."""
    path = resolve_base(directory)
    if not (path / MANIFEST).is_file():
        return _hugging_face(directory, max_length)
    opened = open_network(path)
    kind, settings = opened.manifest["kind"], opened.manifest.get("settings", {})
    if kind != "classify" or settings.get("multi_label"):
        what = "knows several labels a text" if kind == "classify" else f"is of the kind {kind!r}"
        raise NoTeacher(f"The teacher in {directory!r} {what}.", hint="Give a classifier of one label a text.")
    return Teacher(opened.network, opened.tokenizer, opened.manifest["labels"])


def _hugging_face(directory: str, max_length: int) -> Teacher:
    about = json.loads((resolve_base(directory) / "config.json").read_bytes())
    if not any("SequenceClassification" in name for name in about.get("architectures") or []):
        raise NoTeacher(
            f"The model in {directory!r} has no labels to teach.",
            hint="Give the directory of a classifier: a version of this platform, or one of Hugging Face.",
        )
    names = {int(number): name for number, name in about.get("id2label", {0: "LABEL_0", 1: "LABEL_1"}).items()}
    model, fast = open_with_head(AutoModelForSequenceClassification, directory, labels=len(names))
    tokenizer: Tokenizer = fast.backend_tokenizer
    tokenizer.enable_truncation(longest_of(model, fast, max_length))
    pad = fast.pad_token if isinstance(fast.pad_token, str) else "[PAD]"
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id(pad) or 0, pad_token=pad)
    return Teacher(Pretrained(model, fast), tokenizer, [names[number] for number in sorted(names)])


def rows_for(splits: Splits, labels: Sequence[str], *, unknown_label: str) -> tuple[Labelled, list[Row]]:
    """The rows by label, the labels being the teacher's; and the rows without any, for the teacher to name."""
    if not splits.train:
        raise NotTrainable("There are no rows to learn from.", hint="Add rows; they need no labels.")
    bare = [row for row in splits.train if not row.label]
    rows = labelled(replace(splits, train=[row for row in splits.train if row.label]), unknown_label=unknown_label)
    if rows.several:
        raise NotTrainable("The rows have several labels a text.", hint="Distil with one label a text, or with none.")
    known = set(labels)
    every = (*rows.inside.train, *rows.inside.dev, *rows.inside.test)
    if strange := next((row.label for row in every if row.label not in known), ""):
        raise NotTrainable(f"The teacher does not know the label {strange!r}.", hint="It knows: " + ", ".join(labels))
    return replace(rows, names=list(labels)), bare


def on_layers(
    teacher: Teacher, layers: int, *, max_length: int, dropout: float, freeze_embeddings: bool
) -> tuple[EncoderClassifier, Tokenizer]:
    """A student made of some layers of the teacher, the first and the last among them, with the teacher's tokenizer."""
    network = teacher.network
    if isinstance(network, EncoderClassifier):
        encoder, pooling, normalise = network.encoder, network.pooling, network.normalise
    elif isinstance(network, Pretrained):
        encoder, pooling, normalise = cast("PreTrainedModel", network.model.base_model), POOLING, False
    else:
        raise NoTeacher("The teacher has no encoder to take layers from.", hint="Leave layers empty.")
    student = EncoderClassifier(
        _thinned(encoder, layers),
        len(teacher.labels),
        dropout=dropout,
        pooling=pooling,
        normalise=normalise,
        freeze_embeddings=freeze_embeddings,
    )
    if isinstance(network, EncoderClassifier):
        student.head.load_state_dict(network.head.state_dict())
    tokenizer = Tokenizer.from_str(teacher.tokenizer.to_str())
    tokenizer.enable_truncation(min(max_length, (tokenizer.truncation or {}).get("max_length", max_length)))
    return student, tokenizer


def _thinned(encoder: PreTrainedModel, layers: int) -> PreTrainedModel:
    student = deepcopy(encoder)
    depth: int = student.config.num_hidden_layers
    stack = next((m for m in student.modules() if isinstance(m, nn.ModuleList) and len(m) == depth), None)
    if stack is None or layers > depth:
        raise NoTeacher(f"The teacher has {depth} layers, {layers} cannot be taken from it.", hint="Take fewer layers.")
    kept = {round(place * (depth - 1) / max(layers - 1, 1)) for place in range(layers)}
    for place in reversed(range(depth)):
        if place not in kept:
            del stack[place]
    student.config.num_hidden_layers = layers
    return student


@dataclass(frozen=True, slots=True)
class Softened:
    """An objective of which the teacher's opinion is the other part. `share` is the teacher's."""

    objective: Objective
    temperature: float
    share: float

    def target(self, numbers: Sequence[int]) -> int | list[float]:
        return self.objective.target(numbers)

    def members(self, targets: Tensor, labels: int) -> Tensor:
        return self.objective.members(targets, labels)

    def losses(self, logits: Tensor, batch: Batch) -> Tensor:
        """The teacher's part weighs the square of the temperature, by which its gradients are smaller."""
        said = F.log_softmax(logits.float() / self.temperature, -1)
        soft = self.temperature**2 * F.kl_div(said, batch["soft"], reduction="none").sum(-1)
        has_label = batch["target"] != OUTSIDE
        hard = torch.where(has_label, self.objective.losses(logits, batch), 0.0)
        return torch.where(has_label, self.share * soft + (1 - self.share) * hard, soft)

    def judge(self, logits: Tensor, batch: Batch) -> Judged:
        return self.objective.judge(logits, batch)


def taught(items: Sequence[Encoded], texts: Sequence[str], teacher: Teacher, *, temperature: float) -> list[Encoded]:
    """The items with what the teacher says of their texts."""
    said = F.softmax(teacher.logits(texts) / temperature, -1)
    return [replace(item, soft=soft) for item, soft in zip(items, said, strict=True)]
