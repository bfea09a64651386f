"""A model directory as one GGUF file with weights of eight bits, which OpenVINO reads.

Llama, Qwen2 and Qwen3 with byte-level tokenizers. Weights are read and written one at a time, so memory holds one
matrix; an adapter is added to them on the way.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import safe_open

from inhouse.core.errors import Invalid
from inhouse.models.language.vocabulary import TOKENIZER, Vocabulary, read_json
from inhouse.serving.lm.checkpoint import Adapter, Checkpoint

if TYPE_CHECKING:
    from gguf import GGUFWriter  # pyright: ignore[reportMissingImports]
    from torch import Tensor

FAMILIES = {"llama": "llama-bpe", "qwen2": "qwen2", "qwen3": "qwen2"}
"""Model types that can be converted, with how their tokenizers cut texts."""
_PREFIX = "base_model.model."


class NotConvertible(Invalid):
    """The model, or its adapter, cannot be written as GGUF."""


def is_convertible(checkpoint: Checkpoint) -> bool:
    """Whether `convert` can write this model, as far as its configuration says."""
    config = checkpoint.config
    scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    return (
        checkpoint.model_type in FAMILIES
        and kind == "default"
        and not config.get("use_sliding_window")
        and not config.get("attention_bias")
        and not config.get("quantization_config")
        and _is_byte_level(checkpoint.directory / TOKENIZER)
    )


def convert(checkpoint: Checkpoint, target: Path, *, merged: Adapter | None = None) -> Path:
    """Write the model to `target`, unless it is there; nobody ever sees half a file."""
    if target.exists():
        return target
    from gguf import GGUFWriter  # pyright: ignore[reportMissingImports]

    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{os.getpid()}-{target.name}")
    writer = GGUFWriter(unfinished, checkpoint.model_type)
    try:
        _describe(writer, checkpoint)
        _tokenize(writer, checkpoint)
        _write(writer, _Weights(checkpoint, merged), checkpoint)
        writer.close()
        unfinished.replace(target)
    finally:
        writer.close()
        unfinished.unlink(missing_ok=True)
    return target


class _Weights:
    """The matrices of a model by their names, with an adapter added."""

    def __init__(self, checkpoint: Checkpoint, merged: Adapter | None) -> None:
        self._places: dict[str, Any] = {}
        for file in sorted(checkpoint.directory.glob("*.safetensors")):
            opened = safe_open(file, framework="pt")
            self._places.update(dict.fromkeys(opened.keys(), opened))
        self._changes = _changes(merged) if merged else {}
        if strange := self._changes.keys() - self._places.keys():
            raise NotConvertible(f"The adapter changes {min(strange)!r}, which this model does not have.")

    def shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        for name, opened in self._places.items():
            yield name, tuple(opened.get_slice(name).get_shape())

    def __getitem__(self, name: str) -> "Tensor":
        weight = self._places[name].get_tensor(name).float()
        if change := self._changes.get(name):
            down, up = change
            if up.shape[0] != weight.shape[0] or down.shape[1] != weight.shape[1]:
                raise NotConvertible(f"The adapter was made for another model: {name!r} has another shape there.")
            weight += up @ down
        return weight


def _changes(adapter: Adapter) -> "dict[str, tuple[Tensor, Tensor]]":
    """What to add to each matrix: up @ down, already scaled."""
    config = adapter.config
    if config.get("use_dora") or config.get("modules_to_save") or config.get("bias", "none") != "none":
        raise NotConvertible(
            f"{adapter.directory.name!r} is more than plain LoRA.", hint="Use the runtime transformers."
        )
    found: dict[str, tuple[Tensor, Tensor]] = {}
    with safe_open(adapter.directory / "adapter_model.safetensors", framework="pt") as tensors:
        for name in list(tensors.keys()):
            layer, is_down, _ = name.removeprefix(_PREFIX).partition(".lora_A.weight")
            if is_down:
                down = tensors.get_tensor(name).float()
                up = tensors.get_tensor(name.replace(".lora_A.", ".lora_B.")).float()
                found[f"{layer}.weight"] = (down, up * _scale(layer, down.shape[0], config))
            elif not name.endswith(".lora_B.weight"):
                raise NotConvertible(f"{adapter.directory.name!r} holds {name!r}, which is no LoRA on a linear layer.")
    return found


def _scale(layer: str, rank: int, config: Mapping[str, Any]) -> float:
    patterns: Mapping[str, Any] = config.get("alpha_pattern") or {}
    named = next((alpha for key, alpha in patterns.items() if layer == key or layer.endswith(f".{key}")), None)
    alpha = float(named if named is not None else config.get("lora_alpha", rank))
    return alpha / rank**0.5 if config.get("use_rslora") else alpha / rank


def _describe(writer: "GGUFWriter", checkpoint: Checkpoint) -> None:
    from gguf import GGML_QUANT_VERSION, LlamaFileType  # pyright: ignore[reportMissingImports]

    config = checkpoint.config
    heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
    head = int(config.get("head_dim") or hidden // heads)
    rope = config.get("rope_parameters") or {}
    writer.add_name(checkpoint.directory.name)
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(GGML_QUANT_VERSION)
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(hidden)
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads") or heads))
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(float(config.get("rope_theta") or rope.get("rope_theta") or 10000.0))
    writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
    writer.add_vocab_size(int(config["vocab_size"]))


def _tokenize(writer: "GGUFWriter", checkpoint: Checkpoint) -> None:
    """The tokenizer as far as the reader wants one: texts are tokenized by ours."""
    from gguf import TokenType  # pyright: ignore[reportMissingImports]

    vocabulary = Vocabulary(checkpoint.directory)
    document = json.loads(vocabulary.document)
    names = {id: token for token, id in document["model"]["vocab"].items()}
    added = {token["id"]: token for token in document.get("added_tokens", ())}
    tokens, kinds = [], []
    for id in range(int(checkpoint.config["vocab_size"])):
        extra = added.get(id)
        tokens.append(extra["content"] if extra else names.get(id, f"[unused{id}]"))
        known = TokenType.NORMAL if id in names else TokenType.UNUSED
        kinds.append(known if not extra else TokenType.CONTROL if extra["special"] else TokenType.USER_DEFINED)
    merges = document["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(FAMILIES[checkpoint.model_type])
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    ends = read_json(checkpoint.directory / "generation_config.json").get("eos_token_id")
    ends = ends if ends is not None else checkpoint.config.get("eos_token_id")
    end = ends[0] if isinstance(ends, list) else ends
    if end is not None:
        writer.add_eos_token_id(int(end))
        writer.add_pad_token_id(int(end))
    start = checkpoint.config.get("bos_token_id")
    if isinstance(start, int):
        writer.add_bos_token_id(start)


def _write(writer: "GGUFWriter", weights: _Weights, checkpoint: Checkpoint) -> None:
    """First what there will be, then each matrix in its turn."""
    from gguf import MODEL_ARCH_NAMES, GGMLQuantizationType, get_tensor_name_map, quant_shape_to_byte_shape  # pyright: ignore[reportMissingImports]

    arch = next(arch for arch, name in MODEL_ARCH_NAMES.items() if name == checkpoint.model_type)
    names = get_tensor_name_map(arch, int(checkpoint.config["num_hidden_layers"]))
    kinds: dict[str, GGMLQuantizationType] = {}
    for name, shape in weights.shapes():
        if name.endswith("rotary_emb.inv_freq"):
            continue
        known = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if known is None:
            raise NotConvertible(f"The model has weights that are not known: {name!r}.")
        is_matrix = len(shape) == 2 and shape[1] % 32 == 0
        kinds[name] = kind = GGMLQuantizationType.Q8_0 if is_matrix else GGMLQuantizationType.F32
        stored = quant_shape_to_byte_shape(shape, kind) if is_matrix else shape
        size = int(np.prod(stored)) * (1 if is_matrix else 4)
        dtype = np.dtype(np.uint8 if is_matrix else np.float32)
        writer.add_tensor_info(known, stored, dtype, size, raw_dtype=kind if is_matrix else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, kind in kinds.items():
        writer.write_tensor_data(_stored(name, weights[name], kind, checkpoint))


def _stored(name: str, weight: "Tensor", kind: Any, checkpoint: Checkpoint) -> np.ndarray:
    from gguf import quants  # pyright: ignore[reportMissingImports]

    if checkpoint.model_type == "llama":
        config = checkpoint.config
        heads = int(config["num_attention_heads"])
        if name.endswith("q_proj.weight"):
            weight = _interleaved(weight, heads)
        elif name.endswith("k_proj.weight"):
            weight = _interleaved(weight, int(config.get("num_key_value_heads") or heads))
    return quants.quantize(np.ascontiguousarray(weight.numpy()), kind)


def _interleaved(weight: "Tensor", heads: int) -> "Tensor":
    """GGUF wants Llama's rotated pairs side by side, Hugging Face has them in two halves."""
    return weight.view(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def _is_byte_level(tokenizer: Path) -> bool:
    try:
        text = tokenizer.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    return '"ByteLevel"' in text and '"merges"' in text
