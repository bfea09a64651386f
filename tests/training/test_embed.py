"""Embedders: from rows to a model that serving runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.conftest import PHRASES, write_jsonl

from inhouse.core.events import EventLog
from inhouse.data.examples import Form
from inhouse.serving.lm.checkpoint import Kind, open_checkpoint
from inhouse.serving.lm.runtime import Plan as ServingPlan
from inhouse.serving.lm.runtimes.transformers import TransformersRuntime
from inhouse.serving.runtime import load
from inhouse.testing.encoders import tiny_encoder
from inhouse.training.checkpoint import Checkpoints
from inhouse.training.child import FAILED, FINISHED, main
from inhouse.training.dataset import Row, Splits
from inhouse.training.loop import Loop
from inhouse.training.networks.matching import Matching
from inhouse.training.recipes.embed import Embed
from inhouse.training.spec import DATASET, SPEC, Spec

PREFIXES = ("", "please help: ", "hello, ", "请问")
Train = Callable[..., Path]


def pairs(split: str, left: str, right: str) -> list[dict[str, Any]]:
    """Every English phrase with two Chinese ones of its topic, under openers that tell the splits apart."""
    return [
        {
            "id": f"{split}-{topic}-{n}-{step}",
            "text": left + phrases[n],
            "label": "",
            "content": {"other": right + phrases[3 + (n + step) % 3], "score": 1.0},
        }
        for topic, phrases in PHRASES.items()
        for n in range(3)
        for step in (0, 1)
    ]


def labelled(split: str, opener: str) -> list[dict[str, Any]]:
    return [
        {"id": f"{split}-{topic}-{n}", "text": opener + phrase, "label": topic}
        for topic, phrases in PHRASES.items()
        for n, phrase in enumerate(phrases)
    ]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Train in this process and return the run's directory."""

    def train(
        rows: Callable[..., list[dict[str, Any]]], config: dict[str, Any], *, form: str, expect: int = FINISHED
    ) -> Path:
        run = tmp_path / "run"
        dataset = run / DATASET
        dataset.mkdir(parents=True)
        openers = {"train": PREFIXES[:2], "dev": PREFIXES[1:3], "test": PREFIXES[2:4]}
        for split, (left, right) in openers.items():
            given = rows(split, left, right) if form == "pair" else rows(split, left)
            write_jsonl(dataset / f"{split}.jsonl", given)
        (dataset / "dataset.json").write_text(json.dumps({"form": form}))
        spec = Spec(recipe="embed", config=config, threads=1)
        (run / SPEC).write_text(spec.model_dump_json())
        assert main(run / SPEC) == expect
        return run

    return train


def nearest(artifact: Path, question: str, known: list[str]) -> str:
    vectors = np.array([row["vector"] for row in load(artifact).predict([question, *known])])
    return known[int((vectors[1:] @ vectors[0]).argmax())]


@pytest.mark.parametrize(("rows", "form"), [(pairs, "pair"), (labelled, "text")])
def test_texts_that_mean_the_same_come_near_each_other(train: Train, rows: Callable[..., Any], form: str):
    run = train(rows, {"epochs": 20, "batch_size": 8, "learning_rate": 0.01}, form=form)

    manifest = json.loads((run / "artifact" / "manifest.json").read_bytes())
    metrics = manifest["metrics"]
    assert metrics["mrr"] > 0.9
    assert metrics["mrr"] >= metrics["base"]["mrr"]
    assert metrics["recall_at_1"] <= metrics["recall_at_5"] <= 1
    assert 0 < manifest["unknown_threshold"] <= 1
    assert nearest(run / "artifact", "holiday", ["print in colour", "annual leave", "忘记密码"]) == "annual leave"


def test_vectors_have_length_one_and_the_dimensions_of_the_manifest(train: Train):
    run = train(labelled, {"epochs": 1}, form="text")

    model = load(run / "artifact")
    [row] = model.predict(["请假几天"])

    assert np.linalg.norm(row["vector"]) == pytest.approx(1, abs=1e-5)
    assert len(row["vector"]) == model.manifest.settings["dimensions"]


