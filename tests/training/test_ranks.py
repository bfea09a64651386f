"""Several processes that train one run, joined by torchrun."""

import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.training.conftest import Prepare

from inhouse.core.events import EventLog
from inhouse.training.child import FINISHED, STOPPED
from inhouse.training.executors.local import Local, together
from inhouse.training.spec import EVENTS, SPEC, STOP, Spec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CONFIG = {"epochs": 8, "batch_size": 7, "accumulate": 2, "precision": "fp32", "dropout": 0.0}
"""Without chance, since every process has its own; batches of 7 cannot be halved evenly."""


def events(spec: Path, type: str) -> list[dict[str, Any]]:
    return [event for event in EventLog(spec.parent / EVENTS).read() if event["type"] == type]


def losses(spec: Path) -> list[float]:
    return [event["loss"] for event in events(spec, "step")]


def train(spec: Path) -> int:
    return Local().run(spec.parent, Spec.model_validate_json(spec.read_bytes()))


def stop_after(spec: Path, steps: int) -> None:
    """Ask the run to stop as soon as it has made so many steps."""
    deadline = time.monotonic() + 60
    while len(losses(spec)) < steps and time.monotonic() < deadline:
        time.sleep(0.001)
    (spec.parent / STOP).touch()


def test_two_processes_learn_what_one_does(prepare: Prepare):
    one, two = prepare("one", config=CONFIG), prepare("two", config=CONFIG, processes=2)

    assert (train(one), train(two)) == (FINISHED, FINISHED)

    assert losses(two) == pytest.approx(losses(one), abs=1e-4)
    assert events(two, "eval")[-1]["accuracy"] == pytest.approx(events(one, "eval")[-1]["accuracy"], abs=0.06)
    assert len(events(two, "finished")) == 1


def test_processes_stop_together_and_go_on_where_they_were(prepare: Prepare):
    config = {**CONFIG, "epochs": 40, "dropout": 0.5, "ema": 0.9}
    whole, parts = (prepare(name, config=config, processes=2) for name in ("whole", "parts"))
    stopper = threading.Thread(target=stop_after, args=(parts, 5))
    stopper.start()

    assert train(parts) == STOPPED
    stopper.join()
    (parts.parent / STOP).unlink()
    assert (train(parts), train(whole)) == (FINISHED, FINISHED)

    assert 0 < events(parts, "started")[1]["resumed_from"] < len(losses(whole))
    assert losses(parts)[-5:] == losses(whole)[-5:]


def test_one_process_under_torchrun_is_like_one_alone(prepare: Prepare):
    alone, joined = prepare("alone", config=CONFIG), prepare("joined", config=CONFIG)
    assert train(alone) == FINISHED

    done = subprocess.run(together((joined / "..").resolve(), 1), capture_output=True, timeout=100)

    assert done.returncode == 0
    assert joined.name == SPEC
    assert losses(joined) == pytest.approx(losses(alone), abs=1e-6)
