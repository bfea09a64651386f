"""Classifiers as users get them: trained through the child process, served by the runtime of the server."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.training.conftest import Prepare, write_jsonl

from inhouse.core.events import EventLog
from inhouse.serving.runtime import load
from inhouse.testing.encoders import tiny_encoder
from inhouse.training.child import FAILED, FINISHED, main

SAID = {
    "leave": ["how many leave days", "my holiday days", "leave", "days holiday", "how many holiday days", "a leave"],
    "login": ["reset my password", "vpn password", "the vpn", "password", "how reset password", "my vpn"],
}
ELSEWHERE = ["how the", "many a the", "is the a", "how is a", "is how many", "a a how"]

QUICK = {"learning_rate": 2e-3, "head_learning_rate": 0.3, "epochs": 8}
"""A random encoder tells little of a text: it takes larger steps than a trained one."""


def rows(split: str, *, oos: bool = False, several: bool = False) -> list[dict[str, Any]]:
    """Two rows of each label for dev and test, all of them for training."""
    parts = {"train": slice(None), "dev": slice(0, 2), "test": slice(2, 4)}
    said = SAID | ({"oos": ELSEWHERE} if oos else {})
    found = [
        {"id": f"{split}-{label}-{number}", "text": text, "label": label, "source": "import", "content": {}}
        for label, texts in said.items()
        for number, text in enumerate(texts[parts[split]])
    ]
    if several:
        for row in found:
            row["content"] = {"labels": [row["label"]]}
        both = {"text": "leave vpn", "label": "leave", "source": "import", "content": {"labels": ["leave", "login"]}}
        neither = {"text": "how is the", "label": "", "source": "import", "content": {"labels": []}}
        found += [{"id": f"{split}-both", **both}, {"id": f"{split}-neither", **neither}]
    return found


def dataset(spec: Path, **kinds: bool) -> Path:
    """Put these rows into the run's dataset."""
    for split in ("train", "dev", "test"):
        write_jsonl(spec.parent / "dataset" / f"{split}.jsonl", rows(split, **kinds))
    return spec


def manifest(spec: Path) -> dict[str, Any]:
    return json.loads((spec.parent / "artifact" / "manifest.json").read_bytes())


def failure(spec: Path) -> dict[str, Any]:
    assert main(spec) == FAILED
    return EventLog(spec.parent / "events.jsonl").read()[-1]


def predicted(spec: Path, texts: list[str]) -> list[dict[str, float]]:
    return [output["scores"] for output in load(spec.parent / "artifact").predict(texts)]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_encoder(tmp_path_factory.mktemp("encoder"), pooling="mean_tokens"))


