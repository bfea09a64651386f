"""The training process: reads `spec.json`, trains, and leaves events, checkpoints and the artifact beside it.

It may be killed at any moment and started again: it goes on where the newest checkpoint stands.
"""

from __future__ import annotations

import fcntl
import logging
import os
import platform
import sys
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from inhouse import __version__
from inhouse.core.children import die_with_parent
from inhouse.core.errors import Conflict, InhouseError, Invalid
from inhouse.core.events import EventLog
from inhouse.training.dataset import read_splits
from inhouse.training.recipe import configure
from inhouse.training.reports import Curves, Reports
from inhouse.training.sealed import open_sealed
from inhouse.training.spec import ARTIFACT, CHECKPOINTS, EVENTS, LOCK, STOP, TENSORBOARD, Spec
from inhouse.training.task import Emit, Fit, Task

if TYPE_CHECKING:
    from inhouse.training.ranks import Ranks

FINISHED, FAILED, STOPPED = 0, 1, 3
_log = logging.getLogger(__name__)


class BadSpec(Invalid):
    """The spec file cannot be used."""


class RunIsBusy(Conflict):
    """Another process is training this run."""


def main(spec_path: Path) -> int:
    """Train what the spec says; return 0 when finished, 1 when failed and 3 when stopped."""
    run = spec_path.resolve().parent
    _make_repeatable()
    from inhouse.training.ranks import joined

    with joined() as ranks:
        return _lead(spec_path, run, ranks) if ranks.is_first else _follow(spec_path, run, ranks)


def _lead(spec_path: Path, run: Path, ranks: Ranks) -> int:
    with EventLog(run / EVENTS) as events:
        try:
            with _alone(run):
                spec = _read(spec_path)
                reports = Reports(events, Curves(run / TENSORBOARD) if spec.tensorboard else None)
                with closing(reports):
                    return _train(spec, run, ranks, reports)
        except RunIsBusy as error:
            _log.error("%s", error)
            return FAILED
        except InhouseError as error:
            _log.error("%s %s", error.message, error.hint)
            events.append("failed", message=error.message, hint=error.hint, code=error.code, details=error.details)
        except Exception as error:
            _log.exception("The training process failed unexpectedly.")
            events.append(
                "failed", message=f"{type(error).__name__}: {error}", hint="See child.log.", code="unexpected"
            )
    return FAILED


def _follow(spec_path: Path, run: Path, ranks: Ranks) -> int:
    """Do this process's share; the first one reports."""
    try:
        return _train(_read(spec_path), run, ranks, lambda *_, **__: None)
    except InhouseError as error:
        _log.error("%s %s", error.message, error.hint)
        return FAILED


def _train(spec: Spec, run: Path, ranks: Ranks, emit: Emit) -> int:
    if open_sealed(run / ARTIFACT):
        return FINISHED  # killed after the last write, before anyone took notice
    import torch

    torch.set_num_threads(spec.threads)
    recipe = configure(spec.recipe, spec.config)
    splits = read_splits(run / spec.dataset)
    recipe.check(splits)
    task = recipe.prepare(splits, seed=spec.seed)
    if not ranks.is_first:
        torch.manual_seed(spec.seed + ranks.number)  # the same network, but chances of its own
    if not _fit(task, spec, run, ranks, emit):
        emit("stopped")
        return STOPPED
    if ranks.is_first:
        metrics = task.finish(run / ARTIFACT, lineage=_lineage(spec), emit=emit)
        emit("finished", metrics={name: metrics[name] for name in ("accuracy", "macro_f1") if name in metrics})
    return FINISHED


def _fit(task: Task[Any] | Fit, spec: Spec, run: Path, ranks: Ranks, emit: Emit) -> bool:
    if isinstance(task, Fit):
        return not ranks.is_first or task.fit(emit=emit, should_stop=(run / STOP).exists)
    from inhouse.training.checkpoint import Checkpoints
    from inhouse.training.loop import Loop
    from inhouse.training.mirror import Mirror

    mirror = Mirror(spec.checkpoint_copy, run.name) if spec.checkpoint_copy else None
    loop = Loop(
        task,
        checkpoints=Checkpoints(run / CHECKPOINTS, keep=spec.keep_checkpoints, mirror=mirror),
        checkpoint_every_s=spec.checkpoint_every_s,
        emit=emit,
        should_stop=(run / STOP).exists,
        ranks=ranks,
    )
    return loop.run()


def _lineage(spec: Spec) -> dict[str, Any]:
    made = {"recipe": spec.recipe, "config": spec.config, "seed": spec.seed, "base": spec.config.get("base")}
    machine = f"{platform.system()} {platform.machine()}, {spec.processes} x {spec.threads} threads"
    return {**spec.lineage, **made, "code_version": __version__, "machine": machine}


def _make_repeatable() -> None:
    """Set torch up so that the same seed, threads and kind of processor give the same weights, bit for bit."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning beside a busy server made training 20 times slower
    import torch

    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms would import the compiler: 4 s


def _read(path: Path) -> Spec:
    try:
        return Spec.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise BadSpec(f"{path.name} cannot be used: {error}") from error


@contextmanager
def _alone(run: Path) -> Generator[None]:
    """Hold the run's lock: a resumed run never meets its own orphan. The kernel lets go when the process ends."""
    with (run / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunIsBusy(f"The run in {run.name!r} is being trained by another process.") from error
        yield


def _torchrun_code(code: int) -> int:
    """torchrun takes every code but 0 for a crash, and stopping is none: the last event tells."""
    from torch.distributed import is_torchelastic_launched

    return FINISHED if code == STOPPED and is_torchelastic_launched() else code


if __name__ == "__main__":
    die_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    sys.exit(_torchrun_code(main(Path(sys.argv[1]))))
