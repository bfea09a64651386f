"""Versions through the real job runner, datasets and registry."""

import json
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest

from inhouse.core.principal import Principal
from inhouse.models.registry import ModelRegistry, VariantNotFound
from inhouse.models.store import Variant
from inhouse.testing.encoders import tiny_reranker
from inhouse.testing.language import tiny_language_model
from inhouse.training.variants import NoSuchVariant
from inhouse.training.versions.versions import NoRows, NotReady, Rows, Versions


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def exported(versions: Versions, principal: Principal) -> dict[str, Variant]:
    def found() -> list[Variant]:
        return versions.variants(principal, "intent", 1)

    until(lambda: all(one.status != "queued" for one in found()))
    return {one.name: one for one in found()}


@pytest.mark.slow
def test_variants_are_measured_beside_the_version_itself(versions: Versions, principal: Principal):
    queued = versions.export(principal, "intent", 1, ["int8"])
    found = exported(versions, principal)

    assert [one.status for one in queued] == ["queued"]
    assert {name: one.status for name, one in found.items()} == {"int8": "ready", "onnx": "ready"}
    assert found["int8"].figures["size_mb"] < 0.5 * found["onnx"].figures["size_mb"]
    assert found["int8"].figures.keys() >= {"accuracy", "agreement", "cpu_ms", "loss", "memory_mb", "rows", "speedup"}
    directory = versions.registry.directory(principal, "intent", 1, variant="int8")
    assert json.loads((directory / "manifest.json").read_bytes())["variant"] == "int8"


@pytest.mark.slow
def test_a_quantised_variant_that_loses_too_much_is_refused_and_not_kept(versions: Versions, principal: Principal):
    versions.export(principal, "intent", 1, ["int8"], max_loss=-1.0)
    refused = exported(versions, principal)["int8"]

    assert refused.status == "refused"
    assert "more than the -1 that are allowed" in refused.reason
    assert refused.figures["loss"] >= 0
    with pytest.raises(VariantNotFound, match="refused"):
        versions.registry.directory(principal, "intent", 1, variant="int8")


def test_what_cannot_be_made_or_measured_is_refused_at_once(versions: Versions, principal: Principal):
    with pytest.raises(NoSuchVariant):
        versions.export(principal, "intent", 1, ["gguf"])
    with pytest.raises(NoRows, match="no rows in 'best'"):
        versions.export(principal, "intent", 1, rows=Rows("desk", 1, "best"))

    assert versions.variants(principal, "intent", 1) == []


def test_a_variant_whose_job_was_lost_is_not_waited_for(versions: Versions, principal: Principal):
    versions.registry.put_variant(principal, "intent", 1, Variant("int8", "queued", figures={"job": "export_lost"}))

    (found,) = versions.variants(principal, "intent", 1)

    assert (found.status, found.reason) == ("failed", "The server was stopped meanwhile: ask for it again.")


def test_an_evaluation_keeps_figures_and_every_row(versions: Versions, principal: Principal):
    queued = versions.evaluate(principal, "intent", 1)
    with pytest.raises(NotReady):
        versions.report(principal, queued.id)
    until(lambda: versions.evaluation(principal, queued.id).status != "queued")

    done = versions.evaluation(principal, queued.id)

    assert (done.status, done.error) == ("ready", "")
    assert (done.dataset, done.dataset_version, done.split) == ("desk", 1, "test")
    assert len(versions.report(principal, done.id)["rows"]) == done.metrics["count"]
    assert [one.id for one in versions.registry.evaluations(principal, "intent", 1)] == [done.id]


def test_two_evaluated_versions_are_compared_row_by_row(
    versions: Versions, registry: ModelRegistry, principal: Principal, artifact: Path
):
    lineage = {"dataset": "desk@v1", "config": {"epochs": 2}}
    registry.register(principal, "intent", artifact, kind="classify", metrics={}, lineage=lineage)
    without = versions.compare(principal, "intent", 2, 1)
    evaluations = [versions.evaluate(principal, "intent", number) for number in (1, 2)]
    until(lambda: all(versions.evaluation(principal, one.id).status != "queued" for one in evaluations))

    found = versions.compare(principal, "intent", 2, 1)

    assert without.test == {}
    assert found.rows == "desk@v1 test"
    assert (found.test["p"], found.test["difference"], found.test["only_a"]) == (1.0, 0.0, 0)
    assert found.config["epochs"] == {"a": 2, "b": 6}


@pytest.mark.slow
def test_a_directory_is_imported_measured_and_packed(versions: Versions, principal: Principal, tmp_path: Path):
    source = tiny_reranker(tmp_path / "source", labels=3)

    made = versions.import_directory(principal, "bought", source, note="From a colleague.")
    packed = ZipFile(BytesIO(versions.archive(principal, "bought", 1)))

    assert (made.reference, made.kind, made.note) == ("bought:1", "classify", "From a colleague.")
    assert made.lineage["imported_by"] == "user_ann"
    assert {"model.onnx", "model.safetensors", "manifest.json"} <= set(packed.namelist())
    with pytest.raises(NoRows, match="does not come from a dataset"):
        versions.evaluate(principal, "bought", 1)


@pytest.mark.slow
def test_a_language_model_is_written_in_four_bits_and_its_perplexity_compared(
    versions: Versions, principal: Principal, tmp_path: Path
):
    versions.import_directory(principal, "writer", tiny_language_model(tmp_path / "source"))

    versions.export(principal, "writer", 1, max_loss=100)
    until(lambda: all(one.status != "queued" for one in versions.variants(principal, "writer", 1)))
    (made,) = versions.variants(principal, "writer", 1)

    assert (made.name, made.status, made.reason) == ("int4", "ready", "")
    assert made.figures["size_mb"] < made.figures["size_mb_before"]
    assert made.figures["measured_on"] == "texts of its own"


@pytest.mark.slow
def test_an_upload_is_imported_too(versions: Versions, principal: Principal, tmp_path: Path):
    source, packed = tiny_reranker(tmp_path / "source"), BytesIO()
    with ZipFile(packed, "w") as archive:
        for path in source.iterdir():
            archive.write(path, f"model/{path.name}")

    made = versions.import_archive(principal, "bought", packed)

    assert (made.reference, made.kind) == ("bought:1", "rerank")
    assert not [path for path in (tmp_path / "versions").rglob("*") if path.is_file()]