@pytest.mark.parametrize("effort", ["instant", "normal"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_an_encoder_learns_with_any_effort_and_is_served(prepare: Prepare, encoder: str, effort: str, pooling: str):
    config = {"base": encoder, "effort": effort, "pooling": pooling, "dropout": 0, **QUICK}
    spec = dataset(prepare(config=config))

    assert main(spec) == FINISHED

    said = [max(scores, key=scores.__getitem__) for scores in predicted(spec, ["my holiday days", "vpn password"])]
    assert said == ["leave", "login"]
    assert manifest(spec)["metrics"]["accuracy"] == 1


def test_rows_of_no_label_teach_the_threshold_and_no_label(prepare: Prepare, encoder: str):
    spec = dataset(prepare(config={"base": encoder, "effort": "instant"}), oos=True)

    assert main(spec) == FINISHED

    made = manifest(spec)
    assert made["labels"] == ["leave", "login"]
    assert made["metrics"]["oos"].keys() == {
        "auroc",
        "recall",
        "in_scope_accuracy_at_threshold",
        "threshold",
        "count",
    }
    assert made["metrics"]["oos"]["threshold"] == made["unknown_threshold"]
    assert made["settings"]["unknown_logit"] is not None


def test_what_is_served_as_unknown_is_what_the_evaluation_counted(prepare: Prepare, encoder: str):
    spec = dataset(prepare(config={"base": encoder, "effort": "instant"}), oos=True)
    main(spec)
    threshold, judged = manifest(spec)["unknown_threshold"], manifest(spec)["metrics"]["oos"]

    outside = [max(scores.values()) < threshold for scores in predicted(spec, ELSEWHERE[2:4])]
    inside = predicted(spec, [text for texts in SAID.values() for text in texts[2:4]])
    truth = ["leave", "leave", "login", "login"]
    answered = [s[label] == max(s.values()) >= threshold for s, label in zip(inside, truth, strict=True)]

    assert sum(outside) / 2 == judged["recall"]
    assert sum(answered) / 4 == judged["in_scope_accuracy_at_threshold"]


def test_with_no_label_for_the_rest_it_is_one_like_the_others(prepare: Prepare, encoder: str):
    spec = dataset(prepare(config={"base": encoder, "effort": "instant", "unknown_label": ""}), oos=True)

    main(spec)

    assert manifest(spec)["labels"] == ["leave", "login", "oos"]


@pytest.mark.parametrize("effort", ["instant", "normal"])
def test_a_text_can_have_several_labels_or_none(prepare: Prepare, encoder: str, effort: str):
    config = {"base": encoder, "effort": effort, "epochs": 20, "dropout": 0, **QUICK}
    spec = dataset(prepare(config=config), several=True)

    assert main(spec) == FINISHED

    made = manifest(spec)
    both, neither = predicted(spec, ["leave vpn", "how is the"])
    assert made["settings"]["multi_label"] is True
    assert all(both[label] >= made["settings"]["thresholds"][label] for label in ("leave", "login"))
    assert all(neither[label] < made["settings"]["thresholds"][label] for label in ("leave", "login"))
    assert made["metrics"].keys() >= {"micro_f1", "macro_f1", "accuracy", "per_class"}


def test_several_labels_are_learned_from_scratch_too(prepare: Prepare):
    spec = dataset(prepare(config={"epochs": 20}), several=True)

    assert main(spec) == FINISHED
    assert manifest(spec)["metrics"]["micro_f1"] > 0.8


def test_a_version_from_scratch_is_the_base_of_the_next(prepare: Prepare):
    first = dataset(prepare("first", config={"epochs": 12}))
    main(first)
    config = {"base": str(first.parent / "artifact"), "epochs": 1, "learning_rate": 1e-6}
    second = dataset(prepare("second", config=config))

    assert main(second) == FINISHED
    assert predicted(second, ["vpn"])[0]["login"] == pytest.approx(predicted(first, ["vpn"])[0]["login"], abs=0.02)


def test_a_version_on_an_encoder_is_the_base_of_the_next(prepare: Prepare, encoder: str):
    first = dataset(prepare("first", config={"base": encoder, "effort": "instant", "pooling": "cls"}))
    main(first)
    second = dataset(prepare("second", config={"base": str(first.parent / "artifact"), "effort": "instant"}))

    assert main(second) == FINISHED
    assert json.loads((second.parent / "artifact" / "config.json").read_bytes())["inhouse"]["pooling"] == "cls"


def test_a_label_that_is_only_held_out_is_named(prepare: Prepare):
    spec = dataset(prepare())
    extra = [*rows("test"), {"id": "x", "text": "x", "label": "parking", "source": "import", "content": {}}]
    write_jsonl(spec.parent / "dataset" / "test.jsonl", extra)

    assert "'parking'" in failure(spec)["message"]


def test_weights_of_another_network_are_refused(prepare: Prepare, encoder: str, tmp_path: Path):
    wrong = tiny_encoder(tmp_path / "wrong")
    about = json.loads((wrong / "config.json").read_bytes())
    (wrong / "config.json").write_text(json.dumps({**about, "num_hidden_layers": 3}))

    last = failure(dataset(prepare(config={"base": str(wrong)})))

    assert last["code"] == "base_not_usable"
    assert "layer.2" in last["message"]
