import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from inhouse.models.language.int4 import GROUP, packed, unpacked
from inhouse.serving.lm.network import load
from inhouse.testing.language import tiny_language_model
from inhouse.training.dataset import Row
from inhouse.training.networks.bases import BaseNotUsable
from inhouse.training.networks.causal import open_causal
from inhouse.training.quantize_lm import NotQuantizable, quantize

WIDE = {"hidden_size": 128, "intermediate_size": 256, "head_dim": 32, "initializer_range": 0.05}
ROWS = [
    Row(
        "1",
        "",
        "",
        content={"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]},
    )
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_language_model(tmp_path_factory.mktemp("models") / "wide", config=WIDE)


def test_four_bits_hold_every_weight_to_half_a_step() -> None:
    weight = torch.randn(8, 3 * GROUP, generator=torch.Generator().manual_seed(0))

    again = unpacked(packed("w", weight), "w")

    groups = weight.reshape(8, 3, GROUP)
    step = (groups.amax(-1) - groups.amin(-1)) / 15
    assert ((again - weight).reshape(8, 3, GROUP).abs().amax(-1) <= 0.52 * step + 2e-3).all()


def test_a_model_of_four_bits_is_smaller_and_its_loss_is_measured(model: Path, tmp_path: Path) -> None:
    figures = quantize(model, tmp_path / "int4", rows=ROWS)

    assert figures["size_bytes"] < 0.6 * figures["size_bytes_before"]
    assert figures["measured_on"] == "rows"
    assert abs(figures["loss"] - figures["loss_before"]) < 0.2
    assert not (tmp_path / "int4" / "manifest.json").exists()


def test_without_rows_the_loss_is_that_of_what_the_model_writes(model: Path, tmp_path: Path) -> None:
    figures = quantize(model, tmp_path / "int4")

    assert figures["measured_on"] == "texts of its own"
    assert figures["tokens"] > 100


def test_a_model_of_four_bits_answers_as_its_rounded_weights_do(model: Path, tmp_path: Path) -> None:
    quantize(model, tmp_path / "int4", rows=ROWS)
    ids = torch.arange(5, 25).unsqueeze(0)
    rounded = open_causal(model)
    for name, weight in rounded.named_parameters():
        stored = load_file(tmp_path / "int4" / "model.safetensors")
        if f"{name}.int4" in stored:
            weight.data.copy_(unpacked(stored, name))

    loaded = load(tmp_path / "int4", dtype="float32").model
    loaded.set_attn_implementation("sdpa")

    with torch.inference_mode():
        torch.testing.assert_close(loaded(ids, use_cache=False).logits, rounded(ids, use_cache=False).logits)


def test_weights_of_four_bits_are_no_base_to_train_on(model: Path, tmp_path: Path) -> None:
    quantize(model, tmp_path / "int4", rows=ROWS)

    with pytest.raises(BaseNotUsable, match="no causal language model in plain weights"):
        open_causal(tmp_path / "int4")


def test_only_four_bits_of_whole_models_are_offered(model: Path, tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps({}))

    with pytest.raises(NotQuantizable, match="3 bits"):
        quantize(model, tmp_path / "int3", bits=3)
    with pytest.raises(NotQuantizable, match="whole model"):
        quantize(tmp_path / "adapter", tmp_path / "int4")
