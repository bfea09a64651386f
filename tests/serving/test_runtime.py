import json
import time
from pathlib import Path

import pytest

from inhouse.serving.artifact import ArtifactBroken
from inhouse.serving.runtime import NoRuntime, load
from inhouse.testing.models import tiny_classifier


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    return tiny_classifier(tmp_path / "model", ["leave", "vpn"], {"holiday": "leave", "年假": "leave", "vpn": "vpn"})


def edit(artifact: Path, **changes: object) -> None:
    path = artifact / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("text", "label"),
    [("How many days of HOLIDAY?", "leave"), ("我的年假还有几天", "leave"), ("the vpn is down again and again", "vpn")],
)
def test_a_loaded_model_finds_the_label(artifact: Path, text: str, label: str):
    scores = load(artifact).predict([text])[0]["scores"]

    assert max(scores, key=lambda name: scores[name]) == label
    assert sum(scores.values()) == pytest.approx(1)


def test_a_huge_text_is_read_as_far_as_the_model_reads(artifact: Path):
    model = load(artifact)
    started = time.thread_time()

    [said] = model.predict(["vpn " + "holiday " * 500_000])

    assert time.thread_time() - started < 0.2
    assert said == model.predict(["vpn " + "holiday " * 100])[0]


def test_a_text_scores_the_same_alone_and_in_a_batch(artifact: Path):
    model = load(artifact)

    [alone] = model.predict(["vpn"])
    together = model.predict(["a much longer text about a holiday and the vpn", "vpn", ""])

    assert together[1]["scores"] == pytest.approx(alone["scores"])


def test_the_temperature_of_the_manifest_softens_the_scores(tmp_path: Path):
    words = {"vpn": "vpn"}
    sharp = load(tiny_classifier(tmp_path / "sharp", ["leave", "vpn"], words)).predict(["vpn"])[0]
    soft = load(tiny_classifier(tmp_path / "soft", ["leave", "vpn"], words, temperature=4.0)).predict(["vpn"])[0]

    assert 0.5 < soft["scores"]["vpn"] < sharp["scores"]["vpn"]


def test_one_flipped_byte_is_refused(artifact: Path):
    network = artifact / "model.onnx"
    content = bytearray(network.read_bytes())
    content[len(content) // 2] ^= 1
    network.write_bytes(content)

    with pytest.raises(ArtifactBroken, match=r"'model\.onnx' was changed"):
        load(artifact)


def test_a_missing_file_is_named(artifact: Path):
    (artifact / "tokenizer.json").unlink()

    with pytest.raises(ArtifactBroken, match=r"'tokenizer\.json' is missing"):
        load(artifact)


def test_a_manifest_that_points_outside_is_refused(artifact: Path):
    (artifact.parent / "secret").write_text("x")
    edit(artifact, files={"../secret": {"sha256": "", "size": 1}})

    with pytest.raises(ArtifactBroken, match="outside of the model"):
        load(artifact)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"kind": "classify"}', '{"kind": 3}'])
def test_a_manifest_that_is_no_manifest_is_refused(artifact: Path, content: str):
    (artifact / "manifest.json").write_text(content)

    with pytest.raises(ArtifactBroken, match=r"manifest\.json is not valid"):
        load(artifact)


def test_a_network_with_other_labels_than_the_manifest_is_refused(artifact: Path):
    edit(artifact, labels=["leave", "vpn", "invoice"])

    with pytest.raises(ArtifactBroken):
        load(artifact)


def test_a_kind_that_nothing_serves_names_the_known_runtimes(artifact: Path):
    edit(artifact, kind="paint")

    with pytest.raises(NoRuntime, match="'paint'") as refused:
        load(artifact)

    assert "onnx" in refused.value.hint


def test_a_language_model_is_sent_where_it_is_served(artifact: Path):
    edit(artifact, kind="adapter")

    with pytest.raises(NoRuntime) as refused:
        load(artifact)

    assert "/v1/chat/completions" in refused.value.hint
