"""Smaller weights: 8-bit integers for ONNX Runtime, and 16-bit numbers."""

import logging
import warnings
from pathlib import Path

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.torch import load_file, save_file

from inhouse.training.networks.open import WEIGHTS

NETWORK = "model.onnx"


def to_int8(artifact: Path, target: Path) -> None:
    """Weights as 8-bit integers with a scale per channel; activations are scaled as they come."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # it asks for a preparation that changes nothing for these networks
    try:
        quantize_dynamic(artifact / NETWORK, target / NETWORK, per_channel=True, weight_type=QuantType.QInt8)
    finally:
        logger.setLevel(level)


def to_half(artifact: Path, target: Path, dtype: torch.dtype) -> None:
    """Round every weight to 16 bits; whole numbers stay what they are."""
    tensors = load_file(artifact / WEIGHTS)
    halves = {name: value.to(dtype) if value.is_floating_point() else value for name, value in tensors.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if any(not value.isfinite().all() for value in halves.values() if value.is_floating_point()):
            raise OverflowError("a weight is too large for 16 bits")
    save_file(halves, target / WEIGHTS, metadata={"format": "pt"})
