from collections import Counter

import pytest

from inhouse.core.principal import Principal
from inhouse.loop.releases import BadShare, NotApproved, ReleaseNotFound, ReleaseOver, ReleaseRunning
from inhouse.models.registry import ModelNotFound
from inhouse.serving.artifact import ArtifactBroken

from .conftest import MODEL, WORDS, Rooms
from .test_loop import taught


async def approved(live: Rooms, principal: Principal) -> Rooms:
    await taught(live, principal)
    await live.loop.gate(principal, MODEL, 2)
    return live


async def served(live: Rooms, principal: Principal, asks: int = 300) -> Counter[int]:
    """Which versions answer that many conversations."""
    found = Counter()
    for n in range(asks):
        found[(await live.predictor.predict(principal, MODEL, ["hotel"], key=f"conversation-{n}"))[0].version] += 1
    return found


async def test_the_first_version_goes_live_at_once(live: Rooms, principal: Principal) -> None:
    assert live.registry.aliases(principal, MODEL) == {"live": 1}
    assert await served(live, principal, 20) == {1: 20}


async def test_a_canary_gets_its_share(live: Rooms, principal: Principal) -> None:
    await approved(live, principal)

    await live.loop.releases.start(principal, MODEL, 2, 0.2)

    assert live.registry.aliases(principal, MODEL) == {"live": 1, "candidate": 2}
    assert 35 < (await served(live, principal))[2] < 90


async def test_promotion_moves_all_traffic_and_tells_the_askers(live: Rooms, principal: Principal) -> None:
    await approved(live, principal)
    release = await live.loop.releases.start(principal, MODEL, 2)

    live.loop.releases.promote(principal, release.id)

    assert await served(live, principal, 20) == {2: 20}
    assert live.registry.aliases(principal, MODEL) == {"live": 2}
    fixed = [item.message.fixed_in for item in live.loop.review.inbox(principal, "accepted")]
    assert fixed == [{"model": MODEL, "version": 2}] * 6


@pytest.mark.parametrize("promoted", [False, True])
async def test_rolling_back_restores_the_former_version(live: Rooms, principal: Principal, promoted: bool) -> None:
    await approved(live, principal)
    release = await live.loop.releases.start(principal, MODEL, 2)
    if promoted:
        live.loop.releases.promote(principal, release.id)

    ended = live.loop.releases.roll_back(principal, release.id, "It felt wrong.")

    assert (ended.status, ended.reason) == ("rolled_back", "It felt wrong.")
    assert await served(live, principal, 20) == {1: 20}
    assert live.registry.aliases(principal, MODEL) == {"live": 1}


async def test_a_promotion_is_not_undone_under_a_running_canary(live: Rooms, principal: Principal) -> None:
    await approved(live, principal)
    first = await live.loop.releases.start(principal, MODEL, 2)
    live.loop.releases.promote(principal, first.id)
    live.loop.review.accept(principal, live.correct(principal, "beach time", said="leave", label="token"))
    live.loop.review.make_dataset(principal, MODEL)
    live.add_version(principal, {**WORDS, "beach": "token"}, taught=3)
    assert (await live.loop.gate(principal, MODEL, 3)).decision == "promote"
    await live.loop.releases.start(principal, MODEL, 3)

    with pytest.raises(ReleaseRunning):
        live.loop.releases.roll_back(principal, first.id, "")

    assert live.registry.aliases(principal, MODEL) == {"live": 2, "candidate": 3}


async def test_rolling_back_takes_the_good_news_back(live: Rooms, principal: Principal) -> None:
    await approved(live, principal)
    release = await live.loop.releases.start(principal, MODEL, 2)
    live.loop.releases.promote(principal, release.id)

    live.loop.releases.roll_back(principal, release.id, "")

    fixed = [item.message.fixed_in for item in live.loop.review.inbox(principal, "accepted")]
    assert fixed == [None] * 6


async def test_the_traffic_is_the_same_after_a_restart(live: Rooms, principal: Principal) -> None:
    await approved(live, principal)
    await live.loop.releases.start(principal, MODEL, 2)
    before = live.deployments.get(principal, MODEL).weights

    live.deployments.refresh()

    assert live.deployments.get(principal, MODEL).weights == before == {1: 0.8, 2: 0.2}


async def test_without_the_gates_word_nothing_is_released(live: Rooms, principal: Principal) -> None:
    live.add_version(principal, {"hotel": "leave", "flight": "leave", "holiday": "travel", "vacation": "travel"})

    with pytest.raises(NotApproved, match="has not seen it"):
        await live.loop.releases.start(principal, MODEL, 2)
    await live.loop.gate(principal, MODEL, 2)
    with pytest.raises(NotApproved, match="REJECT"):
        await live.loop.releases.start(principal, MODEL, 2)

    assert await served(live, principal, 20) == {1: 20}


async def test_a_model_has_one_canary_at_a_time(live: Rooms, principal: Principal) -> None:
    await approved(live, principal)
    release = await live.loop.releases.start(principal, MODEL, 2)

    with pytest.raises(ReleaseRunning):
        await live.loop.releases.start(principal, MODEL, 2)
    live.loop.releases.promote(principal, release.id)
    with pytest.raises(ReleaseOver):
        live.loop.releases.promote(principal, release.id)


async def test_a_broken_version_never_gets_traffic(live: Rooms, principal: Principal) -> None:
    await taught(live, principal)
    model = live.registry.directory(principal, MODEL, 2) / "model.onnx"
    model.write_bytes(model.read_bytes()[:-20] + b"x" * 20)

    with pytest.raises(ArtifactBroken):
        await live.loop.gate(principal, MODEL, 2)
    with pytest.raises(ArtifactBroken):
        await live.loop.releases.start(principal, MODEL, 2)

    assert await served(live, principal, 20) == {1: 20}


async def test_many_errors_roll_a_canary_back(live: Rooms, principal: Principal) -> None:
    await approved(live, principal)
    release = await live.loop.releases.start(principal, MODEL, 2)
    for n in range(40):
        live.answer(principal, f"question {n}", label="leave", version=1)
        live.answer(
            principal, f"question {n}", label="leave", version=2, status="failed" if n % 3 == 0 else "succeeded"
        )

    tripped = live.loop.releases.watch()

    assert [(one.id, one.reason) for one in tripped] == [(release.id, "guard:errors")]
    assert await served(live, principal, 20) == {1: 20}
    assert live.loop.releases.watch() == []


async def test_a_healthy_canary_is_left_alone(live: Rooms, principal: Principal) -> None:
    await approved(live, principal)
    await live.loop.releases.start(principal, MODEL, 2)
    for n in range(60):
        live.answer(principal, f"question {n}", label="leave", version=1 + n % 2)

    assert live.loop.releases.watch() == []


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, float("nan")])
async def test_a_share_lies_between_nothing_and_all(live: Rooms, principal: Principal, share: float) -> None:
    with pytest.raises(BadShare):
        await live.loop.releases.start(principal, MODEL, 1, share)


async def test_another_workspace_neither_sees_nor_moves_anything(
    live: Rooms, principal: Principal, stranger: Principal
) -> None:
    release = live.loop.releases.history(principal)[0]

    assert live.loop.releases.history(stranger) == []
    with pytest.raises(ReleaseNotFound):
        live.loop.releases.roll_back(stranger, release.id, "")
    with pytest.raises(ModelNotFound):
        await live.loop.releases.start(stranger, MODEL, 1)
