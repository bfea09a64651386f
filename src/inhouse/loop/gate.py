"""The release gate: may this version replace the live one? PROMOTE, HOLD or REJECT, with reasons."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from inhouse.training.compare import mcnemar

MIN_CLASS_ROWS = 4


class Decision(StrEnum):
    PROMOTE = "promote"
    HOLD = "hold"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Graded:
    """What both versions say of one row whose right label is known."""

    text: str
    label: str
    live: str
    candidate: str

    @property
    def fixed(self) -> bool:
        return self.candidate == self.label != self.live

    @property
    def broken(self) -> bool:
        return self.live == self.label != self.candidate


@dataclass(frozen=True, slots=True)
class Rules:
    """What the gate insists on. Shares are of 1."""

    significance: float = 0.05
    class_floor: float = 0.5
    golden_regressions: float = 0.05


@dataclass(frozen=True, slots=True)
class Reason:
    """One finding: a stable code, whether it stands in the way, and its figures."""

    code: str
    decision: Decision
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    decision: Decision
    reasons: list[Reason]


def judge(test: Sequence[Graded], golden: Sequence[Graded], rules: Rules | None = None) -> Verdict:
    """Weigh a candidate on the frozen test rows and on the golden cases (accepted corrections).

    The strictest finding decides. Without any proof of being better a candidate is held, not promoted.
    """
    rules = rules or Rules()
    reasons = [
        _frozen_test(test, rules),
        _class_floors(test, rules),
        _golden_cases(golden, rules),
    ]
    proofs = [reason for reason in reasons if reason.figures.get("proof")]
    if not proofs:
        reasons.append(Reason("no_proof", Decision.HOLD))
    order = [Decision.REJECT, Decision.HOLD, Decision.PROMOTE]
    return Verdict(min((reason.decision for reason in reasons), key=order.index), reasons)


def _frozen_test(rows: Sequence[Graded], rules: Rules) -> Reason:
    fixed, broken = sum(row.fixed for row in rows), sum(row.broken for row in rows)
    p = mcnemar([row.live == row.label for row in rows], [row.candidate == row.label for row in rows])
    significant = p < rules.significance
    figures = {
        "rows": len(rows),
        "live_accuracy": _share(sum(row.live == row.label for row in rows), len(rows)),
        "candidate_accuracy": _share(sum(row.candidate == row.label for row in rows), len(rows)),
        "fixed": fixed,
        "broken": broken,
        "p": round(p, 6),
        "proof": significant and fixed > broken,
    }
    worse = significant and broken > fixed
    return Reason("test_worse" if worse else "test_kept", Decision.REJECT if worse else Decision.PROMOTE, figures)


def _class_floors(rows: Sequence[Graded], rules: Rules) -> Reason:
    """A class that the live version could do must not fall below the floor by two rows or more."""
    by_label: dict[str, list[Graded]] = defaultdict(list)
    for row in rows:
        by_label[row.label].append(row)
    fallen: dict[str, Any] = {}
    for label, members in sorted(by_label.items()):
        live = sum(row.live == label for row in members)
        candidate = sum(row.candidate == label for row in members)
        if len(members) < MIN_CLASS_ROWS or live - candidate < 2:
            continue
        if candidate / len(members) < rules.class_floor <= live / len(members):
            fallen[label] = {"rows": len(members), "live": live, "candidate": candidate}
    if not fallen:
        return Reason("classes_kept", Decision.PROMOTE, {"classes": len(by_label)})
    decision = Decision.REJECT if len(fallen) > max(1, len(by_label) // 20) else Decision.HOLD
    return Reason("classes_fallen", decision, {"classes": len(by_label), "fallen": fallen})


def _golden_cases(rows: Sequence[Graded], rules: Rules) -> Reason:
    fixed, broken = sum(row.fixed for row in rows), sum(row.broken for row in rows)
    held = sum(row.live == row.label for row in rows)
    figures = {
        "cases": len(rows),
        "live_right": held,
        "candidate_right": sum(row.candidate == row.label for row in rows),
        "fixed": fixed,
        "broken": broken,
        "broken_texts": [row.text for row in rows if row.broken][:10],
        "proof": fixed > broken,
    }
    if broken and _share(broken, held) > rules.golden_regressions:
        return Reason("golden_broken", Decision.REJECT, figures)
    if broken:
        return Reason("golden_some_broken", Decision.HOLD, figures)
    return Reason("golden_kept", Decision.PROMOTE, figures)


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
