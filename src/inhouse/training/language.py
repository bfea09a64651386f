"""The settings that all recipes for language models share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from inhouse.training.recipe import Looped
from inhouse.training.task import Precision

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inhouse.training.networks.student import Student

Method = Literal["lora", "full"]
Template = Literal["own", "chatml"]
Packing = Literal["auto", "on", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is tuned, and how: a base by LoRA or whole, or without a base a small model from scratch."""

    base: str | None = None
    adapter: Path | None = None
    method: Method = "lora"
    r: int = 16
    alpha: int | None = None
    target_modules: str = "all-linear"
    lora_dropout: float = 0.0
    dora: bool = False
    merge: bool = False
    max_length: int = 1024
    chat_template: Template = "own"
    packing: Packing = "auto"
    samples: int = 3
    precision: Precision = "auto"
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the artifact is to remember besides."""

    @property
    def is_lora(self) -> bool:
        """A model from scratch has nothing that could stay frozen."""
        return self.method == "lora" and self.base is not None


class Tuned(Looped):
    """`Wanted`, as settings of a recipe."""

    base: str | None = Field(default=None, min_length=1, max_length=4096)
    adapter: Path | None = None
    method: Method = "lora"
    r: int = Field(default=16, ge=1, le=1024)
    alpha: int | None = Field(default=None, ge=1, le=4096)
    target_modules: str = Field(default="all-linear", min_length=1, max_length=1000)
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    dora: bool = False
    merge: bool = False
    max_length: int = Field(default=1024, ge=16, le=131072)
    chat_template: Template = "own"
    packing: Packing = "auto"
    samples: int = Field(default=3, ge=0, le=20)

    @property
    def wanted(self) -> Wanted:
        names = (one.name for one in fields(Wanted) if one.name != "settings")
        return Wanted(**{name: getattr(self, name) for name in names})

    def suited(self, *, lora: float, full: float, scratch: float) -> float:
        """The learning rate that suits what is tuned."""
        return lora if self.wanted.is_lora else full if self.base else scratch

    def student(self, texts: Iterable[str], *, seed: int) -> Student:
        """The model to train, on its device; the texts are what a tokenizer from scratch is made for."""
        from inhouse.training.networks.student import open_student

        return open_student(self.wanted, texts, seed=seed)
