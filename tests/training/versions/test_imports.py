import json
from pathlib import Path

import pytest

from inhouse.models.manifest import read_manifest
from inhouse.serving.runtime import load
from inhouse.testing.encoders import tiny_reranker
from inhouse.testing.language import tiny_language_model
from inhouse.training.networks.bases import PickledWeights
from inhouse.training.versions.imports import KindUnclear, NotImported, import_directory, kind_of


def test_a_classifier_is_imported_and_served(tmp_path: Path):
    source = tiny_reranker(tmp_path / "source", labels=3)

    done = import_directory(source, tmp_path / "artifact", kind="", lineage={"source": "source"})

    manifest = read_manifest(tmp_path / "artifact")
    assert done["kind"] == manifest["kind"] == "classify"
    assert manifest["labels"] == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert manifest["lineage"]["base_digest"].keys() == {"model.safetensors"}
    (answer,) = load(tmp_path / "artifact").predict(["how many days"])
    assert sum(answer["scores"].values()) == pytest.approx(1)


def test_a_head_with_one_output_is_a_reranker(tmp_path: Path):
    done = import_directory(tiny_reranker(tmp_path / "source"), tmp_path / "artifact", kind="", lineage={})

    assert done["kind"] == read_manifest(tmp_path / "artifact")["kind"] == "rerank"


def test_a_language_model_is_taken_as_it_is(tmp_path: Path):
    source = tiny_language_model(tmp_path / "source")
    (source / "modeling_evil.py").write_text("raise SystemExit")

    done = import_directory(source, tmp_path / "artifact", kind="", lineage={})

    assert done["kind"] == "chat"
    assert not (tmp_path / "artifact" / "modeling_evil.py").exists()
    assert (tmp_path / "artifact" / "config.json").read_bytes() == (source / "config.json").read_bytes()


def test_pickles_are_refused(tmp_path: Path):
    source = tiny_reranker(tmp_path / "source")
    (source / "model.safetensors").rename(source / "pytorch_model.bin")

    with pytest.raises(PickledWeights):
        import_directory(source, tmp_path / "artifact", kind="", lineage={})


def test_an_architecture_that_nobody_knows_needs_a_kind(tmp_path: Path):
    with pytest.raises(KindUnclear):
        kind_of(tmp_path, {"architectures": ["WhisperForAudio"]})
    source = tiny_reranker(tmp_path / "source")
    with pytest.raises(NotImported, match="'sing'"):
        import_directory(source, tmp_path / "artifact", kind="sing", lineage={})


def test_a_tagger_gets_its_tags_in_our_order(tmp_path: Path):
    source = tiny_reranker(tmp_path / "source", labels=3)
    config = json.loads((source / "config.json").read_text())
    config |= {"architectures": ["BertForTokenClassification"], "id2label": {"0": "I-DATE", "1": "O", "2": "B-DATE"}}
    (source / "config.json").write_text(json.dumps(config))

    done = import_directory(source, tmp_path / "artifact", kind="", lineage={})

    manifest = read_manifest(tmp_path / "artifact")
    assert (done["kind"], manifest["labels"]) == ("tag", ["DATE"])
    assert manifest["settings"]["tags"] == ["O", "B-DATE", "I-DATE"]