@pytest.mark.parametrize("pooling", ["mean_tokens", "cls_token", "lasttoken"])
async def test_an_encoder_becomes_one_that_v1_embeddings_serves(train: Train, tmp_path: Path, pooling: str):
    base = tiny_encoder(tmp_path / "base", pooling=pooling)
    run = train(pairs, {"base": str(base), "epochs": 2, "mined_negatives": 2}, form="pair")
    artifact, texts = run / "artifact", ["how many days", "reset my password"]

    checkpoint = open_checkpoint(artifact)
    encoder = TransformersRuntime().load(ServingPlan("encoder", checkpoint, Kind.EMBEDDING))
    rows, _ = await encoder.embed(texts)
    await encoder.close()

    assert checkpoint.kind() is Kind.EMBEDDING
    np.testing.assert_allclose(rows, [row["vector"] for row in load(artifact).predict(texts)], atol=1e-4)


def test_the_artifact_has_the_files_of_sentence_transformers(train: Train, tmp_path: Path):
    base = tiny_encoder(tmp_path / "base")
    artifact = train(labelled, {"base": str(base), "epochs": 1, "max_length": 16}, form="text") / "artifact"

    modules = json.loads((artifact / "modules.json").read_text())
    assert [(one["path"], one["type"].rpartition(".")[2]) for one in modules] == [
        ("", "Transformer"),
        ("1_Pooling", "Pooling"),
        ("2_Normalize", "Normalize"),
    ]
    pooling = json.loads((artifact / "1_Pooling" / "config.json").read_text())
    assert pooling["word_embedding_dimension"] == 16
    assert [name for name, value in pooling.items() if value is True] == ["pooling_mode_mean_tokens"]
    assert json.loads((artifact / "sentence_bert_config.json").read_text())["max_seq_length"] == 16
    assert "1_Pooling/config.json" in json.loads((artifact / "manifest.json").read_bytes())["files"]


def test_a_run_stopped_amid_an_epoch_goes_on_to_the_same_weights(tmp_path: Path):
    whole, stopped = Training(tmp_path / "whole"), Training(tmp_path / "stopped")

    assert whole.run(stop_after=None)
    assert not stopped.run(stop_after=7)
    assert stopped.run(stop_after=None)

    assert all(torch.equal(value, stopped.weights[name]) for name, value in whole.weights.items())


class Training:
    """Trains on the same pairs each time it is run, from where it stopped."""

    def __init__(self, directory: Path) -> None:
        self._checkpoints = Checkpoints(directory)
        self.weights: dict[str, torch.Tensor] = {}

    def run(self, *, stop_after: int | None) -> bool:
        asked = iter(range(1000))
        rows = [Row(row["id"], row["text"], "", content=row["content"]) for row in pairs("train", "", "please: ")]
        splits = Splits(rows, rows[::4], [], form=Form.PAIR)
        task = Embed(epochs=3, batch_size=4, mined_negatives=3).prepare(splits, seed=1)
        assert isinstance(task, Matching)
        done = Loop(
            task,
            checkpoints=self._checkpoints,
            checkpoint_every_s=1000,
            emit=lambda *event, **values: None,
            should_stop=lambda: next(asked) == stop_after,
        ).run()
        self.weights = task.module.state_dict()
        return done


def test_one_group_teaches_nothing(train: Train):
    def alike(split: str, left: str, right: str) -> list[dict[str, Any]]:
        return [{"id": split, "text": f"{left}a", "label": "", "content": {"other": f"{right}b"}}]

    run = train(alike, {}, form="pair", expect=FAILED)

    assert "fewer than two groups" in EventLog(run / "events.jsonl").read()[-1]["message"]


def test_a_likeness_never_counts_against_its_like():
    """Two texts of one group among two of another: with likenesses known, so is the loss."""

    class Fixed(torch.nn.Module):
        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[1.0, 0.0], [0.6, 0.8], [1.0, 0.0], [0.0, 1.0]])

    task: Any = object.__new__(Matching)
    task._network = Fixed()
    task._recipe = type("Recipe", (), {"temperature": 1.0})
    empty = torch.zeros(4, 1)
    batch = {"input_ids": empty, "attention_mask": empty, "group": torch.tensor([7, 7, 7, 3])}

    judged = task.judge(batch)

    def against(like: float, unlike: float) -> float:
        return float(np.log1p(np.exp(unlike - like)))

    first = (against(0.6, 0.0) + against(1.0, 0.0)) / 2
    second = against(0.6, 0.8)
    assert judged.loss == pytest.approx(2 * first + second, abs=1e-5)
    assert (judged.right, judged.count) == (2, 3)
