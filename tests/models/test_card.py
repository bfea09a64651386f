from inhouse.models.card import card
from inhouse.models.store import Evaluation, ModelVersion, Variant

SCORES = {
    "leave": {"precision": 0.9, "recall": 0.8, "f1": 0.847, "support": 40},
    "other|rest": {"precision": 0.5, "recall": 0.3, "f1": 0.375, "support": 3},
}
VERSION = ModelVersion(
    model="intent",
    number=3,
    kind="classify",
    digest="sha256:abc",
    size_bytes=2_500_000,
    labels=["leave", "other|rest"],
    metrics={"accuracy": 0.9125, "ece": 0.03, "per_class": SCORES},
    lineage={"dataset": "desk@v4", "recipe": "classify", "config": {"epochs": 6}, "seed": 7, "base": None},
    owner_id="user_ann",
    created_at=0.0,
    note="Made for the pilot.",
)
MANIFEST = {"temperature": 1.25, "unknown_threshold": 0.4, "max_length": 256}


def test_a_card_says_what_is_on_record():
    text = card(VERSION, manifest=MANIFEST, aliases=["live"])

    assert text.startswith("# intent:3\n")
    for fact in ("Aliases: live", "2.5 MB", "Made for the pilot.", "| accuracy | 0.9125 |", "Dataset: desk@v4"):
        assert fact in text
    for fact in ("Settings: epochs 6", "Seed: 7", "Temperature: 1.25", "at most 256 tokens"):
        assert fact in text
    assert "Base" not in text


def test_weak_and_hardly_known_classes_are_named_as_limits():
    text = card(VERSION, manifest=MANIFEST)

    assert "more often wrong than right on: other|rest." in text
    assert "fewer than five rows, so hardly known: other|rest." in text
    assert "| other\\|rest | 0.5 | 0.3 | 0.375 | 3 |" in text


def test_variants_and_evaluations_come_with_their_figures():
    variants = [
        Variant("int8", "ready", figures={"accuracy": 0.9, "cpu_ms": 0.5}),
        Variant("fp16", "refused", reason="It loses 3 points."),
    ]
    evaluations = [
        Evaluation("e1", "intent", 3, "calls", 1, "test", status="ready", metrics={"accuracy": 0.7}),
        Evaluation("e2", "intent", 3, "mails", 1, "test", status="queued"),
    ]

    text = card(VERSION, manifest=MANIFEST, variants=variants, evaluations=evaluations)

    assert "| int8 | ready | 0.9 |  | 0.5 |" in text
    assert "refused: It loses 3 points." in text
    assert "| calls@v1 test | accuracy 0.7 |" in text
    assert "mails" not in text
