"""Tiny language models for tests: random weights in the layout of Hugging Face, with a real tokenizer."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

TEXT = (
    "The quick brown fox jumps over the lazy dog. How many days of leave do I have? You have ten days a year.",
    "def add(a, b):\n    return a + b\n",
    '{"name": "get_weather", "arguments": {"city": "Paris", "days": 3, "metric": true}}',
    "我们公司每年有十天年假。你好，世界！请问怎么申请？",
)
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MARKS = ("<tool_call>", "</tool_call>", "<think>", "</think>")
TEMPLATE = """\
{%- if tools %}
{{- '<|im_start|>system\\nYou may call:\\n' }}
{%- for tool in tools %}{{ tool | tojson }}{{ '\\n' }}{% endfor %}
{{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content }}
{%- for call in message.tool_calls or [] %}
{{- '<tool_call>\\n' + (call.function | tojson) + '\\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking %}{{ '<think>\\n' }}{% endif %}
{%- endif %}"""


def tiny_language_model(
    directory: Path,
    *,
    family: str = "qwen2",
    seed: int = 0,
    context_length: int = 512,
    texts: Sequence[str] = TEXT,
    config: dict[str, Any] | None = None,
) -> Path:
    """Make a chat model of some ten thousand random weights: `qwen2`, `qwen3`, `llama`, `mistral` or `gpt2`.

    What it says means nothing, but it says the same each time.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = _tokenizer(texts)
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(directory / "tokenizer.json"))
    end = tokenizer.token_to_id("<|im_end|>")
    sizes = _sizes(family, context_length) | {"vocab_size": tokenizer.get_vocab_size() + 5, "eos_token_id": end}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **sizes | (config or {})))
    model.generation_config.eos_token_id = [end, tokenizer.token_to_id("<|endoftext|>")]
    model.save_pretrained(directory)
    settings = {"eos_token": "<|im_end|>", "tokenizer_class": "PreTrainedTokenizerFast", "chat_template": TEMPLATE}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return directory


def tiny_adapter(directory: Path, base: Path, *, seed: int = 1, rank: int = 4, strength: float = 20.0) -> Path:
    """Make a LoRA adapter of random weights for the attention and the output of a model, as peft would save it."""
    import torch
    from safetensors.torch import load_file, save_file

    random = torch.Generator().manual_seed(seed)
    endings = ("q_proj.weight", "v_proj.weight", "down_proj.weight")
    tensors = {}
    for name, weight in load_file(base / "model.safetensors").items():
        if name.endswith(endings):
            layer = f"base_model.model.{name.removesuffix('.weight')}"
            tensors[f"{layer}.lora_A.weight"] = torch.randn(rank, weight.shape[1], generator=random) * 0.02
            tensors[f"{layer}.lora_B.weight"] = torch.randn(weight.shape[0], rank, generator=random) * 0.02
    directory.mkdir(parents=True, exist_ok=True)
    save_file(tensors, directory / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": rank * strength, "target_modules": ["q_proj", "v_proj"]}
    (directory / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return directory


def merged(directory: Path, base: Path, adapter: Path) -> Path:
    """The model with the adapter added to its weights, as a model of its own."""
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(base, directory)
    weights, changes = load_file(base / "model.safetensors"), load_file(adapter / "adapter_model.safetensors")
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    for name, down in changes.items():
        if name.endswith(".lora_A.weight"):
            layer = name.removesuffix(".lora_A.weight")
            up = changes[f"{layer}.lora_B.weight"] * (config["lora_alpha"] / config["r"])
            weights[f"{layer.removeprefix('base_model.model.')}.weight"] += up @ down
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def _tokenizer(texts: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(list(CONTROL))
    tokenizer.add_tokens([AddedToken(mark, normalized=False) for mark in MARKS])
    return tokenizer


def _sizes(family: str, context_length: int) -> dict[str, Any]:
    if family == "gpt2":
        return {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": context_length, "initializer_range": 0.3}
    return {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": context_length,
        "initializer_range": 0.3,
        "tie_word_embeddings": False,
    }
