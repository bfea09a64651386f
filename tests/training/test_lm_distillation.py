import math
from pathlib import Path
from typing import Any

import pytest
import torch

from inhouse.data.examples import Form
from inhouse.testing.language import tiny_language_model
from inhouse.training.checkpoint import Checkpoints
from inhouse.training.dataset import Row, Splits
from inhouse.training.language import Wanted
from inhouse.training.loop import Loop
from inhouse.training.networks.lm_distillation import Distillation, distil, divergence
from inhouse.training.networks.supervised import Supervised
from inhouse.training.task import Plan

SETTINGS: dict[str, Any] = {"temperature": 2.0, "teacher_share": 1.0, "seed": 0}
PLAN = Plan(epochs=2, batch_size=4, learning_rate=1e-2, precision="fp32")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_language_model(tmp_path_factory.mktemp("models") / "teacher")


@pytest.fixture(scope="module")
def splits() -> Splits:
    talk = [{"role": "user", "content": "How many days?"}, {"role": "assistant", "content": "Ten days a year."}]
    return Splits([Row(str(number), "", "", content={"messages": talk}) for number in range(4)], [], [], Form.CHAT)


def wanted(**settings: Any) -> Wanted:
    return Wanted(method="full", max_length=128, precision="fp32", samples=0, **settings)


def test_divergence_is_the_published_formula() -> None:
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 0.0]])
    p = 1 / (1 + math.exp(-1))  # softened by 2

    far = divergence(student, teacher, 2.0).item()

    assert far == pytest.approx(4 * (p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5)))


def test_a_student_from_scratch_gets_the_teachers_tokens_and_comes_closer(
    teacher: Path, splits: Splits, tmp_path: Path
) -> None:
    task = distil(splits, PLAN, wanted(), teacher=str(teacher), **SETTINGS)
    assert isinstance(task, Distillation)
    batch = task.collate(task.train)
    before = task.loss(batch).item()

    loop = Loop(
        task,
        checkpoints=Checkpoints(tmp_path),
        checkpoint_every_s=1000,
        emit=lambda *_, **__: None,
        should_stop=lambda: False,
    )
    loop.run()

    assert task.loss(batch).item() < before


def test_a_base_with_other_tokens_learns_what_the_teacher_writes(teacher: Path, splits: Splits, tmp_path: Path) -> None:
    base = tiny_language_model(tmp_path / "base", texts=["other words altogether"])

    task = distil(splits, PLAN, wanted(base=str(base)), teacher=str(teacher), **SETTINGS)

    assert type(task) is Supervised
    assert task.splits.train[0].content["messages"][-1]["content"] != "Ten days a year."
