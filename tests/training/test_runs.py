"""Runs through the real job runner, datasets and registry."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from inhouse.core.blobs import Blobs
from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.data.datasets import DatasetNotFound, Datasets
from inhouse.data.examples import Example
from inhouse.models.registry import BadModelName
from inhouse.training import store
from inhouse.training.recipe import BadConfig
from inhouse.training.runs import RunHasEnded, RunNotFound, RunNotResumable, Runs
from inhouse.training.spec import DATASET, SPEC, Spec
from inhouse.training.store import Run

MEDIUM = {"epochs": 300, "patience": 0}
LONG = {"epochs": 1000, "patience": 0, "batch_size": 4}


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ended(runs: Runs, principal: Principal, run: Run) -> Run:
    until(lambda: runs.get(principal, run.id).has_ended)
    return runs.get(principal, run.id)


def steps(runs: Runs, principal: Principal, run: Run) -> int:
    return max((event.get("step", 0) for event in runs.events(principal, run.id)), default=0)


def child_of(run: Run) -> int:
    """The process that trains the run."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if run.id.encode() in command:
                return int(entry.name)
    raise AssertionError(f"Nobody trains {run.id}.")


def test_settings_dataset_and_model_name_are_checked_before_anything_is_stored(runs: Runs, principal: Principal):
    with pytest.raises(BadConfig):
        runs.start(principal, recipe="classify", dataset="desk", model="intent", config={"epochs": 0})
    with pytest.raises(DatasetNotFound):
        runs.start(principal, recipe="classify", dataset="dusk", model="intent")
    with pytest.raises(BadModelName):
        runs.start(principal, recipe="classify", dataset="desk", model="My Model")

    assert runs.list(principal) == []


def test_a_run_that_cannot_be_trained_says_why(runs: Runs, sqlite: Database, blobs: Blobs, principal: Principal):
    Datasets(sqlite, blobs).create(principal, "flat", b"text,label\none,a\ntwo,a\n", "flat.csv")

    run = ended(runs, principal, runs.start(principal, recipe="classify", dataset="flat", model="intent"))

    assert run.status == "failed"
    assert "at least two" in run.error
    assert run.ended_at


@pytest.mark.slow
def test_a_stopped_run_goes_on_where_it_was(runs: Runs, principal: Principal):
    run = runs.start(principal, recipe="classify", dataset="desk", model="intent", config=LONG)
    until(lambda: steps(runs, principal, run) > 0)
    runs.stop(principal, run.id)
    stopped = ended(runs, principal, run)

    runs.resume(principal, run.id)

    def resumed() -> list[int]:
        return [event["resumed_from"] for event in runs.events(principal, run.id) if event["type"] == "started"]

    until(lambda: len(resumed()) == 2)
    assert (stopped.status, runs.get(principal, run.id).status) == ("stopped", "running")
    assert resumed()[1] > 0


@pytest.mark.slow
def test_a_killed_training_process_is_given_another_life(runs: Runs, principal: Principal):
    run = runs.start(principal, recipe="classify", dataset="desk", model="intent", config=MEDIUM)
    until(lambda: steps(runs, principal, run) > 0)

    os.kill(child_of(run), signal.SIGKILL)

    done = ended(runs, principal, run)
    assert (done.status, done.model_version) == ("succeeded", 1)


@pytest.mark.slow
def test_a_run_goes_on_when_the_server_is_back(runs: Runs, start_runs: Callable[[], Runs], principal: Principal):
    run = runs.start(principal, recipe="classify", dataset="desk", model="intent", config=MEDIUM)
    until(lambda: steps(runs, principal, run) > 0)

    back = start_runs()

    assert back.get(principal, run.id).status in ("queued", "running")
    assert ended(back, principal, run).status == "succeeded"


def test_a_run_keeps_to_its_version_of_the_dataset(
    runs: Runs, sqlite: Database, blobs: Blobs, principal: Principal, tmp_path: Path
):
    """Stopped before it began, it is resumed when the dataset has long moved on."""
    datasets = Datasets(sqlite, blobs)
    first = datasets.get(principal, "desk", 1)
    config = {"epochs": 1}
    run = Run("run_1", principal.workspace_id, principal.user_id, 1.0, "classify", config, "desk", 1, "intent", 0)
    with sqlite.write() as conn:
        store.insert_run(conn, replace(run, status="stopped"))
    datasets.add(principal, "desk", [Example("The lift is stuck", "lift")], note="")

    runs.resume(principal, run.id)

    assert ended(runs, principal, run).status == "succeeded"
    directory = tmp_path / "runs" / run.id
    assert Spec.model_validate_json((directory / SPEC).read_bytes()).lineage["dataset_digest"] == first.digest
    assert "lift" not in (directory / DATASET / "train.jsonl").read_text()


def test_a_run_that_succeeded_keeps_events_and_curves_but_no_checkpoints(
    runs: Runs, principal: Principal, tmp_path: Path
):
    run = runs.start(principal, recipe="classify", dataset="desk", model="intent", config={"epochs": 1})
    ended(runs, principal, run)

    left = {path.name for path in (tmp_path / "runs" / run.id).iterdir()}
    assert left >= {"events.jsonl", "tensorboard", "artifact"}
    assert "checkpoints" not in left


def test_a_queued_run_is_stopped_at_once_and_an_ended_one_never(runs: Runs, principal: Principal):
    first = runs.start(principal, recipe="classify", dataset="desk", model="intent", config=LONG)
    second = runs.start(principal, recipe="classify", dataset="desk", model="intent")

    with pytest.raises(RunNotResumable):
        runs.resume(principal, second.id)
    assert runs.stop(principal, second.id).status == "stopped"
    with pytest.raises(RunHasEnded):
        runs.stop(principal, second.id)
    assert [run.id for run in runs.list(principal)] == [second.id, first.id]


def test_runs_of_another_workspace_do_not_exist(db: Database, principal: Principal, stranger: Principal):
    run = Run("run_1", principal.workspace_id, principal.user_id, 1.0, "classify", {}, "desk", 1, "intent", 0)
    with db.write() as conn:
        store.insert_run(conn, run)
        store.update_run(conn, run, status="succeeded", metrics={"accuracy": 0.9})

    with db.read() as conn:
        assert store.find_run(conn, stranger, "run_1") is None
        assert store.list_runs(conn, stranger, limit=10) == []
        (found,) = store.list_runs(conn, principal, limit=10)
    assert (found.has_ended, found.metrics, found.name) == (True, {"accuracy": 0.9}, "intent on desk@v1")


def test_an_unknown_run_is_not_found(runs: Runs, principal: Principal):
    for call in (runs.get, runs.stop, runs.resume, runs.events):
        with pytest.raises(RunNotFound):
            call(principal, "run_x")
