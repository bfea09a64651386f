"""The training loop that all recipes share: fast by default, stoppable at any step, resumable bit for bit."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Generic

import torch
from torch import Tensor

from inhouse.core.errors import Invalid
from inhouse.training.checkpoint import Checkpoints
from inhouse.training.optimizer import AdamW
from inhouse.training.task import Batch, Emit, ItemType, Task

REPORTS = 200
"""A curve has about this many points, however long the run."""


class LossNotFinite(Invalid):
    """The loss or its gradient became infinite or not a number."""


@dataclass(slots=True)
class Progress:
    """Where the run stands. Weights, optimizer and random state are saved beside it."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    best: tuple[float, float] | None = None
    """Dev accuracy and negated dev loss of the best epoch: the loss decides between equals."""
    stale_epochs: int = 0


class Loop(Generic[ItemType]):
    """Trains a task until it is done or asked to stop."""

    def __init__(
        self,
        task: Task[ItemType],
        *,
        checkpoints: Checkpoints,
        checkpoint_every_s: float,
        emit: Emit,
        should_stop: Callable[[], bool],
    ) -> None:
        self._task = task
        self._plan = task.plan
        self._checkpoints = checkpoints
        self._checkpoint_every_s = checkpoint_every_s
        self._emit = emit
        self._should_stop = should_stop
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        task.module.to(self._device)
        self._optimizer = AdamW(task.parameter_groups(), learning_rate=self._plan.learning_rate)
        self._steps = self._plan.epochs * len(task.batches(0))
        self._progress = Progress()
        self._best: dict[str, Tensor] = {}
        self._saved_at = time.monotonic()

    def run(self) -> bool:
        """Train from the newest checkpoint on. True when done, False when stopped; either way nothing is lost."""
        resumed = self._restore()
        self._emit("started", steps=self._steps, epochs=self._plan.epochs, resumed_from=resumed)
        pace = _Pace()
        while not self._is_over():
            if not self._run_epoch(pace):
                return False
        if self._best:
            self._task.module.load_state_dict(self._best)
        self._task.module.eval()
        return True

    def _run_epoch(self, pace: "_Pace") -> bool:
        progress = self._progress
        batches = self._task.batches(progress.epoch)
        while progress.batch < len(batches):
            if self._should_stop():
                self._save()
                return False
            items = [self._task.train[index] for index in batches[progress.batch]]
            loss = self._learn(items)
            progress.step += 1
            progress.batch += 1
            pace.count(len(items))
            self._report(loss, pace)
            if progress.batch < len(batches) and self._is_due():
                self._save()
        self._end_epoch()
        return True

    def _learn(self, items: Sequence[ItemType]) -> float:
        self._task.module.train()
        with self._autocast():
            loss = self._task.loss(self._on_device(self._task.collate(items)))
        self._task.module.zero_grad(set_to_none=True)
        loss.backward()
        slope = torch.nn.utils.clip_grad_norm_(self._task.module.parameters(), self._plan.clip_norm)
        value = loss.item()
        if not isfinite(value + slope.item()):
            where = f"step {self._progress.step + 1} (epoch {self._progress.epoch + 1})"
            raise LossNotFinite(
                f"The loss became {value}, its gradient {slope.item()}, at {where}, "
                f"in a batch of {len(items)} rows, {items[0].id} the first.",
                hint="Look at these rows, or choose a lower learning_rate.",
                rows=[item.id for item in items],
            )
        self._optimizer.step(self._warmed(self._progress.step))
        return value

    def _warmed(self, step: int) -> float:
        """The share of the learning rate that is used: linear warm-up, then linear decay to zero."""
        warm = max(1, round(self._plan.warmup * self._steps))
        return (step + 1) / warm if step < warm else (self._steps - step) / max(1, self._steps - warm)

    def _end_epoch(self) -> None:
        progress = self._progress
        progress.epoch, progress.batch = progress.epoch + 1, 0
        if self._task.dev:
            loss, accuracy = self._judge()
            self._emit("eval", step=progress.step, epoch=progress.epoch, split="dev", loss=loss, accuracy=accuracy)
            if progress.best is None or (accuracy, -loss) > progress.best:
                progress.best, progress.stale_epochs = (accuracy, -loss), 0
                weights = self._task.module.state_dict()
                self._best = {name: value.cpu().clone() for name, value in weights.items()}
            else:
                progress.stale_epochs += 1
        if self._is_over() or self._is_due():
            self._save()

    def _judge(self) -> tuple[float, float]:
        self._task.module.eval()
        order = sorted(self._task.dev, key=len)
        size = 4 * self._plan.batch_size
        total, right, count = 0.0, 0.0, 0
        with torch.inference_mode(), self._autocast():
            for start in range(0, len(order), size):
                batch = self._on_device(self._task.collate(order[start : start + size]))
                judged = self._task.judge(batch)
                total, right, count = total + judged.loss, right + judged.right, count + judged.count
        return total / max(count, 1), right / max(count, 1)

    def _is_over(self) -> bool:
        tired = self._plan.patience and self._progress.stale_epochs >= self._plan.patience
        return bool(tired) or self._progress.epoch >= self._plan.epochs

    def _is_due(self) -> bool:
        return time.monotonic() - self._saved_at >= self._checkpoint_every_s

    def _report(self, loss: float, pace: "_Pace") -> None:
        step = self._progress.step
        if step % max(1, self._steps // REPORTS) and step != self._steps:
            return
        self._emit(
            "step",
            step=step,
            epoch=self._progress.epoch + 1,
            loss=round(loss, 6),
            lr=self._plan.learning_rate * self._warmed(step - 1),
            examples_per_s=round(pace.examples_per_s, 1),
            eta_s=round(pace.seconds_per_step * (self._steps - step), 1),
        )

    def _save(self) -> None:
        tensors = {
            "model": self._task.module.state_dict(),
            "optimizer": self._optimizer.state(),
            "best": self._best,
            "rng": {"cpu": torch.get_rng_state()},
        }
        if self._device.type == "cuda":
            tensors["rng"]["cuda"] = torch.cuda.get_rng_state()
        self._checkpoints.save(self._progress.step, asdict(self._progress), tensors)
        self._saved_at = time.monotonic()
        self._emit("checkpoint", step=self._progress.step)

    def _restore(self) -> int:
        """Take over the newest checkpoint; return its step, or 0."""
        checkpoint = self._checkpoints.newest()
        if checkpoint is None:
            return 0
        best = checkpoint.state["best"]
        self._progress = Progress(**{**checkpoint.state, "best": best and tuple(best)})
        self._best = checkpoint.tensors["best"]
        self._task.module.load_state_dict(checkpoint.tensors["model"])
        self._optimizer.load(checkpoint.tensors["optimizer"])
        torch.set_rng_state(checkpoint.tensors["rng"]["cpu"])
        if self._device.type == "cuda" and "cuda" in checkpoint.tensors["rng"]:
            torch.cuda.set_rng_state(checkpoint.tensors["rng"]["cuda"])
        return checkpoint.step

    def _on_device(self, batch: Batch) -> Batch:
        return {name: tensor.to(self._device) for name, tensor in batch.items()}

    def _autocast(self) -> AbstractContextManager[object]:
        """bfloat16 where the task wants it and the processor computes in it; elsewhere it only costs."""
        if self._plan.precision in ("auto", "bf16") and _computes_bf16(self._device):
            return torch.autocast(self._device.type, dtype=torch.bfloat16)
        return nullcontext()


class _Pace:
    """How fast this life of the run goes."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._steps = 0
        self._examples = 0

    def count(self, examples: int) -> None:
        self._steps += 1
        self._examples += examples

    @property
    def examples_per_s(self) -> float:
        return self._examples / max(time.monotonic() - self._started, 1e-9)

    @property
    def seconds_per_step(self) -> float:
        return (time.monotonic() - self._started) / max(self._steps, 1)


def _computes_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
