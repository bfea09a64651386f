"""Every recipe for language models, from rows to an artifact, by the training process that users have."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from inhouse.core.events import EventLog
from inhouse.models.language.weights import weights_digest
from inhouse.models.manifest import read_manifest
from inhouse.testing.language import tiny_language_model
from inhouse.training.child import FAILED, FINISHED, main
from inhouse.training.spec import ARTIFACT, DATASET, EVENTS, SPEC, Spec

QUICK = {"epochs": 1, "batch_size": 4, "samples": 1, "max_length": 256}
NAMES = ("car", "house", "tree", "cup", "pen", "door", "lamp", "boat")
COLOURS = ("red", "green", "blue")
Rows = list[dict[str, Any]]


def questions(colour: str) -> list[tuple[str, str]]:
    return [(f"What colour is the {name}?", f"The {name} is {colour}.") for name in NAMES]


def row(number: int, text: str, label: str = "", **content: Any) -> dict[str, Any]:
    return {"id": f"row-{number}", "text": text, "label": label, "content": content}


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def rows_of(form: str, colour: str = "red") -> Rows:
    made: Rows = []
    for number, (question, answer) in enumerate(questions(colour)):
        talk = [user(question)]
        if form == "chat":
            made.append(row(number, question, messages=[*talk, {"role": "assistant", "content": answer}]))
        elif form == "preference":
            made.append(row(number, question, messages=talk, chosen=answer, rejected="I do not know."))
        elif form == "rating":
            good = number % 2 == 0
            made.append(row(number, question, messages=talk, answer=answer if good else "No idea.", good=good))
        elif form == "pair":
            made.append(row(number, question, other=f"Tell me the colour of the {NAMES[number]}.", score=1.0))
        else:
            made.append(row(number, question, label=answer))
    return made


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_language_model(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """What the training process sets for itself stays in the test."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("default")


def train(
    run: Path, recipe: str, form: str, *, rows: Rows | None = None, held_out: Rows | None = None, **config: Any
) -> int:
    dataset = run / DATASET
    dataset.mkdir(parents=True)
    (dataset / "dataset.json").write_text(json.dumps({"form": form}))
    known = held_out or rows_of(form)[:2]
    splits = {"train": rows_of(form) if rows is None else rows, "dev": known, "test": known}
    for name, content in splits.items():
        (dataset / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in content))
    spec = Spec(
        recipe=recipe,
        config={**QUICK, **{k: str(v) if isinstance(v, Path) else v for k, v in config.items()}},
        threads=1,
    )
    (run / SPEC).write_text(spec.model_dump_json())
    return main(run / SPEC)


def reason(run: Path) -> str:
    last = list(EventLog(run / EVENTS).read())[-1]
    assert last["type"] == "failed"
    return last["message"]


@pytest.mark.parametrize(
    ("recipe", "form"),
    [
        ("sft", "chat"),
        ("sft", "pair"),
        ("sft", "text"),
        ("dpo", "preference"),
        ("kto", "rating"),
        ("generate", "pair"),
    ],
)
def test_a_base_is_tuned_to_an_adapter_that_says_what_it_belongs_to(
    base: Path, tmp_path: Path, recipe: str, form: str
) -> None:
    assert train(tmp_path, recipe, form, base=base, r=4) == FINISHED

    manifest = read_manifest(tmp_path / ARTIFACT)
    assert manifest["kind"] == "adapter"
    assert manifest["settings"]["base"] == {"name": str(base), "digest": weights_digest(base)}
    assert set(manifest["files"]) == {"adapter_config.json", "adapter_model.safetensors"}
    assert manifest["metrics"]["loss"] > 0
    assert manifest["metrics"]["samples"][0].keys() == {"prompt", "expected", "answer"}


