"""Studies through the real job runner, runs, datasets and registry."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from inhouse.core.principal import Principal
from inhouse.models.registry import ModelNotFound, ModelRegistry
from inhouse.training.studies.search import COMPLETE, RUNNING
from inhouse.training.studies.store import Study
from inhouse.training.studies.studies import Budget, Studies, StudyHasEnded, StudyNotFound

SHORT = {"epochs": 3, "batch_size": 16, "patience": 0}
LONG = {"epochs": 1000, "batch_size": 4, "patience": 0}
SPACE = {"learning_rate": {"low": 0.001, "high": 0.05, "log": True}}


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 100
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ended(studies: Studies, principal: Principal, study: Study) -> Study:
    until(lambda: studies.get(principal, study.id).has_ended)
    return studies.get(principal, study.id)


@pytest.mark.slow
def test_the_best_trial_becomes_the_only_version(
    studies: Studies, registry: ModelRegistry, principal: Principal, tmp_path: Path
):
    budget = Budget(trials=3, parallel=2, pruner="none")
    study = studies.start(
        principal, recipe="classify", dataset="desk", model="intent", config=SHORT, space=SPACE, budget=budget
    )

    done = ended(studies, principal, study)

    trials = studies.trials(principal, done)
    values = {trial.run_id: trial.best("accuracy") or 0.0 for trial in trials}
    assert (done.status, done.error, done.model_version) == ("succeeded", "", 1)
    assert [trial.state for trial in trials] == [COMPLETE] * 3
    assert len({trial.params["learning_rate"] for trial in trials}) == 3
    assert values[done.best_run or ""] == max(values.values())
    (version,) = registry.versions(principal, "intent")
    assert version.lineage["study_id"] == study.id
    assert version.lineage["run_id"] == done.best_run
    assert [path.parent.name for path in (tmp_path / "runs").glob("*/artifact")] == [done.best_run]


@pytest.mark.slow
def test_a_study_goes_on_after_the_server_was_away(
    start_studies: Callable[[], Studies], registry: ModelRegistry, principal: Principal
):
    studies = start_studies()
    budget = Budget(trials=3, pruner="none")
    study = studies.start(
        principal, recipe="classify", dataset="desk", model="intent", config=SHORT, space=SPACE, budget=budget
    )
    until(lambda: len(studies.trials(principal, study)) >= 2)
    before = [trial.params for trial in studies.trials(principal, study)][:2]

    again = start_studies()
    done = ended(again, principal, study)

    trials = again.trials(principal, done)
    assert done.status == "succeeded"
    assert [trial.number for trial in trials] == [0, 1, 2]
    assert [trial.params for trial in trials][:2] == before
    assert len(registry.versions(principal, "intent")) == 1


@pytest.mark.slow
def test_a_stopped_study_ends_its_trials(studies: Studies, registry: ModelRegistry, principal: Principal):
    study = studies.start(principal, recipe="classify", dataset="desk", model="intent", config=LONG, space=SPACE)
    until(lambda: any(trial.reports for trial in studies.trials(principal, study)))

    studies.stop(principal, study.id)
    done = ended(studies, principal, study)

    assert done.status == "stopped"
    assert RUNNING not in {trial.state for trial in studies.trials(principal, study)}
    with pytest.raises(StudyHasEnded):
        studies.stop(principal, study.id)
    with pytest.raises(ModelNotFound):
        registry.versions(principal, "intent")


@pytest.mark.slow
def test_the_budget_in_time_is_kept(studies: Studies, principal: Principal):
    study = studies.start(
        principal,
        recipe="classify",
        dataset="desk",
        model="intent",
        config=LONG,
        space=SPACE,
        budget=Budget(minutes=0.02),
    )

    done = ended(studies, principal, study)

    assert done.ended_at is not None
    assert done.started_at is not None
    assert done.ended_at - done.started_at < 60
    assert len(studies.trials(principal, done)) < 20


@pytest.mark.slow
def test_trials_that_all_fail_say_why(studies: Studies, principal: Principal):
    config = {**SHORT, "base": "/nowhere/at/all"}

    study = studies.start(
        principal, recipe="classify", dataset="desk", model="intent", config=config, budget=Budget(parallel=2)
    )
    done = ended(studies, principal, study)

    assert done.status == "failed"
    assert "/nowhere/at/all" in done.error
    assert len(studies.trials(principal, done)) <= 4


def test_another_workspace_sees_nothing(studies: Studies, principal: Principal, stranger: Principal):
    study = studies.start(principal, recipe="classify", dataset="desk", model="intent", config=SHORT)

    with pytest.raises(StudyNotFound):
        studies.get(stranger, study.id)
    assert studies.list(stranger) == []
