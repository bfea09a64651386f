import math

import pytest

from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.serving.artifact import ArtifactBroken
from inhouse.serving.deployments import BadWeights, Deployments, NotDeployed
from inhouse.serving.pool import Pool
from inhouse.serving.predictor import NothingToPredict, Predictor

from .conftest import Shelf


@pytest.fixture
def deployments(sqlite: Database) -> Deployments:
    return Deployments(sqlite)


def test_deployments_survive_a_restart(db: Database, principal: Principal):
    Deployments(db).put(principal, "intent", {1: 0.8, 2: 0.2}, note="canary")

    restarted = Deployments(db)
    restarted.refresh()

    assert restarted.get(principal, "intent").weights == {1: 0.8, 2: 0.2}
    assert restarted.get(principal, "intent").note == "canary"


def test_a_change_keeps_the_time_of_the_first_deployment(db: Database, principal: Principal):
    deployments = Deployments(db)
    first = deployments.put(principal, "intent", {1: 1})
    second = deployments.put(principal, "intent", {2: 1})

    assert second.created_at == first.created_at
    assert second.updated_at >= first.updated_at


def test_weights_set_in_a_transaction_that_fails_are_not_there(db: Database, principal: Principal):
    deployments = Deployments(db)

    def promote() -> None:
        with db.write() as conn:
            deployments.set(conn, principal, "intent", {1: 1})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        promote()
    deployments.refresh()

    with pytest.raises(NotDeployed):
        deployments.get(principal, "intent")


def test_another_workspace_sees_nothing(deployments: Deployments, principal: Principal, stranger: Principal):
    deployments.put(principal, "intent", {1: 1})

    assert deployments.list(stranger) == []
    with pytest.raises(NotDeployed):
        deployments.choose(stranger, "intent", "ann")


def test_traffic_is_shared_by_weight_and_sticky(deployments: Deployments, principal: Principal):
    deployments.put(principal, "intent", {1: 4, 2: 1})

    chosen = {f"user {n}": deployments.choose(principal, "intent", f"user {n}") for n in range(2000)}

    assert 300 < sum(version == 2 for version in chosen.values()) < 500
    assert all(deployments.choose(principal, "intent", key) == version for key, version in chosen.items())


@pytest.mark.parametrize("weights", [{}, {1: 0}, {1: -1}, {1: math.nan}, {1: math.inf}])
def test_weights_that_mean_nothing_are_refused(
    deployments: Deployments, principal: Principal, weights: dict[int, float]
):
    with pytest.raises(BadWeights):
        deployments.put(principal, "intent", weights)


def test_an_unknown_model_names_the_deployed_ones(deployments: Deployments, principal: Principal):
    deployments.put(principal, "intent", {1: 1})

    with pytest.raises(NotDeployed, match="'tone'") as refused:
        deployments.get(principal, "tone")

    assert "intent" in refused.value.hint


@pytest.fixture
def predictor(pool: Pool, deployments: Deployments) -> Predictor:
    return Predictor(pool, deployments)


async def test_a_new_version_answers_once_it_is_deployed(predictor: Predictor, principal: Principal):
    await predictor.deploy(principal, "intent", {1: 1})
    [before] = await predictor.predict(principal, "intent", ["tunnel"])
    await predictor.deploy(principal, "intent", {2: 1})
    [after] = await predictor.predict(principal, "intent", ["tunnel"])

    assert (before.version, after.version, after.label) == (1, 2, "vpn")


async def test_a_corrupt_version_leaves_the_previous_one_serving(
    predictor: Predictor, shelf: Shelf, principal: Principal
):
    await predictor.deploy(principal, "intent", {1: 1})
    (shelf.root / "intent" / "2" / "model.onnx").write_bytes(b"junk")

    with pytest.raises(ArtifactBroken):
        await predictor.deploy(principal, "intent", {2: 1})

    assert (await predictor.predict(principal, "intent", ["vpn"]))[0].version == 1


async def test_a_text_that_no_label_fits_is_unknown(predictor: Predictor, shelf: Shelf, principal: Principal):
    manifest = shelf.root / "intent" / "1" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"unknown_threshold": 0.35', '"unknown_threshold": 0.8'))
    await predictor.deploy(principal, "intent", {1: 1})

    unknown, known = await predictor.predict(principal, "", ["something else", "vpn"], top_k=1)

    assert (unknown.known, known.known) == (False, True)
    assert list(known.scores) == ["vpn"]


async def test_no_text_at_all_is_refused(predictor: Predictor, principal: Principal):
    with pytest.raises(NothingToPredict):
        await predictor.predict(principal, "intent", [])
