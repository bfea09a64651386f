"""The training loop that all recipes share: fast by default, stoppable at any step, resumable bit for bit."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from inhouse.core.errors import Conflict
from inhouse.training import memory
from inhouse.training.average import Average
from inhouse.training.checkpoint import Checkpoint, Checkpoints
from inhouse.training.gradients import Gradients
from inhouse.training.mirror import MirrorAway
from inhouse.training.optimizer import AdamW
from inhouse.training.pace import Pace
from inhouse.training.ranks import Ranks, own_device
from inhouse.training.task import Batch, Emit, ItemType, Task

REPORTS = 200
"""A curve has about this many points, however long the run."""

SAVING_SHARE = 20
"""Saving takes at most one part in so many of the time, whatever the disk."""


class CheckpointDiffers(Conflict):
    """The checkpoint is of another network."""


@dataclass(slots=True)
class Progress:
    """Where the run stands. Weights, optimizer and random state are saved beside it."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    best: tuple[float, float] | None = None
    """Dev accuracy and negated dev loss of the best epoch, that first which decides; the other does between equals."""
    stale_epochs: int = 0
    rows_at_once: int = 0
    """So many rows of a batch fit into memory at a time; 0 is all of them."""
    scaler: dict[str, Any] = field(default_factory=dict)


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
        ranks: Ranks | None = None,
    ) -> None:
        self._task = task
        self._plan = task.plan
        self._checkpoints = checkpoints
        self._checkpoint_every_s = checkpoint_every_s
        self._emit = emit
        self._should_stop = should_stop
        self._ranks = ranks or Ranks()
        self._device = own_device()
        task.module.to(self._device)
        if self._plan.gradient_checkpointing:
            self._compute_twice()
        self._optimizer = AdamW(task.parameter_groups(), learning_rate=self._plan.learning_rate)
        self._average = Average(task.module, self._plan.ema) if self._plan.ema else None
        self._steps = self._plan.epochs * math.ceil(len(task.batches(0)) / self._plan.accumulate)
        self._progress = Progress()
        self._best: dict[str, Tensor] = {}
        self._saved_at = time.monotonic()
        self._save_took = 0.0
        self._gradients = Gradients(task, self._optimizer, device=self._device, ranks=self._ranks, emit=emit)

    def run(self) -> bool:
        """Train from the newest checkpoint on. True when done, False when stopped; either way nothing is lost."""
        resumed = self._restore()
        self._emit("started", steps=self._steps, epochs=self._plan.epochs, resumed_from=resumed or 0)
        for message in self._task.warnings:
            self._emit("warning", step=self._progress.step, message=message)
        if resumed is None and self._gradients.look_at_memory():
            self._save()  # whoever resumes is to divide the batches likewise, however much is free then
        pace = Pace()
        while not self._is_over():
            if not self._run_epoch(pace):
                return False
        if self._best:
            self._write(self._best)
        elif self._average:
            self._average.swap()
        self._task.module.eval()
        return True

    def _run_epoch(self, pace: Pace) -> bool:
        progress = self._progress
        batches = self._task.batches(progress.epoch)
        while progress.batch < len(batches):
            stop, due = self._ranks.told(self._should_stop(), self._is_due())
            if stop or (due and progress.batch):
                self._save()
            if stop:
                return False
            numbers = batches[progress.batch : progress.batch + self._plan.accumulate]
            group = [[self._task.train[index] for index in batch] for batch in numbers]
            loss, slope = self._learn(group)
            progress.step += 1
            progress.batch += len(group)
            pace.count(group)
            self._report(loss, slope, pace)
        self._end_epoch()
        return True

    def _learn(self, group: Sequence[Sequence[ItemType]]) -> tuple[float, float]:
        """Move the weights once, by the gradient of these batches; return their loss and the gradient's norm."""
        progress = self._progress
        loss, slope = self._gradients.of(group, f"step {progress.step + 1} (epoch {progress.epoch + 1})")
        self._gradients.follow(self._share_of_rate(progress.step))
        if self._average:
            self._average.follow(progress.step)
        return loss, slope

    def _share_of_rate(self, step: int) -> float:
        """The share of the learning rate that is used: linear warm-up, then as the schedule has it."""
        warm = max(1, round(self._plan.warmup * self._steps))
        if step < warm:
            return (step + 1) / warm
        left = (self._steps - step) / max(1, self._steps - warm)
        if self._plan.schedule == "cosine":
            return (1 - math.cos(math.pi * left)) / 2
        return 1.0 if self._plan.schedule == "constant" else left

    def _end_epoch(self) -> None:
        progress = self._progress
        progress.epoch, progress.batch = progress.epoch + 1, 0
        if self._task.dev:
            with self._average.applied() if self._average else nullcontext():
                self._judge_epoch()
        (due,) = self._ranks.told(self._is_over() or self._is_due())
        if due:
            self._save()

    def _judge_epoch(self) -> None:
        progress = self._progress
        loss, accuracy = self._judge()
        self._emit("eval", step=progress.step, epoch=progress.epoch, split="dev", loss=loss, accuracy=accuracy)
        score = (-loss, accuracy) if self._task.loss_decides else (accuracy, -loss)
        if progress.best is None or score > progress.best:
            progress.best, progress.stale_epochs = score, 0
            self._best = {name: value.cpu().clone() for name, value in changing(self._task.module).items()}
        else:
            progress.stale_epochs += 1

    def _judge(self) -> tuple[float, float]:
        self._task.module.eval()
        order = sorted(self._task.dev, key=len)
        size = 4 * (self._gradients.rows_at_once or self._plan.batch_size)
        total, right, count = 0.0, 0.0, 0.0
        with torch.inference_mode(), self._gradients.autocast():
            for start in self._ranks.share(range(0, len(order), size)):
                batch = self._on_device(self._task.collate(order[start : start + size]))
                judged = self._task.judge(batch)
                total, right, count = total + judged.loss, right + judged.right, count + judged.count
        total, right, count = self._ranks.total(total, right, count)
        return total / max(count, 1), right / max(count, 1)

    def _is_over(self) -> bool:
        tired = self._plan.patience and self._progress.stale_epochs >= self._plan.patience
        return bool(tired) or self._progress.epoch >= self._plan.epochs

    def _is_due(self) -> bool:
        pause = self._checkpoint_every_s and max(self._checkpoint_every_s, SAVING_SHARE * self._save_took)
        return time.monotonic() - self._saved_at >= pause

    def _report(self, loss: float, slope: float, pace: Pace) -> None:
        step = self._progress.step
        if step % max(1, self._steps // REPORTS) and step != self._steps:
            return
        self._emit(
            "step",
            step=step,
            epoch=self._progress.epoch + 1,
            loss=round(loss, 6),
            lr=self._plan.learning_rate * self._share_of_rate(step - 1),
            grad_norm=round(slope, 6) if math.isfinite(slope) else None,
            examples_per_s=round(pace.examples_per_s, 1),
            tokens_per_s=round(pace.tokens_per_s, 1),
            memory_mb=round(memory.used_mb(self._device)),
            eta_s=round(pace.seconds_per_step * (self._steps - step), 1),
        )

    def _save(self) -> None:
        """Keep everything. A full disk costs this checkpoint, not the run: the one before is still there."""
        started = time.monotonic()
        progress = self._progress
        progress.rows_at_once = self._gradients.rows_at_once
        progress.scaler = self._gradients.scaler.state_dict()
        tensors = {
            "model": changing(self._task.module),
            "optimizer": self._optimizer.state(),
            "average": self._average.state() if self._average else {},
            "best": self._best,
            "rng": self._random_states(),
        }
        if self._ranks.is_first:
            self._save_here(tensors)
        self._saved_at = time.monotonic()
        self._save_took = self._saved_at - started

    def _save_here(self, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        step = self._progress.step
        try:
            self._checkpoints.save(step, asdict(self._progress), tensors)
        except (OSError, SafetensorError) as error:
            self._emit("warning", step=step, message=f"The checkpoint could not be written: {error}.")
            return
        self._emit("checkpoint", step=step)
        try:
            self._checkpoints.copy()
        except MirrorAway as error:
            self._emit("warning", step=step, message=f"The checkpoint could not be copied. {error.message}")

    def _newest(self) -> Checkpoint | None:
        """The first rank may have to fetch it from afar; the others then find it here."""
        newest = self._checkpoints.newest() if self._ranks.is_first else None
        self._ranks.told(0)
        return newest if self._ranks.is_first else self._checkpoints.newest()

    def _restore(self) -> int | None:
        """Take over the newest checkpoint and return its step; None without one."""
        checkpoint = self._newest()
        if checkpoint is None:
            return None
        best = checkpoint.state["best"]
        self._progress = Progress(**{**checkpoint.state, "best": best and tuple(best)})
        self._best = checkpoint.tensors["best"]
        self._write(checkpoint.tensors["model"])
        self._optimizer.load(checkpoint.tensors["optimizer"])
        self._gradients.rows_at_once = self._progress.rows_at_once
        self._gradients.scaler.load_state_dict(self._progress.scaler)
        if self._average:
            self._average.load(checkpoint.tensors["average"])
        self._set_random_state(checkpoint.tensors["rng"])
        return checkpoint.step

    def _write(self, weights: dict[str, Tensor]) -> None:
        """Give the network what `changing` took from it."""
        own = changing(self._task.module)
        if own.keys() != weights.keys():
            raise CheckpointDiffers(
                "The checkpoint is of another network than this recipe now makes.", hint="Start a new run."
            )
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(weights[name])

    def _random_states(self) -> dict[str, Tensor]:
        states = {f"cpu-{rank}": state for rank, state in enumerate(self._ranks.gather(torch.get_rng_state()))}
        if self._device.type == "cuda":
            everyones = self._ranks.gather(torch.cuda.get_rng_state(self._device))
            states |= {f"cuda-{rank}": state for rank, state in enumerate(everyones)}
        return states

    def _set_random_state(self, states: dict[str, Tensor]) -> None:
        """A checkpoint from fewer processes has no state for this one, which then goes on with its own."""
        rank = self._ranks.number
        if (cpu := states.get(f"cpu-{rank}")) is not None:
            torch.set_rng_state(cpu)
        if self._device.type == "cuda" and (cuda := states.get(f"cuda-{rank}")) is not None:
            torch.cuda.set_rng_state(cuda, self._device)

    def _compute_twice(self) -> None:
        """Let the network forget its middle layers and compute them again on the way back."""
        able = [one for one in self._task.module.modules() if getattr(one, "supports_gradient_checkpointing", False)]
        for module in able:
            cast(Any, module).activation_checkpointing_enable()
        if not able:
            self._emit("warning", step=0, message="This network has no gradient checkpointing; it trains without.")

    def _on_device(self, batch: Batch) -> Batch:
        return {name: tensor.to(self._device) for name, tensor in batch.items()}


def changing(module: nn.Module) -> dict[str, Tensor]:
    """The tensors that training changes: trained weights, tied ones once, and buffers. `prepare` makes the rest."""
    stored = module.state_dict(keep_vars=True).keys()
    trained = {name: weight.detach() for name, weight in module.named_parameters() if weight.requires_grad}
    return trained | {name: buffer for name, buffer in module.named_buffers() if name in stored}
