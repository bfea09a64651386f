"""Models over tables: from rows to answers."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.training.conftest import write_jsonl

from inhouse.core.errors import Invalid
from inhouse.core.events import EventLog
from inhouse.data.examples import Form
from inhouse.serving.runtime import Model, load
from inhouse.training.child import FAILED, FINISHED, main
from inhouse.training.dataset import Row, Splits
from inhouse.training.recipe import ExtraMissing, Recipe
from inhouse.training.recipes.tabular import Tabular
from inhouse.training.schemas import RecipeOut
from inhouse.training.spec import DATASET, SPEC, Spec

Label = Callable[[dict[str, Any]], str]
Train = Callable[..., Path]


def churns(customer: dict[str, Any]) -> str:
    return "leaves" if customer["plan"] == "basic" and (customer["calls"] or 0) > 4 else "stays"


def bill(customer: dict[str, Any]) -> str:
    return str(round(10 * (customer["calls"] or 0) + (50 if customer["plan"] == "pro" else 0), 1))


def customers(label: Label, count: int, seed: int) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        features = {
            "calls": None if chance.random() < 0.05 else round(chance.uniform(0, 10), 1),
            "plan": chance.choice(["basic", "pro", None]),
            "vip": chance.random() < 0.5,
            "nothing": None,
        }
        rows.append({"id": f"{seed}-{number}", "text": "", "label": label(features), "content": {"features": features}})
    return rows


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Train in this process and return the run's directory."""

    def train(label: Label, config: dict[str, Any], *, expect: int = FINISHED, count: int = 200) -> Path:
        run = tmp_path / "run"
        dataset = run / DATASET
        dataset.mkdir(parents=True)
        for seed, (split, rows) in enumerate({"train": count, "dev": 60, "test": 60}.items()):
            write_jsonl(dataset / f"{split}.jsonl", customers(label, rows, seed))
        (dataset / "dataset.json").write_text(json.dumps({"form": "table"}))
        spec = Spec(recipe="tabular", config={"rounds": 30, **config}, threads=1)
        (run / SPEC).write_text(spec.model_dump_json())
        assert main(run / SPEC) == expect
        return run

    return train


def ask(model: Model, **features: Any) -> Any:
    [row] = model.predict([{"features": {"calls": 1, "plan": "pro", "vip": True, **features}}])
    return row


@pytest.mark.parametrize(("kind", "least"), [("trees", 0.95), ("linear", 0.8)])
def test_a_label_is_told_from_numbers_and_categories(train: Train, kind: str, least: float):
    run = train(churns, {"model": kind})

    model = load(run / "artifact")
    metrics = json.loads((run / "artifact" / "manifest.json").read_bytes())["metrics"]
    assert ask(model, calls=9, plan="basic")["scores"]["leaves"] > 0.5
    assert ask(model, calls=9, plan="pro")["scores"]["stays"] > 0.5
    assert metrics["accuracy"] > least
    assert metrics["auroc"] > least
    assert {*list(metrics["importance"])[:2]} == {"calls", "plan"}


@pytest.mark.parametrize("kind", ["trees", "linear"])
def test_a_number_is_told_when_labels_are_numbers(train: Train, kind: str):
    run = train(bill, {"model": kind})

    model = load(run / "artifact")
    metrics = json.loads((run / "artifact" / "manifest.json").read_bytes())["metrics"]
    assert (model.manifest.labels, model.manifest.settings["task"]) == ([], "regression")
    assert ask(model, calls=5)["value"] == pytest.approx(100, abs=25)
    assert metrics["r2"] > 0.9
    assert metrics["mae"] < metrics["base"]["mae"]


def test_values_that_are_unknown_or_new_are_answered(train: Train):
    model = load(train(churns, {}) / "artifact")

    for features in ({"calls": None}, {"plan": None}, {"plan": "never seen"}, {"vip": "no"}):
        assert sum(ask(model, **features)["scores"].values()) == pytest.approx(1, abs=1e-5)


def test_a_column_without_values_is_not_asked_for(train: Train):
    model = load(train(churns, {}) / "artifact")

    listed = {feature["name"]: feature["type"] for feature in model.manifest.settings["features"]}

    assert listed == {"calls": "number", "plan": "category", "vip": "category"}


def test_the_rarest_categories_count_as_none(train: Train):
    model = load(train(churns, {"max_categories": 1}) / "artifact")

    [plan] = [one for one in model.manifest.settings["features"] if one["name"] == "plan"]

    assert len(plan["values"]) == 1
    assert ask(model, plan="basic") == ask(model, plan="never seen") or ask(model, plan="pro") == ask(model, plan="new")


def test_the_artifact_holds_no_pickle(train: Train):
    artifact = train(churns, {}) / "artifact"

    assert sorted(path.name for path in artifact.iterdir()) == ["config.json", "manifest.json", "model.onnx"]


def test_a_label_that_is_no_number_is_named(train: Train):
    run = train(churns, {"task": "regression"}, expect=FAILED)

    assert "which is no number" in EventLog(run / "events.jsonl").read()[-1]["message"]


def test_a_recipe_says_which_command_installs_what_is_missing():
    class Painting(Tabular):
        needs = ("a_module_that_nobody_has",)

    splits = Splits([Row("1", "", "a", content={"features": {"x": 1}})], [], [], form=Form.TABLE)

    with pytest.raises(ExtraMissing) as refused:
        Painting().check(splits)

    assert "pip install 'inhouse[tabular]'" in refused.value.hint
    assert Painting.missing() == "pip install 'inhouse[tabular]'"
    assert (RecipeOut.of(Tabular).missing, RecipeOut.of(Tabular).forms) == ("", [Form.TABLE])


def test_a_table_without_any_value_is_refused():
    splits = Splits([Row(str(n), "", label, content={"features": {"x": None}}) for n, label in enumerate("ab")], [], [])
    recipe: Recipe = Tabular(task="classification")

    with pytest.raises(Invalid, match="No feature has any value"):
        recipe.prepare(splits, seed=0)
