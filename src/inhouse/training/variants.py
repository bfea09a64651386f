"""The formats that a version can be exported to: how each is written, and how it is run to be measured."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inhouse.core.errors import Invalid
from inhouse.training.sealed import MANIFEST, draft, seal

if TYPE_CHECKING:
    from inhouse.training.networks.network import Network, Texts
    from inhouse.training.networks.open import Opened

ONNX, INT8, TORCHSCRIPT, TORCH_EXPORT, FP16, BF16 = "onnx", "int8", "torchscript", "torch_export", "fp16", "bf16"
_ENCODED = (ONNX, INT8, TORCHSCRIPT, TORCH_EXPORT, FP16, BF16)
INT4 = "int4"
VARIANTS = {"classify": _ENCODED, "tag": _ENCODED, "embed": _ENCODED, "rerank": _ENCODED, "chat": (INT4,)}
"""Kind of model -> what it can be exported to. Of encoders the first is what the others are measured against."""

MAY_LOSE = frozenset({INT8, FP16, BF16, "int4"})
"""These have other weights, so they are refused when they lose too much; the rest compute the same."""

INT4_ROWS = 200
_SCRIPT, _PROGRAM = "model.torchscript.pt", "model.pt2"
_LEFT_OUT = frozenset({"model.onnx", "model.safetensors", MANIFEST})

Run = Callable[["Texts"], np.ndarray]
"""Texts (or pairs) to what the network says of each."""


class NoSuchVariant(Invalid):
    """This kind of model has no such variant."""


def most_loss(kind: str) -> float:
    """What a variant may lose unless it is said otherwise: points of accuracy, of language models per cent of
    perplexity, which moves far more easily.
    """
    return 10.0 if kind == "chat" else 1.0


def check_variants(kind: str, asked: list[str]) -> list[str]:
    """The variants to make, in their order; all of them where none is named."""
    known = VARIANTS.get(kind, ())
    if not known:
        raise NoSuchVariant(f"Models of the kind {kind!r} have no variants.", hint="Known: " + ", ".join(VARIANTS))
    if unknown := sorted(set(asked) - set(known)):
        raise NoSuchVariant(
            f"Models of the kind {kind!r} have no variant {unknown[0]!r}.", hint="Known: " + ", ".join(known)
        )
    return [name for name in known if name in asked or not asked]


def write_variant(name: str, artifact: Path, directory: Path) -> None:
    """Write a version in another format: a directory like the version's own, with another network in it."""
    manifest = json.loads((artifact / MANIFEST).read_bytes())
    with draft(directory) as partial:
        shutil.copytree(artifact, partial, ignore=lambda _, names: _LEFT_OUT & set(names), dirs_exist_ok=True)
        inputs = _write(name, artifact, partial)
        seal(partial, {**manifest, "variant": name, **({"inputs": list(inputs)} if inputs else {})})


def write_int4(artifact: Path, directory: Path, rows: Path | None) -> dict[str, Any]:
    """Write a language model with weights of four bits; return what that costs on rows, or on its own texts."""
    from inhouse.training.dataset import read_splits
    from inhouse.training.quantize_lm import quantize

    manifest = json.loads((artifact / MANIFEST).read_bytes())
    splits = read_splits(rows) if rows else None
    with draft(directory) as partial:
        held = {} if splits is None else {"rows": (splits.test or splits.dev)[:INT4_ROWS], "form": splits.form}
        costs = quantize(artifact, partial, **held)
        seal(partial, {**manifest, "variant": INT4})
    costs["loss_points"] = round(100 * (costs["perplexity"] / costs["perplexity_before"] - 1), 3)
    return costs


def _write(name: str, artifact: Path, target: Path) -> tuple[str, ...]:
    """Write the network; return what it reads, where its file does not say."""
    if name == ONNX:
        shutil.copy(artifact / "model.onnx", target)
    elif name == INT8:
        from inhouse.training.quantize import to_int8

        to_int8(artifact, target)
    elif name in (FP16, BF16):
        from inhouse.training.quantize import to_half

        to_half(artifact, target, _dtype(name))
    else:
        from inhouse.training.networks.open import open_network

        opened = open_network(artifact)
        write = _write_script if name == TORCHSCRIPT else _write_program
        write(opened, target)
        return opened.network.inputs
    return ()


def _write_script(opened: Opened, target: Path) -> None:
    """TorchScript, for programs that load nothing else: PyTorch itself has moved on to torch.export."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its deprecation, and of branches that `measure` shows to be no trouble
        traced = torch.jit.trace(opened.network, _example(opened), check_trace=False)
        torch.jit.save(traced, str(target / _SCRIPT))


def _write_program(opened: Opened, target: Path) -> None:
    import torch
    from torch.export import Dim

    batch, length = Dim("batch", min=1, max=4096), Dim("length", min=2, max=_longest(opened))
    example = _example(opened)
    program = torch.export.export(opened.network, example, dynamic_shapes=_shapes(opened.network, batch, length))
    torch.export.save(program, str(target / _PROGRAM))


def _longest(opened: Opened) -> int:
    return int(opened.manifest.get("max_length", 512))


def _shapes(network: Network, batch: Any, length: Any) -> Any:
    """The shapes of the inputs by the names that `forward` gives them, which may take them as *args."""
    import inspect

    shape = {0: batch, 1: length}
    parameters = inspect.signature(network.forward).parameters.values()
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return (tuple(shape for _ in network.inputs),)
    return tuple(shape for _ in network.inputs)


def _example(opened: Opened) -> Any:
    """Two texts of several tokens: tracers take ones for constants."""
    from inhouse.training.networks.network import encode

    return encode(opened.tokenizer, ["hello there, how are you", "你好，请问一下"], opened.network.inputs)


def open_variant(name: str, directory: Path) -> Run:
    """Load a variant's network the way that a program would that uses it."""
    if name in (ONNX, INT8):
        from inhouse.training.edge.run import Model

        return Model(directory).outputs
    return _open_torch(name, directory)


def _open_torch(name: str, directory: Path) -> Run:
    import torch

    from inhouse.training.networks.network import encode
    from inhouse.training.networks.open import open_network, open_tokenizer

    autocast: Any = nullcontext()
    if name in (FP16, BF16):
        opened = open_network(directory)
        network, inputs, autocast = opened.network, opened.network.inputs, torch.autocast("cpu", dtype=_dtype(name))
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            loaded = torch.jit.load(str(directory / _SCRIPT)) if name == TORCHSCRIPT else None
        network = loaded or torch.export.load(str(directory / _PROGRAM)).module()
        inputs = tuple(json.loads((directory / MANIFEST).read_bytes())["inputs"])
    tokenizer = open_tokenizer(directory)

    @torch.inference_mode()
    def run(texts: Texts) -> np.ndarray:
        with autocast:
            return network(*encode(tokenizer, texts, inputs)).float().numpy()

    return run


def _dtype(name: str) -> Any:
    import torch

    return torch.float16 if name == FP16 else torch.bfloat16
