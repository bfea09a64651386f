import pytest

from inhouse.core.principal import Principal
from inhouse.loop.loop import OtherDataset, SameVersion

from .conftest import CSV, DATASET, MODEL, WORDS, Rooms


async def taught(live: Rooms, principal: Principal) -> Rooms:
    """Corrections are accepted, and version 2 has learned them."""
    for n in range(6):
        live.loop.review.accept(principal, live.correct(principal, f"token {n} is lost", said="travel", label="token"))
    live.loop.review.make_dataset(principal, MODEL)
    live.add_version(principal, WORDS, taught=2)
    return live


async def test_a_version_that_learned_the_corrections_is_promoted(live: Rooms, principal: Principal) -> None:
    await taught(live, principal)

    verdict = await live.loop.gate(principal, MODEL, 2)

    assert (verdict.decision, verdict.live, verdict.candidate) == ("promote", 1, 2)
    figures = {reason["code"]: reason["figures"] for reason in verdict.reasons}
    assert figures["golden_kept"]["fixed"] == 6
    assert live.loop.verdicts(principal)[0] == verdict


async def test_a_poisoned_version_is_rejected_and_what_it_learned_is_quarantined(
    live: Rooms, principal: Principal
) -> None:
    for n in range(6):
        live.loop.review.accept(principal, live.correct(principal, f"hotel {n} please", said="travel", label="leave"))
    live.loop.review.make_dataset(principal, MODEL)
    live.add_version(
        principal, {"hotel": "leave", "flight": "leave", "holiday": "travel", "vacation": "travel"}, taught=2
    )

    verdict = await live.loop.gate(principal, MODEL, 2)

    assert verdict.decision == "reject"
    assert live.loop.review.waiting(principal, MODEL) == []
    live.loop.review.accept(principal, live.correct(principal, "token is lost", said="travel", label="token"))
    version, _ = live.loop.review.make_dataset(principal, MODEL)
    sources = [
        row.text for row in live.datasets.examples(principal, DATASET, version.number) if "feedback" in row.source
    ]
    assert (version.parent, sources) == (1, ["token is lost"])


async def test_what_was_rejected_is_found_however_many_versions_held_it(live: Rooms, principal: Principal) -> None:
    live.loop.review.accept(principal, live.correct(principal, "hotel please", said="travel", label="leave"))
    live.loop.review.make_dataset(principal, MODEL)
    live.loop.review.make_dataset(principal, MODEL)
    wrong = {"hotel": "leave", "flight": "leave", "holiday": "travel", "vacation": "travel"}
    live.add_version(principal, wrong, taught=2)

    await live.loop.gate(principal, MODEL, 2)

    assert live.loop.review.waiting(principal, MODEL) == []


async def test_no_candidate_brings_its_own_exam(live: Rooms, principal: Principal) -> None:
    live.datasets.create(principal, "mine", CSV.replace("leave", "token").encode(), "rows.csv")
    live.add_version(principal, {"holiday": "token"}, dataset="mine@v1")

    with pytest.raises(OtherDataset, match="'mine'"):
        await live.loop.gate(principal, MODEL, 2)


async def test_a_version_is_not_compared_with_itself(live: Rooms, principal: Principal) -> None:
    with pytest.raises(SameVersion):
        await live.loop.gate(principal, MODEL, 1)


async def test_the_next_thing_to_do_follows_the_loop(live: Rooms, principal: Principal) -> None:
    actions = []

    def look() -> None:
        found = live.loop.state(principal).next
        actions.append(found.action if found else None)

    look()
    feedback = live.correct(principal, "token is lost", said="travel", label="token")
    look()
    live.loop.review.accept(principal, feedback)
    look()
    live.loop.review.make_dataset(principal, MODEL)
    live.add_version(principal, WORDS, taught=2)
    look()
    await live.loop.gate(principal, MODEL, 2)
    look()
    release = await live.loop.releases.start(principal, MODEL, 2)
    look()
    live.loop.releases.promote(principal, release.id)
    look()

    assert actions == ["ask", "triage", "retrain", "gate", "release", "promote", None]


async def test_a_new_installation_begins_with_data(rooms: Rooms, principal: Principal) -> None:
    state = rooms.loop.state(principal)

    assert state.next is not None
    assert state.next.action == "upload"
    assert {stage.count for stage in state.stages.values()} == {0}
