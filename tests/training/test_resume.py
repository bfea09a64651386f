"""Whatever is trained in the loop: stopping and going on ends with the same weights, bit for bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from inhouse.data.examples import Form
from inhouse.training.checkpoint import Checkpoints
from inhouse.training.dataset import Row, Splits
from inhouse.training.loop import Loop, changing
from inhouse.training.recipe import configure, recipes
from inhouse.training.task import Task

PLAN = {"epochs": 2, "batch_size": 4, "accumulate": 2, "ema": 0.5}
NEEDS_A_TEACHER = {"distill"}
LOOPED = [name for name in recipes if "accumulate" in recipes[name].model_fields and name not in NEEDS_A_TEACHER]


def contents(number: int) -> dict[Form, dict[str, Any]]:
    """What a row of each form says besides its text, which starts with the number's word."""
    asked = {"messages": [{"role": "user", "content": f"Question {number}"}]}
    answer = {"role": "assistant", "content": f"Answer {number}, in short."}
    return {
        Form.TEXT: {},
        Form.SPANS: {"spans": [{"start": 0, "end": 5, "label": "thing"}]},
        Form.PAIR: {"other": f"another way to say {number}", "score": float(number % 2)},
        Form.CHAT: {"messages": [*asked["messages"], answer]},
        Form.PREFERENCE: {**asked, "chosen": answer["content"], "rejected": f"No {number}."},
        Form.RATING: {**asked, "answer": answer["content"], "good": number % 2 == 0},
    }


def splits(form: Form) -> Splits:
    def rows(prefix: str, count: int) -> list[Row]:
        texts = [f"{'apple' if number % 2 else 'stone'} number {number}" for number in range(count)]
        return [
            Row(f"{prefix}{number}", text, text[:5] if form == Form.TEXT else "", content=contents(number)[form])
            for number, text in enumerate(texts)
        ]

    return Splits(rows("train", 14), rows("dev", 4), rows("test", 4), form=form)


def prepared(name: str) -> Task[Any]:
    recipe = recipes[name]
    task = configure(name, dict(PLAN)).prepare(splits(recipe.forms[0]), seed=3)
    assert isinstance(task, Task)
    return task


def run(task: Task[Any], directory: Path, *, should_stop: Callable[[], bool] = lambda: False) -> bool:
    loop = Loop(
        task,
        checkpoints=Checkpoints(directory),
        checkpoint_every_s=3600,
        emit=lambda *_, **__: None,
        should_stop=should_stop,
    )
    return loop.run()


def weights(task: Task[Any]) -> dict[str, Tensor]:
    return {name: tensor.cpu() for name, tensor in changing(task.module).items()}


@pytest.mark.parametrize("name", LOOPED)
def test_stopping_and_going_on_changes_nothing(name: str, tmp_path: Path):
    asked = iter([False, True])
    whole = prepared(name)
    run(whole, tmp_path / "whole")

    assert not run(prepared(name), tmp_path / "parts", should_stop=lambda: next(asked))
    parts = prepared(name)
    assert run(parts, tmp_path / "parts")

    left, right = weights(whole), weights(parts)
    assert left
    assert left.keys() == right.keys()
    assert [key for key in left if not torch.equal(left[key], right[key])] == []
