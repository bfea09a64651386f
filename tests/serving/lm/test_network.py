import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from inhouse.serving.lm.network import Network, Part, Row, UnsupportedModel, load
from inhouse.testing.language import tiny_language_model

PROMPTS = [[7, 3, 9, 4, 11, 2, 8], [5], [12, 6, 1]]


def expected(directory: Path, ids: list[int], count: int) -> list[int]:
    """What the library itself writes."""
    model = AutoModelForCausalLM.from_pretrained(directory)
    model.generation_config.eos_token_id = None
    asked = torch.tensor([ids])
    written = model.generate(asked, attention_mask=torch.ones_like(asked), max_new_tokens=count, do_sample=False)
    return written[0, len(ids) :].tolist()


def write(network: Network, prompts: list[list[int]], count: int, *, chunk: int = 100) -> list[list[int]]:
    """Read prompts in chunks, then write for all at once."""
    rows = [Row(len(ids) + count) for ids in prompts]
    answers: list[list[int]] = [[] for _ in prompts]
    for row, ids, answer in zip(rows, prompts, answers, strict=True):
        for start in range(0, len(ids), chunk):
            scores = network.step([Part(row, ids[start : start + chunk])])
        answer.append(int(scores[0].argmax()))
    for _ in range(count - 1):
        parts = [Part(row, answer[-1:]) for row, answer in zip(rows, answers, strict=True)]
        for answer, id in zip(answers, network.step(parts).argmax(-1).tolist(), strict=True):
            answer.append(id)
    return answers


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "llama", "mistral", "gpt2"])
def test_many_rows_get_what_each_would_get_alone(family: str, tmp_path: Path) -> None:
    directory = tiny_language_model(tmp_path / family, family=family)

    answers = write(load(directory), PROMPTS, 12, chunk=3)

    assert answers == [expected(directory, ids, 12) for ids in PROMPTS]


def test_a_sliding_window_forgets_what_lies_behind(tmp_path: Path) -> None:
    directory = tiny_language_model(tmp_path / "mistral", family="mistral", config={"sliding_window": 6})

    answers = write(load(directory), PROMPTS, 20, chunk=4)

    assert answers == [expected(directory, ids, 20) for ids in PROMPTS]


def test_half_precision_on_disk_stays_half_precision(tmp_path: Path) -> None:
    directory = tiny_language_model(tmp_path / "half", config={"dtype": "bfloat16"})

    assert load(directory).model.dtype == torch.bfloat16


def test_a_forked_row_goes_its_own_way(tiny: Path) -> None:
    network = load(tiny)
    row = Row(20)
    network.step([Part(row, PROMPTS[0])])

    twin = row.fork()
    network.step([Part(row, [1])])
    scores = network.step([Part(twin, [2])])

    alone = network.step([Part(Row(20), [*PROMPTS[0], 2])])
    assert torch.allclose(scores, alone, atol=1e-4)


def test_only_wanted_parts_are_scored(tiny: Path) -> None:
    network = load(tiny)

    scores = network.step([Part(Row(9), [1, 2], wanted=False), Part(Row(9), [3])])

    assert len(scores) == 1


def test_models_with_code_of_their_own_are_refused(tmp_path: Path) -> None:
    directory = tiny_language_model(tmp_path / "model")
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModelForCausalLM": "evil.Model"}}))
    (directory / "evil.py").write_text("raise SystemExit('ran')")

    with pytest.raises(UnsupportedModel, match="its own code"):
        load(directory)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    directory = tiny_language_model(tmp_path / "model")
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")

    with pytest.raises(UnsupportedModel, match="only pickled ones"):
        load(directory)


def test_an_index_may_not_lead_out_of_the_directory(tmp_path: Path) -> None:
    directory = tiny_language_model(tmp_path / "model")
    index = {"weight_map": {"lm_head.weight": "../other.safetensors"}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))

    with pytest.raises(UnsupportedModel, match="not here"):
        load(directory)


def test_a_network_without_rows_is_refused(tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "state_size": 4, "num_hidden_layers": 1, "vocab_size": 300, "expand": 2}
    from transformers import MambaConfig, MambaForCausalLM

    MambaForCausalLM(MambaConfig(**sizes)).save_pretrained(tmp_path / "mamba")

    with pytest.raises(UnsupportedModel, match="row by row"):
        load(tmp_path / "mamba")
