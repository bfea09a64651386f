"""Training taggers: from scratch and on an encoder, in short texts and long ones."""

import json
import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.training.conftest import write_jsonl
from transformers import AutoModelForTokenClassification, AutoTokenizer, BertConfig, BertModel, BertTokenizerFast

from inhouse.core.events import EventLog
from inhouse.models.spans import Span
from inhouse.serving.artifact import ArtifactBroken, open_artifact
from inhouse.serving.runtime import load
from inhouse.training.child import FAILED, FINISHED, STOPPED, main
from inhouse.training.dataset import Row
from inhouse.training.evaluate_spans import evaluate_spans
from inhouse.training.spec import DATASET, SPEC, Spec

PEOPLE = [
    "Ada Byron",
    "Li Wei",
    "Grace Hopper",
    "Alan Kay",
    "王小明",
    "李雷",
    "Mary Shaw",
    "张伟",
    "Tom Ray",
    "Ida Rhodes",
]
CITIES = ["Paris", "Oslo", "上海", "Berlin", "北京", "Rome", "广州", "Lima", "Cairo", "成都"]
FRAMES = [
    "{person} lives in {city}.",
    "Please send it to {city}, {person} waits.",
    "{person}住在{city}。",
    "Nobody came.",
]
Rows = list[dict[str, Any]]
PrepareTag = Callable[..., Path]


def marked(frame: str, person: str, city: str) -> tuple[str, list[dict[str, Any]]]:
    text, spans = frame, []
    for label, name in (("person", person), ("city", city)):
        text = text.replace("{" + label + "}", name)
    for label, name in (("person", person), ("city", city)):
        if (at := text.find(name)) >= 0:
            spans.append({"start": at, "end": at + len(name), "label": label})
    return text, spans


def row(id: str, text: str, spans: Any, **more: Any) -> dict[str, Any]:
    return {"id": id, "text": text, "label": "", "content": {"spans": spans}, **more}


def rows(prefix: str, seed: int, count: int) -> Rows:
    chance = random.Random(seed)
    made = []
    for number in range(count):
        text, spans = marked(chance.choice(FRAMES), chance.choice(PEOPLE), chance.choice(CITIES))
        made.append(row(f"{prefix}{number}", text, spans))
    return made


