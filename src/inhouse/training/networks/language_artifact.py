"""The artifact of a language model: an adapter as peft writes it, or a whole model in the layout of Hugging Face."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import PeftModel
from transformers import AutoConfig

from inhouse.core.ids import now
from inhouse.models.language.template import CHATML
from inhouse.models.language.weights import weights_digest
from inhouse.models.manifest import FORMAT
from inhouse.training.networks.causal import open_causal
from inhouse.training.networks.layout import copy_beside
from inhouse.training.networks.quiet import quiet
from inhouse.training.networks.student import Student
from inhouse.training.sealed import draft, seal

if TYPE_CHECKING:
    from inhouse.training.language import Wanted


def write_language_artifact(
    directory: Path, student: Student, wanted: Wanted, *, metrics: Mapping[str, Any], lineage: Mapping[str, Any]
) -> None:
    """Write what was trained, whole or not at all."""
    student.network.to("cpu")
    base = {"name": wanted.base or "", "digest": weights_digest(student.base)}
    with quiet(), draft(directory) as partial:
        settings: dict[str, Any] = {**wanted.settings, "chat_template": wanted.chat_template}
        if student.peft is None:
            kind = "chat"
            write_model(partial, student)
        elif wanted.merge:
            kind = "chat"
            adapter = partial.with_name(f"{partial.name}.adapter")
            write_adapter(adapter, student.peft, wanted.base)
            write_merged(partial, student.base, adapter)
            shutil.rmtree(adapter)
        else:
            kind = "adapter"
            settings |= {"base": base, "r": wanted.r}
            write_adapter(partial, student.peft, wanted.base)
        if kind == "chat" and wanted.chat_template == "chatml":
            (partial / "chat_template.jinja").write_text(CHATML, encoding="utf-8")
        seal(
            partial,
            {
                "format": FORMAT,
                "kind": kind,
                "created_at": now(),
                "labels": [],
                "signature": {"inputs": {"messages": "list"}, "outputs": {"message": "string"}},
                "max_length": student.reader.max_length,
                "settings": settings,
                "metrics": dict(metrics),
                "lineage": dict(lineage),
            },
        )


def write_adapter(directory: Path, peft: PeftModel, base: str | None) -> None:
    """Write the small matrices in float32, with their settings, and nothing else."""
    peft.peft_config["default"].base_model_name_or_path = base
    peft.save_pretrained(str(directory), safe_serialization=True)
    (directory / "README.md").unlink(missing_ok=True)


def write_model(directory: Path, student: Student) -> None:
    """Write the whole model, in the number type that its base had."""
    model: Any = student.network.model
    model.to(stored_type(student.base)).save_pretrained(directory)
    copy_beside(student.base, directory)


def write_merged(directory: Path, base: Path, adapter: Path) -> None:
    """Write a base with an adapter added to its weights, in float32 until they are stored."""
    model = open_causal(base)
    merged: Any = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    merged.to(stored_type(base)).save_pretrained(directory)
    copy_beside(base, directory)


def stored_type(base: Path) -> torch.dtype:
    found = getattr(AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False), "dtype", None)
    return found if isinstance(found, torch.dtype) else torch.float32
