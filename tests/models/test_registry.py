import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from inhouse.core.blobs import BlobCorrupt, Blobs
from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.models.manifest import BadArtifact
from inhouse.models.registry import (
    LIVE,
    BadAlias,
    BadModelName,
    EvaluationNotFound,
    ModelNotFound,
    ModelRegistry,
    VariantNotFound,
    VersionInUse,
)
from inhouse.models.store import Evaluation, ModelVersion, Variant


def write_artifact(directory: Path, weights: bytes = b"weights") -> Path:
    directory.mkdir(parents=True)
    (directory / "model.onnx").write_bytes(weights)
    files = {"model.onnx": {"sha256": hashlib.sha256(weights).hexdigest(), "size": len(weights)}}
    manifest = {"format": 1, "kind": "classify", "labels": ["a", "b"], "files": files}
    (directory / "manifest.json").write_text(json.dumps(manifest))
    return directory


@pytest.fixture
def registry(db: Database, blobs: Blobs, tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(db, blobs, tmp_path / "cache")


def register(registry: ModelRegistry, who: Principal, directory: Path, run_id: str | None = None) -> ModelVersion:
    lineage = {"dataset": "desk@v1", "run_id": run_id}
    return registry.register(who, "intent", directory, kind="classify", metrics={"accuracy": 0.9}, lineage=lineage)


def test_versions_count_up(registry: ModelRegistry, principal: Principal, tmp_path: Path) -> None:
    first = register(registry, principal, write_artifact(tmp_path / "one"))
    second = register(registry, principal, write_artifact(tmp_path / "two", b"other"))

    assert (first.reference, second.reference) == ("intent:1", "intent:2")
    assert [version.number for version in registry.versions(principal, "intent")] == [2, 1]


def test_a_run_registers_once(registry: ModelRegistry, principal: Principal, tmp_path: Path) -> None:
    artifact = write_artifact(tmp_path / "one")

    first = register(registry, principal, artifact, "run_1")
    again = register(registry, principal, artifact, "run_1")

    assert first.number == again.number == 1


def test_an_alias_finds_its_version(registry: ModelRegistry, principal: Principal, tmp_path: Path) -> None:
    register(registry, principal, write_artifact(tmp_path / "one"))
    register(registry, principal, write_artifact(tmp_path / "two", b"other"))

    with registry.db.write() as conn:
        registry.set_alias(conn, principal, "intent", LIVE, 1)
        registry.set_alias(conn, principal, "intent", LIVE, 2)

    assert registry.get(principal, "intent", LIVE).number == 2
    assert registry.aliases(principal, "intent") == {"live": 2}


def test_the_files_come_back_verified(registry: ModelRegistry, principal: Principal, tmp_path: Path) -> None:
    register(registry, principal, write_artifact(tmp_path / "one"))

    directory = registry.directory(principal, "intent", 1)

    assert (directory / "model.onnx").read_bytes() == b"weights"


def test_a_flipped_byte_is_noticed(registry: ModelRegistry, principal: Principal, tmp_path: Path) -> None:
    register(registry, principal, write_artifact(tmp_path / "one"))
    stored = next(
        path for path in (tmp_path / "blobs").rglob("*") if path.is_file() and path.read_bytes() == b"weights"
    )
    stored.write_bytes(b"weightz")

    with pytest.raises(BlobCorrupt):
        registry.directory(principal, "intent", 1)

    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@pytest.mark.parametrize("damage", ["missing", "extra", "changed", "no manifest"])
def test_a_damaged_artifact_is_refused(
    registry: ModelRegistry, principal: Principal, tmp_path: Path, damage: str
) -> None:
    artifact = write_artifact(tmp_path / "one")
    actions = {
        "missing": lambda: (artifact / "model.onnx").unlink(),
        "extra": lambda: (artifact / "evil.pkl").write_bytes(b"x"),
        "changed": lambda: (artifact / "model.onnx").write_bytes(b"weightz"),
        "no manifest": lambda: (artifact / "manifest.json").unlink(),
    }
    actions[damage]()

    with pytest.raises(BadArtifact):
        register(registry, principal, artifact)

    assert registry.latest(principal) == []


def test_an_unknown_model_names_the_known_ones(registry: ModelRegistry, principal: Principal, tmp_path: Path) -> None:
    register(registry, principal, write_artifact(tmp_path / "one"))

    with pytest.raises(ModelNotFound) as raised:
        registry.get(principal, "sentiment", 1)

    assert raised.value.hint == "Known: intent."


def test_another_workspace_sees_nothing(
    registry: ModelRegistry, principal: Principal, stranger: Principal, tmp_path: Path
) -> None:
    register(registry, principal, write_artifact(tmp_path / "one"))

    with pytest.raises(ModelNotFound):
        registry.directory(stranger, "intent", 1)


def test_a_name_with_a_path_in_it_is_refused(registry: ModelRegistry, principal: Principal, tmp_path: Path) -> None:
    with pytest.raises(BadModelName):
        registry.register(principal, "../up", write_artifact(tmp_path / "one"), kind="classify", metrics={}, lineage={})


def stored(tmp_path: Path, content: bytes) -> bool:
    return any(path.is_file() and path.read_bytes() == content for path in (tmp_path / "blobs").rglob("*"))


def test_a_deleted_version_frees_its_weights_and_never_gives_its_number_away(
    registry: ModelRegistry, principal: Principal, tmp_path: Path
) -> None:
    register(registry, principal, write_artifact(tmp_path / "one", b"first weights"))
    register(registry, principal, write_artifact(tmp_path / "two", b"second weights"))

    registry.delete(principal, "intent", 2)
    third = register(registry, principal, write_artifact(tmp_path / "three", b"third weights"))

    assert [version.number for version in registry.versions(principal, "intent")] == [3, 1]
    assert third.number == 3
    assert not stored(tmp_path, b"second weights")
    assert stored(tmp_path, b"first weights")


def test_weights_that_another_version_shares_stay(
    registry: ModelRegistry, principal: Principal, stranger: Principal, tmp_path: Path
) -> None:
    register(registry, principal, write_artifact(tmp_path / "one"))
    register(registry, stranger, write_artifact(tmp_path / "two"))

    registry.delete(principal, "intent", 1)

    assert (registry.directory(stranger, "intent", 1) / "model.onnx").read_bytes() == b"weights"


def test_what_is_protected_named_or_answering_is_not_deleted(
    registry: ModelRegistry, principal: Principal, tmp_path: Path
) -> None:
    register(registry, principal, write_artifact(tmp_path / "one"))

    registry.annotate(principal, "intent", 1, is_protected=True)
    with pytest.raises(VersionInUse, match="protected"):
        registry.delete(principal, "intent", 1)
    registry.annotate(principal, "intent", 1, is_protected=False)
    registry.point(principal, "intent", "best", 1)
    with pytest.raises(VersionInUse, match="'best'"):
        registry.delete(principal, "intent", 1)
    registry.point(principal, "intent", "best", None)
    with pytest.raises(VersionInUse, match="traffic"):
        registry.delete(principal, "intent", 1, answering={1})

    assert registry.get(principal, "intent", 1).number == 1


@pytest.mark.parametrize("alias", ["live", "candidate", "Best", "../up"])
def test_an_alias_that_releases_move_or_nobody_could_type_is_refused(
    registry: ModelRegistry, principal: Principal, tmp_path: Path, alias: str
) -> None:
    register(registry, principal, write_artifact(tmp_path / "one"))

    with pytest.raises(BadAlias):
        registry.point(principal, "intent", alias, 1)


def test_a_variant_brings_its_own_files(registry: ModelRegistry, principal: Principal, tmp_path: Path) -> None:
    register(registry, principal, write_artifact(tmp_path / "one"))
    small = write_artifact(tmp_path / "small", b"few")

    registry.put_variant(principal, "intent", 1, Variant("int8", "ready"), small)
    registry.put_variant(principal, "intent", 1, Variant("fp16", "refused", reason="It loses too much."))

    assert (registry.directory(principal, "intent", 1, variant="int8") / "model.onnx").read_bytes() == b"few"
    with pytest.raises(VariantNotFound, match="refused"):
        registry.directory(principal, "intent", 1, variant="fp16")
    with pytest.raises(VariantNotFound, match="no variant"):
        registry.directory(principal, "intent", 1, variant="int2")


def test_an_evaluation_keeps_its_place_when_it_ends(
    registry: ModelRegistry, principal: Principal, stranger: Principal, tmp_path: Path
) -> None:
    register(registry, principal, write_artifact(tmp_path / "one"))
    queued = Evaluation("evaluation_1", "intent", 1, "desk", 2, "test", owner_id="user_ann", created_at=1.0)

    registry.put_evaluation(principal, queued)
    registry.put_evaluation(principal, replace(queued, status="ready", metrics={"accuracy": 0.5}))

    assert [one.metrics for one in registry.evaluations(principal, "intent", 1)] == [{"accuracy": 0.5}]
    with pytest.raises(EvaluationNotFound):
        registry.evaluation(stranger, "evaluation_1")
