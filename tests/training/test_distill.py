"""Small classifiers that learn from large ones, through the child process."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.conftest import Prepare, write_jsonl
from tests.training.test_classify import QUICK, dataset, failure, manifest, predicted, rows
from transformers import BertForSequenceClassification

from inhouse.testing.encoders import tiny_encoder, tiny_reranker
from inhouse.training.child import FINISHED, main


@pytest.fixture
def teacher(prepare: Prepare, tmp_path: Path) -> str:
    """A version that was tuned on an encoder."""
    base = str(tiny_encoder(tmp_path / "encoder", pooling="mean_tokens"))
    spec = dataset(prepare("teacher", config={"base": base, "effort": "instant", **QUICK}))
    assert main(spec) == FINISHED
    return str(spec.parent / "artifact")


def distilled(prepare: Prepare, teacher: str, **config: Any) -> Path:
    """A run whose training rows have lost every second label."""
    spec = dataset(prepare("student", recipe="distill", config={"teacher": teacher, **config}))
    bare = [row if number % 2 else {**row, "label": ""} for number, row in enumerate(rows("train"))]
    write_jsonl(spec.parent / "dataset" / "train.jsonl", bare)
    return spec


@pytest.mark.parametrize("config", [{"epochs": 30}, {"layers": 1, "epochs": 30, "learning_rate": 2e-3}])
def test_a_student_learns_from_rows_without_labels_and_is_served(
    prepare: Prepare, teacher: str, config: dict[str, Any]
):
    spec = distilled(prepare, teacher, dropout=0, **config)

    assert main(spec) == FINISHED

    said = [max(scores, key=scores.__getitem__) for scores in predicted(spec, ["how many leave days", "vpn password"])]
    assert said == ["leave", "login"]
    assert manifest(spec)["labels"] == ["leave", "login"]


def test_a_classifier_of_hugging_face_teaches_its_labels(prepare: Prepare, tmp_path: Path):
    directory = tiny_reranker(tmp_path / "foreign", labels=2)
    network = BertForSequenceClassification.from_pretrained(directory)
    network.config.id2label = {0: "leave", 1: "login"}
    network.save_pretrained(directory)

    spec = distilled(prepare, str(directory), layers=1, epochs=1)

    assert main(spec) == FINISHED
    assert manifest(spec)["labels"] == ["leave", "login"]


def test_a_teacher_without_labels_is_refused(prepare: Prepare, tmp_path: Path):
    last = failure(distilled(prepare, str(tiny_encoder(tmp_path / "bare"))))

    assert last["code"] == "no_teacher"


def test_a_label_that_the_teacher_does_not_know_is_named(prepare: Prepare, teacher: str):
    spec = distilled(prepare, teacher)
    extra = [*rows("train"), {"id": "x", "text": "x", "label": "parking", "source": "import"}]
    write_jsonl(spec.parent / "dataset" / "train.jsonl", extra)

    assert "'parking'" in failure(spec)["message"]


def test_more_layers_than_the_teacher_has_are_refused(prepare: Prepare, teacher: str):
    assert "2 layers" in failure(distilled(prepare, teacher, layers=3))["message"]


def test_the_teachers_share_decides_what_counts(prepare: Prepare):
    from inhouse.training.networks.distillation import Softened
    from inhouse.training.networks.objectives import OneLabel

    logits, soft = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.5, 0.5]])
    batch = {"target": torch.tensor([0]), "soft": soft}
    losses = [Softened(OneLabel(0.0), 1.0, share).losses(logits, batch).item() for share in (0.0, 0.5, 1.0)]

    assert losses[0] < losses[1] < losses[2]
    assert losses[1] == pytest.approx((losses[0] + losses[2]) / 2)
