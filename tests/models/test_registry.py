import hashlib
import json
from pathlib import Path

import pytest

from inhouse.core.blobs import BlobCorrupt, Blobs
from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.models.manifest import BadArtifact
from inhouse.models.registry import LIVE, BadModelName, ModelNotFound, ModelRegistry
from inhouse.models.store import ModelVersion


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
