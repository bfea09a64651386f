import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from inhouse.testing.language import tiny_adapter, tiny_language_model
from inhouse.training.networks.causal import Causal, open_causal
from inhouse.training.networks.lora import AdapterNotUsable, Shape, attach, check_adapter, go_on, quickened
from inhouse.training.networks.packing import laid_out
from inhouse.training.networks.quiet import quiet
from inhouse.training.networks.tokens import Tokens

SEQUENCE = Tokens("1", list(range(5, 45)), [True] * 40)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_language_model(tmp_path_factory.mktemp("base") / "tiny")


def slopes(base: Path, *, quick: bool) -> dict[str, torch.Tensor]:
    model = open_causal(base)
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=12, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    with quiet():
        peft = get_peft_model(model, config)
    if quick:
        quickened(peft)
    loss = Causal(model).surprise(laid_out([SEQUENCE])).surprise_N.mean()
    loss.backward()
    found = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
    return {"loss": loss.detach(), **found}


def test_layers_that_compute_in_one_go_learn_what_those_of_peft_do(base: Path) -> None:
    quick, plain = slopes(base, quick=True), slopes(base, quick=False)

    assert quick.keys() == plain.keys()
    for name, slope in plain.items():
        torch.testing.assert_close(quick[name], slope, atol=1e-6, rtol=1e-4, msg=name)


def test_a_new_adapter_changes_nothing_and_leaves_the_base_frozen(base: Path) -> None:
    before = Causal(open_causal(base)).surprise(laid_out([SEQUENCE])).surprise_N
    model = open_causal(base)

    attach(model, Shape(r=4, alpha=8))

    torch.testing.assert_close(Causal(model).surprise(laid_out([SEQUENCE])).surprise_N, before)
    assert {".lora_" in name for name, one in model.named_parameters() if one.requires_grad} == {True}


def test_an_adapter_of_another_base_is_refused_by_the_digest_of_its_weights(base: Path, tmp_path: Path) -> None:
    other = tiny_language_model(tmp_path / "other", seed=1)
    adapter = tiny_adapter(tmp_path / "adapter", other)
    about = {"settings": {"base": {"name": "the-other", "digest": "sha256:00"}}}
    (adapter / "manifest.json").write_text(json.dumps(about))

    with pytest.raises(AdapterNotUsable, match="was made for 'the-other'"):
        go_on(open_causal(base), adapter, base)


def test_an_adapter_of_other_shapes_is_refused(base: Path, tmp_path: Path) -> None:
    wide = {"hidden_size": 64, "head_dim": 16}
    adapter = tiny_adapter(tmp_path / "adapter", tiny_language_model(tmp_path / "wide", config=wide))

    with pytest.raises(AdapterNotUsable, match="does not fit"):
        go_on(open_causal(base), adapter, base)


def test_an_adapter_in_a_pickle_is_not_opened(base: Path, tmp_path: Path) -> None:
    adapter = tiny_adapter(tmp_path / "adapter", base)
    shutil.move(adapter / "adapter_model.safetensors", adapter / "adapter_model.bin")

    with pytest.raises(AdapterNotUsable, match="holds no adapter_model"):
        check_adapter(adapter, base)


def test_layers_that_the_base_does_not_have_are_refused(base: Path) -> None:
    with pytest.raises(AdapterNotUsable, match="cannot be put"):
        attach(open_causal(base), Shape(r=4, alpha=8, target_modules="nowhere"))
