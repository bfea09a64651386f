"""In which numbers a network computes: what is asked for, or what suits the device."""

from contextlib import AbstractContextManager, nullcontext

import torch

from inhouse.training.task import Precision


def number_type(wanted: Precision, device: torch.device) -> torch.dtype:
    """`auto` takes bfloat16 where the device computes in it; elsewhere it only costs."""
    if wanted == "auto":
        if _computes_bf16(device):
            return torch.bfloat16
        return torch.float16 if device.type == "cuda" else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[wanted]


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype=dtype)


def grad_scaler(device: torch.device, dtype: torch.dtype) -> torch.amp.GradScaler:
    """Small gradients vanish in float16 unless the loss is scaled up; for all others it does nothing."""
    return torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)


def _computes_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
