"""Training rerankers: from scratch and on an encoder, served here and as language models are."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.conftest import PHRASES, write_jsonl
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from inhouse.core.events import EventLog
from inhouse.data.examples import Form
from inhouse.serving.lm.checkpoint import Kind, open_checkpoint
from inhouse.serving.lm.runtime import Plan
from inhouse.serving.lm.runtimes.transformers import TransformersRuntime
from inhouse.serving.runtime import load
from inhouse.testing.encoders import tiny_encoder
from inhouse.training.child import FAILED, FINISHED, STOPPED, main
from inhouse.training.dataset import NotTrainable, Row, Splits
from inhouse.training.evaluate import ClassScore, NothingToEvaluate
from inhouse.training.pairs import Pair, best_threshold, evaluate_pairs, pairs_of, with_drawn
from inhouse.training.recipe import configure
from inhouse.training.spec import DATASET, SPEC, Spec

ANSWERS = {
    "leave": "Employees have 30 days of annual leave 年假",
    "password": "Reset the password at the desk 重置密码",
    "printer": "Printers are looked after by IT 打印机",
}
Rows = list[dict[str, Any]]
PreparePairs = Callable[..., Path]


def rows(prefix: str, opener: str, *, listed: bool = True) -> Rows:
    made = []
    for label, phrases in PHRASES.items():
        wrong = [answer for name, answer in ANSWERS.items() if name != label]
        for number, phrase in enumerate(phrases):
            content = {"other": ANSWERS[label], "score": 1, **({"negatives": wrong} if listed else {})}
            made.append({"id": f"{prefix}{label}{number}", "text": opener + phrase, "label": "", "content": content})
    return made


def make_run(home: Path, name: str = "run", *, train: Rows | None = None, listed: bool = True, **config: Any) -> Path:
    run = home / name
    dataset = run / DATASET
    dataset.mkdir(parents=True)
    (dataset / "dataset.json").write_text('{"form": "pair"}')
    write_jsonl(dataset / "train.jsonl", rows("t", "", listed=listed) if train is None else train)
    write_jsonl(dataset / "dev.jsonl", rows("d", "please: ", listed=listed))
    write_jsonl(dataset / "test.jsonl", rows("e", "hello, ", listed=listed))
    (run / SPEC).write_text(Spec(recipe="rerank", config=config, threads=1).model_dump_json())
    return run / SPEC


@pytest.fixture
def prepare(tmp_path: Path) -> PreparePairs:
    return partial(make_run, tmp_path)


def manifest(spec: Path) -> dict[str, Any]:
    return json.loads((spec.parent / "artifact" / "manifest.json").read_bytes())


def failure(spec: Path) -> str:
    assert main(spec) == FAILED
    return [e for e in EventLog(spec.parent / "events.jsonl").read() if e["type"] == "failed"][-1]["message"]


def asked(question: str) -> list[dict[str, str]]:
    return [{"text": question, "other": answer} for answer in ANSWERS.values()]


@pytest.mark.parametrize("listed", [True, False], ids=["listed negatives", "drawn negatives"])
def test_a_reranker_from_scratch_is_trained_judged_exported_and_served(prepare: PreparePairs, listed: bool):
    spec = prepare(listed=listed)

    assert main(spec) == FINISHED

    told = manifest(spec)
    assert (told["kind"], told["labels"]) == ("rerank", [])
    assert told["metrics"]["recall_at_1"] > 0.9
    assert told["metrics"]["auroc"] > 0.9
    assert told["metrics"]["accuracy"] > 0.9
    assert 0 < told["settings"]["threshold"] < 1
    scores = [row["score"] for row in load(spec.parent / "artifact").predict(asked("i forgot the password"))]
    assert scores.index(max(scores)) == 1
    assert max(scores) > told["settings"]["threshold"] > min(scores)


def test_the_same_scores_are_served_as_were_judged(prepare: PreparePairs):
    spec = prepare(epochs=2)
    main(spec)
    model = load(spec.parent / "artifact")
    held_out = pairs_of([Row(**one) for one in rows("e", "hello, ")])

    def served(texts: list[tuple[str, str]]) -> list[float]:
        return [row["score"] for row in model.predict([{"text": text, "other": other} for text, other in texts])]

    metrics = evaluate_pairs(served, held_out, threshold=manifest(spec)["settings"]["threshold"]).metrics()
    assert {name: metrics[name] for name in ("accuracy", "mrr", "queries", "count")} == {
        name: manifest(spec)["metrics"][name] for name in ("accuracy", "mrr", "queries", "count")
    }
    assert metrics["ece"] == pytest.approx(manifest(spec)["metrics"]["ece"], abs=1e-4)


async def test_a_cross_encoder_says_the_same_here_in_transformers_and_as_a_language_model(
    prepare: PreparePairs, tmp_path: Path
):
    base = tiny_encoder(tmp_path / "base")
    spec = prepare(base=str(base), epochs=2, learning_rate=1e-3)

    assert main(spec) == FINISHED

    artifact = spec.parent / "artifact"
    here = [row["score"] for row in load(artifact).predict(asked("how many days"))]
    network, tokenizer = (
        AutoModelForSequenceClassification.from_pretrained(artifact).eval(),
        AutoTokenizer.from_pretrained(artifact),
    )
    pairs = tokenizer(["how many days"] * 3, list(ANSWERS.values()), padding=True, return_tensors="pt")
    with torch.inference_mode():
        assert torch.sigmoid(network(**pairs).logits[:, 0]).tolist() == pytest.approx(here, abs=1e-5)
    checkpoint = open_checkpoint(artifact)
    assert checkpoint.kind() is Kind.RERANK
    reranker = TransformersRuntime().load(Plan("reranker", checkpoint, Kind.RERANK))
    scores, _ = await reranker.rank("how many days", list(ANSWERS.values()))
    await reranker.close()
    assert scores == pytest.approx(here, abs=1e-5)
    assert max(here) - min(here) > 1e-4
    assert manifest(spec)["settings"]["inputs"] == ["input_ids", "attention_mask", "token_type_ids"]


def test_a_reranker_on_an_encoder_is_the_base_of_the_next(prepare: PreparePairs, tmp_path: Path):
    first = prepare("a", base=str(tiny_encoder(tmp_path / "base")), epochs=1)
    main(first)

    assert main(prepare("b", base=str(first.parent / "artifact"), epochs=1)) == FINISHED


def test_a_stopped_run_ends_with_the_same_weights(prepare: PreparePairs):
    whole, stopped = prepare("a", epochs=2), prepare("b", epochs=2)
    main(whole)
    (stopped.parent / "stop").touch()

    assert main(stopped) == STOPPED
    (stopped.parent / "stop").unlink()
    main(stopped)

    assert manifest(stopped)["files"]["model.safetensors"] == manifest(whole)["files"]["model.safetensors"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "two texts"),
        ({"other": " "}, "two texts"),
        ({"other": "b", "score": 2}, "no number from 0 to 1"),
        ({"other": "b", "score": True}, "no number"),
        ({"other": "b", "negatives": "c"}, "no list of texts"),
        ({"other": "b", "negatives": [""]}, "no list of texts"),
    ],
)
def test_a_malformed_pair_names_its_row_and_what_is_wrong(content: dict[str, Any], reason: str):
    with pytest.raises(NotTrainable, match=reason) as refused:
        pairs_of([Row("r7", "a", "", content=content)])

    assert "'r7'" in refused.value.message


def test_a_malformed_pair_ends_the_run(prepare: PreparePairs):
    assert "'bad'" in failure(prepare(train=[{"id": "bad", "text": "a", "label": "", "content": {"other": 3}}]))


def test_a_dataset_without_matches_or_without_others_is_refused():
    only_wrong = [Row("a", "x", "", content={"other": "y", "score": 0})]
    only_one = [Row("a", "x", "", content={"other": "y"})]

    with pytest.raises(NotTrainable, match="belongs together"):
        configure("rerank", {}).check(Splits(only_wrong, [], [], form=Form.PAIR))
    with pytest.raises(NotTrainable, match="does not belong together"):
        configure("rerank", {}).check(Splits(only_one, [], [], form=Form.PAIR))


def test_negatives_are_listed_pairs_and_no_pair_comes_twice():
    found = pairs_of(
        [Row("a", "x", "", content={"other": "y", "negatives": ["z", "y"]}), Row("b", "x", "", content={"other": "y"})]
    )

    assert found == [Pair("a", "x", "y", 1.0), Pair("a", "x", "z", 0.0)]


def test_what_matches_a_text_is_never_drawn_as_wrong_for_it():
    pairs = [Pair("1", "x", "y", 1.0), Pair("2", "X!", "z", 1.0), Pair("3", "w", "v", 1.0)]

    drawn = [(pair.text, pair.other) for pair in with_drawn(pairs, 4, seed=3) if not pair.matches]

    assert sorted(drawn) == [("X!", "v"), ("w", "y"), ("w", "z"), ("x", "v")]


def test_pairs_are_judged_as_counted_by_hand():
    pairs = [
        Pair("1", "x", "a", 1.0),
        Pair("2", "x", "b", 0.0),
        Pair("3", "x", "c", 0.0),
        Pair("4", "y", "a", 0.0),
        Pair("5", "y", "b", 1.0),
        Pair("6", "z", "c", 1.0),
    ]

    report = evaluate_pairs(lambda _: [0.7, 0.9, 0.1, 0.2, 0.8, 0.3], pairs, threshold=0.5)

    assert report.accuracy == pytest.approx(4 / 6)
    assert report.matching == ClassScore(pytest.approx(2 / 3), pytest.approx(2 / 3), pytest.approx(2 / 3), 3)
    assert report.auroc == pytest.approx(6 / 9)
    assert (report.queries, report.mrr, report.recall_at_1) == (2, pytest.approx(0.75), pytest.approx(0.5))
    assert [miss.id for miss in report.misses] == ["2", "6"]


def test_equal_scores_count_against_the_match():
    report = evaluate_pairs(lambda _: [0.5, 0.5], [Pair("1", "x", "a", 1.0), Pair("2", "x", "b", 0.0)], threshold=0.6)

    assert (report.mrr, report.recall_at_1, report.auroc) == (0.5, 0.0, 0.5)


def test_without_others_there_is_no_ranking_to_judge():
    report = evaluate_pairs(lambda _: [0.9], [Pair("1", "x", "a", 1.0)], threshold=0.5)

    assert (report.mrr, report.auroc, report.queries, report.accuracy) == (None, None, 0, 1.0)


def test_nothing_cannot_be_judged():
    with pytest.raises(NothingToEvaluate):
        evaluate_pairs(lambda _: [], [], threshold=0.5)


@pytest.mark.parametrize(
    ("scores", "truth", "threshold"),
    [
        ([0.9, 0.8, 0.1, 0.2], [True, True, False, False], 0.5),
        ([0.3, 0.25, 0.1, 0.2], [True, True, False, False], 0.225),
        ([0.9, 0.95], [False, True], 0.925),
        ([0.9, 0.1], [True, True], 0.5),
        ([], [], 0.5),
    ],
)
def test_the_threshold_puts_most_pairs_on_their_side(scores: list[float], truth: list[bool], threshold: float):
    assert best_threshold(scores, truth) == pytest.approx(threshold)
