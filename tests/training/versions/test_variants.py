from pathlib import Path

import numpy as np
import pytest

from inhouse.models.manifest import read_manifest
from inhouse.training.variants import ONNX, VARIANTS, NoSuchVariant, check_variants, open_variant, write_variant

TEXTS = ["请问密码过期了", "hello, the printer is empty", "x"]
CLOSE = {"int8": 0.1, "fp16": 0.01, "bf16": 0.1}


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS["classify"])
def test_a_variant_computes_what_the_version_does(artifact: Path, tmp_path: Path, name: str):
    write_variant(name, artifact, tmp_path / name)

    found = open_variant(name, tmp_path / name)(TEXTS)

    expected = open_variant(ONNX, artifact)(TEXTS)
    assert np.abs(found - expected).max() < CLOSE.get(name, 1e-5)
    assert read_manifest(tmp_path / name)["variant"] == name


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torchscript", "torch_export"])
def test_texts_of_any_number_and_length_go_through_what_was_traced(artifact: Path, tmp_path: Path, name: str):
    write_variant(name, artifact, tmp_path / name)
    run = open_variant(name, tmp_path / name)

    shapes = [run(["one"]).shape, run(["a text that is rather longer than the others"] * 7).shape]

    assert shapes == [(1, 3), (7, 3)]


@pytest.mark.parametrize(("name", "share"), [("int8", 0.3), ("fp16", 0.55), ("bf16", 0.55)])
def test_quantised_weights_are_smaller(artifact: Path, tmp_path: Path, name: str, share: float):
    write_variant(name, artifact, tmp_path / name)

    size = max(file.stat().st_size for file in (tmp_path / name).iterdir())

    assert size < share * (artifact / "model.safetensors").stat().st_size


def test_only_known_variants_are_made_in_their_order():
    assert check_variants("classify", ["bf16", "int8"]) == ["int8", "bf16"]
    assert check_variants("classify", [])[0] == ONNX
    with pytest.raises(NoSuchVariant, match="'int2'"):
        check_variants("classify", ["int2"])
    with pytest.raises(NoSuchVariant, match="'tabular'"):
        check_variants("tabular", [])
    assert check_variants("chat", []) == ["int4"]
