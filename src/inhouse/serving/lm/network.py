"""A causal language model that reads and writes for many rows in one pass, each row with its own memory.

All tokens of a step lie behind each other in one flat sequence, whoever they belong to: linear layers, norms and
position embeddings work on single tokens anyway, so nothing is padded. Only attention has to know the rows; it comes
through the library's attention interface, so that no model family needs code of its own.
"""

import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import logging

from inhouse.core.errors import Invalid
from inhouse.models.language.int4 import is_packed, plain_weights
from inhouse.models.language.vocabulary import read_json

if TYPE_CHECKING:
    from torch import Tensor

ATTENTION = "inhouse_rows"


class UnsupportedModel(Invalid):
    """The directory is no causal language model that can be run here."""


class Past(Protocol):
    """What one choice has read so far, in whatever form its network remembers it."""

    @property
    def adapter(self) -> str: ...
    @property
    def length(self) -> int: ...

    def fork(self) -> "Past":
        """Another one with the same past."""
        ...


class Row:
    """The memory of one choice: keys and values of every layer, with room to its very end."""

    def __init__(self, capacity: int, adapter: str = "") -> None:
        self.capacity = capacity
        self.adapter = adapter
        self.length = 0
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}

    def extend(self, layer: int, key: "Tensor", value: "Tensor") -> "tuple[Tensor, Tensor]":
        """Add keys and values (1, heads, tokens, size) of a layer; return all of the row so far."""
        if layer not in self.layers:
            self.layers[layer] = (_room(key, self.capacity), _room(value, self.capacity))
        end = self.length + key.shape[2]
        keys, values = self.layers[layer]
        keys[:, :, self.length : end] = key
        values[:, :, self.length : end] = value
        return keys[:, :, :end], values[:, :, :end]

    def fork(self) -> "Row":
        """Another row with the same past."""
        twin = Row(self.capacity, self.adapter)
        for layer, (keys, values) in self.layers.items():
            twin.extend(layer, keys[:, :, : self.length], values[:, :, : self.length])
        twin.length = self.length
        return twin


def _room(like: "Tensor", capacity: int) -> "Tensor":
    return like.new_empty((1, like.shape[1], capacity, like.shape[3]))


@dataclass(frozen=True, slots=True)
class Part:
    """The next tokens of one row."""

    row: Past
    ids: Sequence[int]
    wanted: bool = True
    """Whether somebody wants to know what comes after them."""


@dataclass(slots=True)
class _Step:
    parts: Sequence[Part]
    masks: "dict[tuple[int, int], Tensor]" = field(default_factory=dict)
    adapters: "list[tuple[str, Tensor | slice]]" = field(default_factory=list)


class _Now(threading.local):
    """The step that this thread is in. Attention and adapters find it here, whatever a model hands through."""

    step: _Step | None = None


now = _Now()