@pytest.mark.parametrize(
    ("recipe", "form"),
    [("sft", "chat"), ("dpo", "preference"), ("kto", "rating"), ("generate", "text")],
)
def test_without_a_base_a_small_model_is_trained_whole(tmp_path: Path, recipe: str, form: str) -> None:
    rows = rows_of(form) if form != "text" else [{**one, "label": "colour"} for one in rows_of(form)]

    assert train(tmp_path, recipe, form, rows=rows) == FINISHED

    manifest = read_manifest(tmp_path / ARTIFACT)
    assert manifest["kind"] == "chat"
    assert {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"} <= set(manifest["files"])


def test_a_small_model_learns_its_lesson(tmp_path: Path) -> None:
    for one in (rows := rows_of("chat")):
        one["content"]["messages"][-1]["content"] = "Red."

    assert train(tmp_path, "sft", "chat", rows=rows, held_out=rows, epochs=8, learning_rate=5e-3) == FINISHED

    metrics = read_manifest(tmp_path / ARTIFACT)["metrics"]
    assert metrics["token_accuracy"] > 0.9
    assert metrics["samples"][0]["answer"] == "Red."


def test_preferences_make_the_chosen_answers_likelier(base: Path, tmp_path: Path) -> None:
    config = {"epochs": 8, "learning_rate": 1e-2, "r": 8, "patience": 0, "precision": "fp32"}

    assert train(tmp_path, "dpo", "preference", base=base, **config) == FINISHED

    metrics = read_manifest(tmp_path / ARTIFACT)["metrics"]
    assert metrics["reward_accuracy"] == 1.0
    assert metrics["reward_margin"] > 0


def test_ratings_make_good_answers_likelier_than_bad_ones(base: Path, tmp_path: Path) -> None:
    config = {"epochs": 8, "learning_rate": 1e-2, "r": 8, "patience": 0, "precision": "fp32"}

    assert train(tmp_path, "kto", "rating", base=base, **config) == FINISHED

    assert read_manifest(tmp_path / ARTIFACT)["metrics"]["reward_margin"] > 0


def test_packing_changes_nothing_but_the_speed(base: Path, tmp_path: Path) -> None:
    whole = {"base": base, "batch_size": 8, "precision": "fp32", "epochs": 2}

    train(tmp_path / "rows", "sft", "chat", packing="off", **whole)
    train(tmp_path / "packs", "sft", "chat", packing="on", **whole)

    rows, packs = (read_manifest(tmp_path / run / ARTIFACT)["metrics"] for run in ("rows", "packs"))
    assert packs["loss"] == pytest.approx(rows["loss"], abs=1e-5)


def test_batches_that_are_accumulated_weigh_every_token_the_same(base: Path, tmp_path: Path) -> None:
    whole = {"base": base, "precision": "fp32", "epochs": 2}

    train(tmp_path / "one", "sft", "chat", batch_size=8, **whole)
    train(tmp_path / "four", "sft", "chat", batch_size=2, accumulate=4, **whole)

    one, four = (read_manifest(tmp_path / run / ARTIFACT)["metrics"] for run in ("one", "four"))
    assert four["loss"] == pytest.approx(one["loss"], abs=1e-5)


def test_a_merged_adapter_is_a_whole_model_that_says_the_same(base: Path, tmp_path: Path) -> None:
    config = {"base": base, "epochs": 4, "learning_rate": 1e-2, "precision": "fp32"}

    train(tmp_path / "adapter", "sft", "chat", **config)
    train(tmp_path / "merged", "sft", "chat", merge=True, **config)

    manifest = read_manifest(tmp_path / "merged" / ARTIFACT)
    changes = load_file(tmp_path / "adapter" / ARTIFACT / "adapter_model.safetensors")
    layer = "model.layers.0.mlp.down_proj"
    down, up = (changes[f"base_model.model.{layer}.lora_{side}.weight"] for side in "AB")
    before = load_file(base / "model.safetensors")[f"{layer}.weight"]
    after = load_file(tmp_path / "merged" / ARTIFACT / "model.safetensors")[f"{layer}.weight"]
    assert manifest["kind"] == "chat"
    torch.testing.assert_close(after, before + 2 * up @ down)


def test_an_adapter_can_be_trained_further(base: Path, tmp_path: Path) -> None:
    train(tmp_path / "first", "sft", "chat", base=base, r=4)

    again = train(tmp_path / "second", "dpo", "preference", base=base, adapter=tmp_path / "first" / ARTIFACT)

    assert again == FINISHED


def test_an_adapter_of_another_base_is_not_trained_further(base: Path, tmp_path: Path) -> None:
    train(tmp_path / "first", "sft", "chat", base=base, r=4)
    other = tiny_language_model(tmp_path / "other", seed=5)

    again = train(tmp_path / "second", "sft", "chat", base=other, adapter=tmp_path / "first" / ARTIFACT)

    assert again == FAILED
    assert "was made for" in reason(tmp_path / "second")


def test_dora_is_trained_and_can_be_merged(base: Path, tmp_path: Path) -> None:
    assert train(tmp_path, "sft", "chat", base=base, dora=True, merge=True) == FINISHED
    assert read_manifest(tmp_path / ARTIFACT)["kind"] == "chat"


def test_weights_in_a_pickle_are_refused(base: Path, tmp_path: Path) -> None:
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_text("{}")
    (pickled / "pytorch_model.bin").write_bytes(b"\x80\x02.")

    assert train(tmp_path / "run", "sft", "chat", base=pickled) == FAILED
    assert "pickle" in reason(tmp_path / "run")


def test_a_conversation_in_which_nobody_answers_is_refused(tmp_path: Path) -> None:
    rows = [*rows_of("chat"), row(99, "Hello?", messages=[user("Hello?")])]

    assert train(tmp_path, "sft", "chat", rows=rows) == FAILED
    assert "'row-99' has no turn of the assistant" in reason(tmp_path)


def test_rows_that_are_cut_are_counted_and_told(tmp_path: Path) -> None:
    rows = [*rows_of("chat"), row(99, "Hi", messages=[user("Hi"), {"role": "assistant", "content": "abc " * 200}])]

    train(tmp_path, "sft", "chat", rows=rows, max_length=64)

    warned = [one["message"] for one in EventLog(tmp_path / EVENTS).read() if one["type"] == "warning"]
    assert warned == ["1 sequence is longer than 64 tokens; the rest is not read."]


def test_a_small_language_model_learns_from_a_large_one(base: Path, tmp_path: Path) -> None:
    dataset = tmp_path / DATASET
    dataset.mkdir(parents=True)
    (dataset / "dataset.json").write_text(json.dumps({"form": "chat"}))
    for split in ("train", "dev", "test"):
        (dataset / f"{split}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows_of("chat")))
    spec = Spec(recipe="distill", config={"teacher": str(base), "epochs": 1, "batch_size": 4}, threads=1)
    (tmp_path / SPEC).write_text(spec.model_dump_json())

    assert main(tmp_path / SPEC) == FINISHED
    assert read_manifest(tmp_path / ARTIFACT)["kind"] == "chat"
