"""Fine-tuning a local encoder: a tiny random one, made on the spot."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.training.conftest import OPENERS, Prepare, rows
from transformers import AutoModel, BertConfig, BertModel, BertTokenizerFast

from inhouse.core.events import EventLog
from inhouse.serving.artifact import open_artifact
from inhouse.serving.runtimes.onnx import OnnxRuntime
from inhouse.training.child import FAILED, FINISHED, main


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("encoder")
    words = sorted({character for row in rows(OPENERS, "") for character in row["text"]})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *(f"##{word}" for word in words)]
    (directory / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizerFast(str(directory / "vocab.txt")).save_pretrained(directory)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(directory)
    return directory


def run(spec: Path) -> list[dict[str, Any]]:
    main(spec)
    return EventLog(spec.parent / "events.jsonl").read()


def test_an_encoder_is_tuned_exported_and_usable_as_the_next_base(prepare: Prepare, base: Path):
    config = {"base": str(base), "epochs": 12, "learning_rate": 2e-3, "batch_size": 8}
    spec = prepare(config=config)

    assert main(spec) == FINISHED

    artifact = spec.parent / "artifact"
    served = OnnxRuntime().load(artifact, open_artifact(artifact))
    scores = served.predict(["forgot the password"])[0]["scores"]
    assert max(scores, key=scores.__getitem__) == "password"
    assert json.loads((artifact / "config.json").read_text())["id2label"]["0"] == "leave"
    assert AutoModel.from_pretrained(artifact).config.hidden_size == 32
    assert json.loads((artifact / "manifest.json").read_text())["max_length"] == 64


def test_a_missing_base_is_named(prepare: Prepare, tmp_path: Path):
    last = run(prepare(config={"base": str(tmp_path / "nowhere")}))[-1]

    assert (last["type"], last["code"]) == ("failed", "base_not_usable")
    assert "nowhere" in last["message"]


def test_pickled_weights_are_refused_unopened(prepare: Prepare, tmp_path: Path):
    base = tmp_path / "pickled"
    base.mkdir()
    (base / "config.json").write_text("{}")
    canary = tmp_path / "canary"
    (base / "pytorch_model.bin").write_bytes(f"cos\nsystem\n(S'touch {canary}'\ntR.".encode())

    last = run(prepare(config={"base": str(base)}))[-1]

    assert last["code"] == "pickled_weights"
    assert not canary.exists()


def test_a_pickle_under_the_name_of_safetensors_is_refused(prepare: Prepare, base: Path, tmp_path: Path):
    fake = tmp_path / "fake"
    fake.mkdir()
    for path in base.iterdir():
        (fake / path.name).write_bytes(path.read_bytes())
    (fake / "model.safetensors").write_bytes(b"cos\nsystem\n(S'true'\ntR.")

    spec = prepare(config={"base": str(fake)})

    assert main(spec) == FAILED
    assert run(spec)[-1]["code"] == "base_not_usable"
