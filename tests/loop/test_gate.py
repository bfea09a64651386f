from inhouse.loop.gate import Decision, Graded, judge


def rows(count: int, live: bool, candidate: bool, label: str = "leave") -> list[Graded]:
    said = {True: label, False: "x"}
    return [Graded(f"{label} {live} {candidate} {n}", label, said[live], said[candidate]) for n in range(count)]


def codes(test: list[Graded], golden: list[Graded]) -> tuple[Decision, set[str]]:
    verdict = judge(test, golden)
    return verdict.decision, {reason.code for reason in verdict.reasons}


def test_corrections_learned_and_nothing_lost_is_promoted() -> None:
    assert codes(rows(90, True, True) + rows(10, False, False), rows(6, False, True)) == (
        Decision.PROMOTE,
        {"test_kept", "classes_kept", "golden_kept"},
    )


def test_a_significant_loss_on_the_frozen_test_is_rejected() -> None:
    decision, found = codes(rows(80, True, True) + rows(20, True, False), rows(6, False, True))

    assert decision == Decision.REJECT
    assert "test_worse" in found


def test_a_loss_that_chance_explains_is_not() -> None:
    decision, _ = codes(rows(97, True, True) + rows(3, True, False), rows(6, False, True))

    assert decision == Decision.PROMOTE


def test_without_proof_of_being_better_it_is_held() -> None:
    assert codes(rows(100, True, True), []) == (
        Decision.HOLD,
        {"test_kept", "classes_kept", "golden_kept", "no_proof"},
    )


def test_forgetting_earlier_corrections_is_rejected() -> None:
    decision, found = codes(rows(100, True, True), rows(10, True, True) + rows(2, True, False) + rows(9, False, True))

    assert decision == Decision.REJECT
    assert "golden_broken" in found


def test_one_forgotten_correction_of_many_is_held() -> None:
    decision, found = codes(rows(100, True, True), rows(40, True, True) + rows(1, True, False) + rows(9, False, True))

    assert decision == Decision.HOLD
    assert "golden_some_broken" in found


def test_a_class_that_falls_below_the_floor_is_held() -> None:
    test = rows(200, True, True) + rows(4, True, False, "visa")

    decision, found = codes(test, rows(6, False, True))

    assert decision == Decision.HOLD
    assert "classes_fallen" in found


def test_many_fallen_classes_are_rejected() -> None:
    fallen = [row for n in range(3) for row in rows(2, True, True, f"class-{n}") + rows(3, True, False, f"class-{n}")]

    decision, found = codes(fallen + rows(9, False, True, "other"), rows(6, False, True))

    assert decision == Decision.REJECT
    assert "test_kept" in found
