"""The training process: reads `spec.json`, trains, and leaves events, checkpoints and the artifact beside it.

It may be killed at any moment and started again: it goes on where the newest checkpoint stands.
"""

import fcntl
import logging
import os
import platform
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from inhouse import __version__
from inhouse.core.errors import Conflict, InhouseError, Invalid
from inhouse.core.events import EventLog
from inhouse.training.dataset import read_splits
from inhouse.training.recipe import configure
from inhouse.training.sealed import open_sealed
from inhouse.training.spec import ARTIFACT, CHECKPOINTS, EVENTS, LOCK, STOP, Spec
from inhouse.training.task import Fit, Task

FINISHED, FAILED, STOPPED = 0, 1, 3
_log = logging.getLogger(__name__)


class BadSpec(Invalid):
    """The spec file cannot be used."""


class RunIsBusy(Conflict):
    """Another process is training this run."""


def main(spec_path: Path) -> int:
    """Train what the spec says; return 0 when finished, 1 when failed and 3 when stopped."""
    run = spec_path.resolve().parent
    with EventLog(run / EVENTS) as events:
        try:
            with _alone(run):
                return _train(_read(spec_path), run, events)
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


def _train(spec: Spec, run: Path, events: EventLog) -> int:
    if open_sealed(run / ARTIFACT):
        return FINISHED  # killed after the last write, before anyone took notice
    recipe = configure(spec.recipe, spec.config)
    splits = read_splits(run / spec.dataset)
    recipe.check(splits)
    _make_repeatable(spec.threads)
    task = recipe.prepare(splits, seed=spec.seed)
    if not _fit(task, spec, run, events):
        events.append("stopped")
        return STOPPED
    metrics = task.finish(run / ARTIFACT, lineage=_lineage(spec), emit=events.append)
    events.append("finished", metrics={name: metrics[name] for name in ("accuracy", "macro_f1") if name in metrics})
    return FINISHED


def _fit(task: Task[Any] | Fit, spec: Spec, run: Path, events: EventLog) -> bool:
    if isinstance(task, Fit):
        return task.fit(emit=events.append, should_stop=(run / STOP).exists)
    from inhouse.training.checkpoint import Checkpoints
    from inhouse.training.loop import Loop

    loop = Loop(
        task,
        checkpoints=Checkpoints(run / CHECKPOINTS),
        checkpoint_every_s=spec.checkpoint_every_s,
        emit=events.append,
        should_stop=(run / STOP).exists,
    )
    return loop.run()


def _lineage(spec: Spec) -> dict[str, Any]:
    made = {"recipe": spec.recipe, "config": spec.config, "seed": spec.seed, "base": spec.config.get("base")}
    machine = f"{platform.system()} {platform.machine()}, {spec.threads} threads"
    return {**spec.lineage, **made, "code_version": __version__, "machine": machine}


def _make_repeatable(threads: int) -> None:
    """Set torch up so that the same seed, threads and kind of processor give the same weights, bit for bit."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning beside a busy server made training 20 times slower
    import torch

    torch.set_num_threads(threads)
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


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    sys.exit(main(Path(sys.argv[1])))
