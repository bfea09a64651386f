import hashlib
import json
from pathlib import Path

import pytest

from inhouse.client import Client
from inhouse.core.errors import Conflict, NotFound
from inhouse.core.principal import Principal
from inhouse.models.registry import ModelRegistry


@pytest.fixture
def intent(registry: ModelRegistry, tmp_path: Path) -> str:
    """A model `noted` with two versions."""
    for number in (1, 2):
        directory = tmp_path / str(number)
        directory.mkdir()
        (directory / "model.onnx").write_bytes(b"%d" % number)
        digest = hashlib.sha256(b"%d" % number).hexdigest()
        files = {"model.onnx": {"sha256": digest, "size": 1}}
        manifest = {"format": 1, "kind": "classify", "labels": ["a", "b"], "files": files}
        (directory / "manifest.json").write_text(json.dumps(manifest))
        lineage = {"dataset": "desk@v1", "seed": number}
        registry.register(
            Principal.system(), "noted", directory, kind="classify", metrics={"accuracy": 0.5}, lineage=lineage
        )
    return "noted"


def test_a_version_is_described_annotated_and_deleted(client: Client, intent: str) -> None:
    card, lineage = client.models.card(intent, 1), client.models.lineage(intent, 1)
    protected = client.models.annotate(intent, 1, note="Keep.", is_protected=True)

    assert card.startswith("# noted:1")
    assert lineage["lineage"]["seed"] == 1
    assert (protected["note"], protected["is_protected"]) == ("Keep.", True)
    with pytest.raises(Conflict, match="protected"):
        client.models.delete(intent, 1)
    assert client.models.set_alias(intent, "best", 2) == {"best": 2}
    assert client.models.remove_alias(intent, "best") == {}
    client.models.delete(intent, 2)
    with pytest.raises(NotFound):
        client.models.version(intent, 2)