@pytest.fixture
def prepare(tmp_path: Path) -> PrepareTag:
    return partial(make_run, tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The spec of a run that reads 40 characters at a time."""
    spec = make_run(tmp_path_factory.mktemp("trained"), **{**QUICK, "epochs": 14}, max_length=40)
    assert main(spec) == FINISHED
    return spec


def make_run(home: Path, name: str = "run", *, train: Rows | None = None, **config: Any) -> Path:
    run = home / name
    dataset = run / DATASET
    dataset.mkdir(parents=True)
    (dataset / "dataset.json").write_text('{"form": "spans"}')
    write_jsonl(dataset / "train.jsonl", rows("t", 0, 64) if train is None else train)
    write_jsonl(dataset / "dev.jsonl", rows("d", 1, 12))
    write_jsonl(dataset / "test.jsonl", rows("e", 2, 16))
    (run / SPEC).write_text(Spec(recipe="tag", config=config, threads=1).model_dump_json())
    return run / SPEC


QUICK = {"epochs": 8, "batch_size": 8, "learning_rate": 4e-3}


def manifest(spec: Path) -> dict[str, Any]:
    return json.loads((spec.parent / "artifact" / "manifest.json").read_bytes())


def events(spec: Path, type: str) -> list[dict[str, Any]]:
    return [event for event in EventLog(spec.parent / "events.jsonl").read() if event["type"] == type]


def failure(spec: Path) -> str:
    assert main(spec) == FAILED
    return events(spec, "failed")[-1]["message"]


def found(model: Any, text: str) -> list[tuple[str, str]]:
    return [(span["text"], span["label"]) for span in model.predict([text])[0]["spans"]]


@pytest.mark.parametrize("crf", [False, True], ids=["constrained", "learned order"])
def test_a_tagger_from_scratch_is_trained_judged_exported_and_served(prepare: PrepareTag, crf: bool):
    spec = prepare(**QUICK, crf=crf)

    assert main(spec) == FINISHED

    told = manifest(spec)
    assert (told["kind"], told["labels"]) == ("tag", ["city", "person"])
    assert told["settings"]["tags"] == ["O", "B-city", "I-city", "B-person", "I-person"]
    assert bool(told["settings"]["moves"]) == crf
    assert told["metrics"]["micro"]["f1"] > 0.9
    assert {"started", "step", "eval", "evaluated", "exported", "finished"} <= {
        event["type"] for event in EventLog(spec.parent / "events.jsonl").read()
    }
    model = load(spec.parent / "artifact")
    assert found(model, "Mary Shaw lives in Oslo.") == [("Mary Shaw", "person"), ("Oslo", "city")]
    assert found(model, "李雷住在广州。") == [("李雷", "person"), ("广州", "city")]


def test_the_same_spans_are_served_as_were_judged(trained: Path):
    held_out = [Row(**one) for one in rows("e", 2, 16)]

    model = load(trained.parent / "artifact")
    said = [[place(one) for one in output["spans"]] for output in model.predict([row.text for row in held_out])]

    report = evaluate_spans(lambda texts: said, held_out).metrics()
    assert report == manifest(trained)["metrics"]


def place(one: dict[str, Any]) -> Span:
    return Span(one["start"], one["end"], one["label"], one["score"])


def test_a_long_document_is_marked_to_its_end(trained: Path):
    text = "Nobody came. " * 40 + "Li Wei lives in Rome. " + "Nobody came. " * 40 + "张伟住在北京。"

    marked = load(trained.parent / "artifact").predict([text])[0]["spans"]

    assert [(span["text"], span["label"]) for span in marked if span["score"] > 0.8] == [
        ("Li Wei", "person"),
        ("Rome", "city"),
        ("张伟", "person"),
        ("北京", "city"),
    ]
    assert all(text[span["start"] : span["end"]] == span["text"] for span in marked)


def test_a_text_says_the_same_alone_and_among_others(trained: Path):
    model = load(trained.parent / "artifact")

    [alone], together = (
        model.predict(["Tom Ray lives in Lima."]),
        model.predict(["李", "Tom Ray lives in Lima.", "x" * 600]),
    )

    assert [span["text"] for span in together[1]["spans"]] == [span["text"] for span in alone["spans"]]
    assert together[1]["spans"][0]["score"] == pytest.approx(alone["spans"][0]["score"], abs=1e-5)


def test_the_seed_decides_the_weights_and_a_stopped_run_ends_with_the_same(prepare: PrepareTag):
    whole, stopped = prepare("a", epochs=2, crf=True), prepare("b", epochs=2, crf=True)
    main(whole)
    (stopped.parent / "stop").touch()

    assert main(stopped) == STOPPED
    (stopped.parent / "stop").unlink()
    main(stopped)

    assert manifest(stopped)["settings"]["moves"] == manifest(whole)["settings"]["moves"]
    assert manifest(stopped)["files"]["model.safetensors"] == manifest(whole)["files"]["model.safetensors"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("encoder")
    letters = sorted({letter for one in rows("t", 0, 64) for letter in one["text"].lower()} - {" "})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    (directory / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizerFast(str(directory / "vocab.txt"), model_max_length=64).save_pretrained(directory)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(vocabulary), max_position_embeddings=64, **sizes)).save_pretrained(directory)
    return directory


def test_a_tagger_on_an_encoder_is_a_network_that_transformers_opens(prepare: PrepareTag, base: Path):
    spec = prepare(base=str(base), epochs=10, batch_size=8, learning_rate=1e-3)

    assert main(spec) == FINISHED

    artifact = spec.parent / "artifact"
    text = "Alan Kay lives in Cairo."
    assert found(load(artifact), text) == [("Alan Kay", "person"), ("Cairo", "city")]
    network = AutoModelForTokenClassification.from_pretrained(artifact).eval()
    tokens = AutoTokenizer.from_pretrained(artifact)(text, return_tensors="pt")
    said = network(**tokens).logits[0].argmax(-1).tolist()
    assert network.config.id2label[said[1]] == "B-person"
    assert open_artifact(artifact).max_length == 64


def test_what_overlaps_a_longer_span_is_left_out_with_a_warning(prepare: PrepareTag):
    twice = row(
        "x", "Oslo is big", [{"start": 0, "end": 4, "label": "city"}, {"start": 0, "end": 11, "label": "person"}]
    )
    spec = prepare(train=[*rows("t", 0, 8), twice], epochs=1)

    assert main(spec) == FINISHED

    assert "1 spans overlap" in events(spec, "warning")[0]["message"]


def test_a_span_outside_of_its_text_ends_the_run_naming_the_row(prepare: PrepareTag):
    wrong = row("row-9", "Oslo", [{"start": 2, "end": 40, "label": "city"}])

    assert "'row-9'" in failure(prepare(train=[*rows("t", 0, 8), wrong]))


def test_a_base_that_is_none_is_named(prepare: PrepareTag, tmp_path: Path):
    assert "nowhere" in failure(prepare(base=str(tmp_path / "nowhere")))


def test_a_manifest_whose_tags_are_not_those_of_its_labels_is_refused(trained: Path, tmp_path: Path):
    broken = shutil.copytree(trained.parent / "artifact", tmp_path / "broken")
    told = manifest(trained)
    told["settings"]["tags"] = ["O", "B-city"]
    (broken / "manifest.json").write_text(json.dumps(told))

    with pytest.raises(ArtifactBroken, match="tags"):
        load(broken)
