"""The model that a recipe trains, with what it reads by and where it came from."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from inhouse.training.networks.bases import BaseNotUsable, resolve_base
from inhouse.training.networks.causal import Causal, is_packable, longest_for, open_causal
from inhouse.training.networks.lora import Shape, attach, go_on
from inhouse.training.networks.scratch_language import write_scratch
from inhouse.training.networks.tokens import Reader
from inhouse.training.precision import number_type
from inhouse.training.ranks import own_device

if TYPE_CHECKING:
    from peft import PeftModel

    from inhouse.training.language import Wanted


@dataclass(eq=False)
class Student:
    """A model to train. `base` is the directory it came from, `peft` there where only small matrices learn."""

    network: Causal
    reader: Reader
    base: Path
    peft: PeftModel | None
    capacity: int
    """Places of a packed row; 0 where each sequence has a row of its own."""


def open_student(wanted: Wanted, texts: Iterable[str], *, seed: int, like: Path | None = None) -> Student:
    """Load or make the model. The same seed makes the same weights; one from scratch may have tokens `like` another."""
    torch.manual_seed(seed)
    scratch = None
    if wanted.base is None:
        if wanted.adapter:
            raise BaseNotUsable("An adapter needs its base.", hint="Set base to the model that it was made for.")
        scratch = Path(tempfile.mkdtemp(prefix="inhouse-scratch-"))
        directory = write_scratch(scratch / "model", texts, context=wanted.max_length, like=like)
    else:
        directory = resolve_base(wanted.base)
    device = own_device()
    frozen = number_type(wanted.precision, device) if wanted.is_lora else torch.float32
    model = open_causal(directory, dtype=frozen)
    reader = Reader(directory, max_length=longest_for(model, wanted.max_length), template=wanted.chat_template)
    peft = None
    if wanted.is_lora:
        shape = Shape(wanted.r, wanted.alpha or 2 * wanted.r, wanted.target_modules, wanted.lora_dropout, wanted.dora)
        peft = go_on(model, wanted.adapter, directory) if wanted.adapter else attach(model, shape)
    elif wanted.adapter:
        raise BaseNotUsable("An adapter is trained further as LoRA.", hint="Set method to lora.")
    network = Causal(model)
    network.to(device)
    capacity = _capacity(wanted, reader.max_length, device) if is_packable(model, reader.max_length) else 0
    student = Student(network, reader, directory, peft, capacity)
    if scratch:  # needed until the artifact is written
        weakref.finalize(student, shutil.rmtree, scratch, ignore_errors=True)
    return student


def _capacity(wanted: Wanted, longest: int, device: torch.device) -> int:
    """On a processor, rows of similar length cost less than attention over a whole packed row; on a GPU they don't."""
    pays = wanted.packing == "on" or (wanted.packing == "auto" and device.type == "cuda")
    return longest if pays else 0
