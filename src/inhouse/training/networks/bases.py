"""Where the model lies that a recipe starts from: a directory of this machine, or a name on the Hugging Face hub."""

import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from inhouse.core.errors import Invalid

PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_WANTED = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
"""Weights, settings and tokenizer. Never pickles, never code."""
_UNWANTED = ["onnx/*", "openvino/*"]


class BaseNotUsable(Invalid):
    """What is given as `base` holds no model that can be trained on."""


class PickledWeights(BaseNotUsable):
    """The weights are pickles: opening them could run code, so it is not done."""


def resolve_base(base: str | Path) -> Path:
    """Return the directory of a base, after looking that it holds a model in safetensors.

    A name like `org/name` that is no directory is looked up in the cache of the hub, then fetched from the hub.
    """
    directory = Path(base).expanduser()
    if not directory.exists() and _HUB_NAME.fullmatch(str(base)):
        directory = _from_hub(str(base))
    _check(directory)
    return directory


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    wanted: dict[str, Any] = {"allow_patterns": _WANTED, "ignore_patterns": _UNWANTED}
    try:
        return Path(snapshot_download(name, local_files_only=True, **wanted))
    except (LocalEntryNotFoundError, HFValidationError):
        pass  # not in the cache
    try:
        return Path(snapshot_download(name, **wanted))
    except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise BaseNotUsable(
            f"There is no directory {name!r}, and the hub did not give a model of that name: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}",
            hint="Without a network, copy the model's directory onto this machine and give its path.",
        ) from error


def _check(directory: Path) -> None:
    if not directory.is_dir():
        raise BaseNotUsable(
            f"There is no directory {str(directory)!r} to take as base.",
            hint="Give the path of a Hugging Face model directory on this machine, or leave base empty.",
        )
    weights = sorted(directory.glob("*.safetensors"))
    pickled = sorted(path.name for path in directory.iterdir() if path.suffix in PICKLED)
    if not weights and pickled:
        raise PickledWeights(
            f"The weights of {str(directory)!r} are a pickle ({pickled[0]}), which could run code when opened.",
            hint="Convert them to safetensors on a machine where you trust them.",
        )
    if not weights or not (directory / "config.json").is_file():
        raise BaseNotUsable(
            f"{str(directory)!r} is not a model directory.",
            hint="It needs config.json, tokenizer.json and *.safetensors.",
        )
    for path in weights:
        try:
            with safe_open(path, framework="np"):
                pass
        except SafetensorError as error:
            raise BaseNotUsable(f"{path.name!r} in {str(directory)!r} is not a safetensors file: {error}.") from error