def _attend(
    module: torch.nn.Module,
    query: "Tensor",
    key: "Tensor",
    value: "Tensor",
    attention_mask: "Tensor | None",
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> "tuple[Tensor, None]":
    """Let every token look at its own row. Shapes: query (1, heads, tokens, size), answer (1, tokens, heads, size)."""
    step = now.step
    assert step is not None, "attention outside of a step"
    layer: int = module.layer_idx  # pyright: ignore[reportAssignmentType]
    heads, size = query.shape[1], value.shape[3]
    answer = query.new_empty((1, query.shape[2], heads, size))
    start = 0
    for number, part in enumerate(step.parts):
        end = start + len(part.ids)
        row = part.row
        assert isinstance(row, Row)
        keys, values = row.extend(layer, key[:, :, start:end], value[:, :, start:end])
        asked = query[:, :, start:end]
        if end - start == 1:
            answer[:, start:end] = _look_back(asked, keys, values, scaling, sliding_window)
        else:
            mask = _mask(step, number, sliding_window, query.device)
            seen = F.scaled_dot_product_attention(
                asked, keys, values, mask, is_causal=mask is None, scale=scaling, enable_gqa=keys.shape[1] != heads
            )
            answer[:, start:end] = seen.transpose(1, 2)
        start = end
    return answer, None


def _look_back(
    query: "Tensor", keys: "Tensor", values: "Tensor", scaling: float | None, window: int | None
) -> "Tensor":
    """One token's view of its past. Heads that share keys ask as one group of queries: many times faster on CPUs."""
    if window is not None and keys.shape[2] > window:
        keys, values = keys[:, :, -window:], values[:, :, -window:]
    groups = keys.shape[1]
    asked = query.reshape(1, groups, query.shape[1] // groups, query.shape[3])
    seen = F.scaled_dot_product_attention(asked, keys, values, scale=scaling)
    return seen.reshape(1, 1, query.shape[1], values.shape[3])


def _mask(step: _Step, number: int, window: int | None, device: torch.device) -> "Tensor | None":
    """Which earlier tokens a chunk may see; None where plain causality says it all."""
    part = step.parts[number]
    count, end = len(part.ids), part.row.length + len(part.ids)
    window = window if window is not None and window < end else None
    if not part.row.length and window is None:
        return None
    key = (number, window or 0)
    if key not in step.masks:
        mask = torch.ones(count, end, dtype=torch.bool, device=device).tril(part.row.length)
        step.masks[key] = mask if window is None else mask.triu(part.row.length - window + 1)
    return step.masks[key]


ALL_ATTENTION_FUNCTIONS.register(ATTENTION, _attend)
logging.disable_progress_bar()


class Network:
    """A loaded model."""

    def __init__(self, model: Any, *, context_length: int) -> None:
        self.model = model
        self.context_length = context_length
        self.device: torch.device = model.device

    @property
    def bytes_per_token(self) -> int:
        """The memory that one token of one row takes."""
        config = self.model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return 2 * config.num_hidden_layers * heads * size * self.model.dtype.itemsize

    @torch.inference_mode()
    def step(self, parts: Sequence[Part]) -> "Tensor":
        """Read all parts in one pass; return the scores (float32) of what follows each `wanted` one."""
        ids = [id for part in parts for id in part.ids]
        positions = [place for part in parts for place in range(part.row.length, part.row.length + len(part.ids))]
        now.step = _Step(parts, adapters=_by_adapter(parts))
        try:
            scores = self._forward(ids, positions, _last(parts))
        finally:
            now.step = None
        for part in parts:
            assert isinstance(part.row, Row)
            part.row.length += len(part.ids)
        return scores

    def row(self, capacity: int, adapter: str = "") -> Row:
        """Memory for a choice of at most so many tokens."""
        return Row(capacity, adapter)

    @property
    def scores(self) -> int:
        """How many tokens it gives scores to."""
        return self.model.config.get_text_config().vocab_size

    def _forward(self, ids: Sequence[int], positions: Sequence[int], wanted: Sequence[int]) -> "Tensor":
        answer = self.model(
            input_ids=torch.tensor([ids], device=self.device),
            position_ids=torch.tensor([positions], device=self.device),
            use_cache=False,
            logits_to_keep=torch.tensor(wanted, dtype=torch.long, device=self.device),
        )
        return answer.logits[0].float()


def _last(parts: Sequence[Part]) -> list[int]:
    places, end = [], 0
    for part in parts:
        end += len(part.ids)
        if part.wanted:
            places.append(end - 1)
    return places


def _by_adapter(parts: Sequence[Part]) -> "list[tuple[str, Tensor | slice]]":
    """Which places of the flat sequence belong to which adapter; nothing where no row has one."""
    if not any(part.row.adapter for part in parts):
        return []
    places: dict[str, list[int]] = {}
    start = 0
    for part in parts:
        if part.row.adapter:
            places.setdefault(part.row.adapter, []).extend(range(start, start + len(part.ids)))
        start += len(part.ids)
    if len(places) == 1 and len(*places.values()) == start:
        return [(next(iter(places)), slice(None))]
    return [(name, torch.tensor(found)) for name, found in places.items()]


def load(directory: Path, *, dtype: str = "auto", device: str = "auto") -> Network:
    """Load a causal language model in Hugging Face's layout: safetensors only, and no code from the directory.

    It is done on a thread that ends with it. A thread that has computed keeps helpers of its own waiting for more, and
    with more of them than processors they no longer wait actively: every later step would take much longer.
    """
    check_files(directory)
    with ThreadPoolExecutor(1, thread_name_prefix="inhouse-lm-load") as once:
        return once.submit(_load, directory, dtype, device).result()


def _load(directory: Path, dtype: str, device: str) -> Network:
    chosen = device if device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        config = AutoConfig.from_pretrained(directory, trust_remote_code=False, local_files_only=True)
        if is_packed(config.to_dict()):
            return _prove(_unpacked(directory, config, dtype, chosen), directory.name)
        model: Any = AutoModelForCausalLM.from_pretrained(
            directory,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UnsupportedModel(f"{directory.name!r} cannot be loaded: {error}") from error
    return _prove(_network(model, config, chosen), directory.name)


def _unpacked(directory: Path, config: Any, dtype: str, device: str) -> Network:
    """A model whose weights have four bits on disk."""
    del config.quantization_config
    chosen = getattr(torch, dtype) if dtype != "auto" else config.dtype or torch.float32
    model = AutoModelForCausalLM.from_config(config, dtype=chosen, trust_remote_code=False)
    found = model.load_state_dict(dict(plain_weights(directory, chosen)), strict=False)
    model.tie_weights()
    if lost := {*found.unexpected_keys, *found.missing_keys} - set(getattr(model, "_tied_weights_keys", None) or ()):
        raise ValueError(f"its weights are not those of its configuration: {min(lost)!r}")
    return _network(model, config, device)


def _network(model: Any, config: Any, device: str) -> Network:
    model.eval().to(device)
    text = config.get_text_config()
    length = getattr(text, "max_position_embeddings", None) or getattr(text, "n_positions", None) or 2048
    return Network(model, context_length=int(length))


def check_files(directory: Path) -> None:
    """Refuse what is no model, what would run code from the directory, and what is pickled."""
    config = read_json(directory / "config.json")
    if not config:
        raise UnsupportedModel(
            f"{directory.name!r} holds no config.json.", hint="Give a directory in Hugging Face layout."
        )
    tokenizer = read_json(directory / "tokenizer_config.json")
    if "auto_map" in config or "auto_map" in tokenizer or "custom_pipelines" in config:
        raise UnsupportedModel(
            f"{directory.name!r} wants to run its own code (auto_map).",
            hint="Only models that the library knows are run.",
        )
    if not any(directory.glob("*.safetensors")):
        pickled = any(directory.glob("*.bin")) or any(directory.glob("*.pt"))
        raise UnsupportedModel(
            f"{directory.name!r} has no weights as safetensors" + (", only pickled ones." if pickled else "."),
            hint="Save the model with save_pretrained(…) of a present transformers.",
        )
    for path in directory.glob("*.safetensors.index.json"):
        _check_index(path)


def _check_index(path: Path) -> None:
    try:
        names = set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError) as error:
        raise UnsupportedModel(f"{path.name} cannot be read: {error}.") from error
    if lost := [name for name in names if Path(name).name != name or not (path.parent / name).is_file()]:
        raise UnsupportedModel(f"{path.name} names weights that are not here: {sorted(lost)[:3]}.")


def _prove(network: Network, name: str) -> Network:
    """Compare row by row reading with the library's own on a few tokens: some attention cannot be done in rows."""
    config = network.model.config.get_text_config()
    ids = [place % config.vocab_size for place in (5, 3, 8, 1, 13)]
    with torch.inference_mode():
        expected = network.model(input_ids=torch.tensor([ids], device=network.device), use_cache=False).logits[0, -1]
    network.model.set_attn_implementation(ATTENTION)
    row, neighbour = Row(len(ids)), Row(len(ids))
    try:
        network.step([Part(neighbour, ids[1:3]), Part(row, ids[:2])])
        network.step([Part(row, ids[2:4]), Part(neighbour, ids[:1])])
        found = network.step([Part(neighbour, ids[:1]), Part(row, ids[4:])])[1]
    except (TypeError, AttributeError, ValueError, RuntimeError, AssertionError) as error:
        raise UnsupportedModel(f"{name!r} cannot be read row by row: {error}") from error
    allowed = 0.005 if network.model.dtype == torch.float32 else 0.1
    is_far = (found - expected.float()).abs().max() > allowed * (expected.max() - expected.min())
    if is_far or len(row.layers) != config.num_hidden_layers:
        raise UnsupportedModel(
            f"{name!r} has layers that cannot be read row by row.", hint="Run it on a server of its own."
        )
    return network
