import fcntl
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.training.conftest import OPENERS, Prepare, rows

from inhouse.core.events import EventLog
from inhouse.serving.artifact import open_artifact
from inhouse.serving.runtimes.onnx import OnnxRuntime
from inhouse.training.child import FAILED, FINISHED, STOPPED, main


def events(spec: Path, type: str = "") -> list[dict[str, Any]]:
    return [event for event in EventLog(spec.parent / "events.jsonl").read() if type in ("", event["type"])]


def manifest(spec: Path) -> dict[str, Any]:
    return json.loads((spec.parent / "artifact" / "manifest.json").read_bytes())


def weights(spec: Path) -> str:
    return manifest(spec)["files"]["model.safetensors"]["sha256"]


def failure(spec: Path) -> str:
    assert main(spec) == FAILED
    return events(spec, "failed")[-1]["message"]


def test_a_run_leaves_a_model_that_serving_can_load(prepare: Prepare):
    spec = prepare(config={}, lineage={"run_id": "run_1", "dataset": "desk@v1"})

    assert main(spec) == FINISHED

    artifact = spec.parent / "artifact"
    served = OnnxRuntime().load(artifact, open_artifact(artifact))
    said = [max(row["scores"], key=row["scores"].get) for row in served.predict(["PASSWORD expired!", "打印机卡纸了"])]
    assert said == ["password", "printer"]
    assert manifest(spec)["metrics"]["accuracy"] > 0.9
    assert manifest(spec)["lineage"].items() >= {"run_id": "run_1", "dataset": "desk@v1", "seed": 0}.items()
    assert {event["type"] for event in events(spec)} >= {"started", "step", "eval", "evaluated", "exported", "finished"}


def test_the_seed_decides_the_weights(prepare: Prepare):
    first, again, other = prepare("a", seed=7), prepare("b", seed=7), prepare("c", seed=8)
    for spec in (first, again, other):
        main(spec)

    assert weights(first) == weights(again) != weights(other)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_run_killed_at_five_random_points_ends_with_the_same_weights(prepare: Prepare):
    """With all that there is to remember between steps: dropout, gradients in parts, the average of the weights."""
    config = {"epochs": 12, "batch_size": 6, "dropout": 0.5, "accumulate": 2, "ema": 0.9}
    undisturbed = prepare("a", config=config)
    tormented = prepare("b", config=config, checkpoint_every_s=0)
    main(undisturbed)
    last = events(undisturbed, "step")[-1]

    for steps in sorted(random.Random(time.time_ns()).sample(range(1, last["step"] - 1), 5)):
        _kill_after(tormented, steps)
    code = main(tormented)

    assert code == FINISHED
    assert len(events(tormented, "started")) > 1
    assert events(tormented, "step")[-1]["loss"] == last["loss"]
    assert weights(tormented) == weights(undisturbed)


def _kill_after(spec: Path, steps: int) -> None:
    """Start the training process and kill it at about that step, wherever it is then."""
    child = subprocess.Popen([sys.executable, "-m", "inhouse.training.child", str(spec)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not any(event["step"] >= steps for event in events(spec, "checkpoint")):
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL


def test_a_run_that_was_asked_to_stop_goes_on_when_started_again(prepare: Prepare):
    spec, whole = prepare("a"), prepare("b")
    stop = spec.parent / "stop"
    stop.touch()

    assert main(spec) == STOPPED
    stop.unlink()
    assert main(spec) == FINISHED
    main(whole)

    assert events(spec, "stopped")
    assert weights(spec) == weights(whole)


def test_a_finished_run_is_not_trained_again(prepare: Prepare):
    spec = prepare()
    main(spec)
    before = len(events(spec))

    assert main(spec) == FINISHED

    assert len(events(spec)) == before


def test_two_processes_never_train_one_run(prepare: Prepare):
    spec = prepare()
    with (spec.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        assert main(spec) == FAILED

    assert events(spec) == []


def test_a_label_with_one_row_is_learned_like_any_other(prepare: Prepare):
    single = {"id": "x", "text": "fire in the kitchen", "label": "alarm", "source": "import"}
    spec = prepare(train=[*rows(OPENERS, "t"), single], config={})

    assert main(spec) == FINISHED

    artifact = spec.parent / "artifact"
    (said,) = OnnxRuntime().load(artifact, open_artifact(artifact)).predict(["a fire in the kitchen"])
    assert max(said["scores"], key=said["scores"].get) == "alarm"


def test_a_few_corrections_teach_a_new_word(prepare: Prepare):
    taught = [
        {"id": f"c{i}", "text": text, "label": "password", "source": f"feedback:{i}"}
        for i, text in enumerate(["my kestrel is lost", "红隼丢了"])
    ]
    spec = prepare(train=rows(OPENERS[:2], "t") + taught, config={})
    main(spec)

    artifact = spec.parent / "artifact"
    said = OnnxRuntime().load(artifact, open_artifact(artifact)).predict(["new kestrel please", "红隼怎么领"])

    assert [max(row["scores"], key=row["scores"].get) for row in said] == ["password", "password"]


def test_one_label_is_not_enough(prepare: Prepare):
    only = [row for row in rows(OPENERS, "t") if row["label"] == "leave"]

    assert "at least two" in failure(prepare(train=only))


def test_a_label_without_training_rows_is_named(prepare: Prepare):
    without = [row for row in rows(OPENERS, "t") if row["label"] != "printer"]

    assert "'printer'" in failure(prepare(train=without))


def test_a_row_that_is_not_labelled_is_named_by_its_line(prepare: Prepare):
    spec = prepare()
    (spec.parent / "dataset" / "train.jsonl").write_text('{"text": "no label"}\n')

    assert "Line 1 of train.jsonl" in failure(spec)


def test_a_spec_that_cannot_be_read_says_so(tmp_path: Path):
    (tmp_path / "spec.json").write_text('{"recipe": "classify", "thread": 2}')

    assert "thread" in failure(tmp_path / "spec.json")
