"""What an augmenter is: something that makes new training rows out of those there are.

To make rows in another way, put one module into `augmenters/` and decorate its class with `@augmenter(...)`. Its rows
are marked `synthetic:<name>`, carry the user whose words they came from, and never leave the training split.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, ClassVar, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from inhouse.core.errors import Invalid, Misconfigured
from inhouse.core.principal import Principal
from inhouse.core.registry import Registry
from inhouse.data.examples import SYNTHETIC, Example, Form


class BadAugmentation(Invalid):
    """The settings do not fit the way of making rows, or the rows do not."""


class NoLanguageModel(Misconfigured):
    """Rows are to be written by a language model, and nothing leads to one."""


class Written(Protocol):
    """What a language model wrote, and what that took. The cost is None where no price is known."""

    @property
    def text(self) -> str: ...
    @property
    def tokens(self) -> int: ...
    @property
    def cost(self) -> float | None: ...


class Writer(Protocol):
    """The language models."""

    async def write(
        self,
        principal: Principal,
        model: str,
        messages: Sequence[dict[str, str]],
        *,
        temperature: float,
        max_tokens: int,
    ) -> Written: ...


@dataclass(slots=True)
class Made:
    """New rows, and what making them took."""

    rows: list[Example] = field(default_factory=list)
    failed: int = 0
    """Rows that nothing could be made of, because a language model did not answer."""
    tokens: int = 0
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted: so many rows of a form, out of these, for somebody."""

    principal: Principal
    rows: Sequence[Example]
    form: Form
    count: int
    chance: Random
    writer: Writer | None = None

    def write_with(self) -> Writer:
        if self.writer is None:
            raise NoLanguageModel("No language model can be asked here.")
        return self.writer


class Augmenter(BaseModel, ABC):
    """A way of making rows. Fields are its settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str] = ""
    forms: ClassVar[tuple[Form, ...]] = ()
    most: ClassVar[int] = 100_000
    """Most rows that may be asked for at once."""

    @abstractmethod
    async def make(self, order: Order) -> Made:
        """At most so many rows; those that repeat others or would leak are sorted out later."""

    def derived(self, row: Example, text: str, content: dict[str, Any] | None = None) -> Example:
        """A row made of another one."""
        return replace(
            row,
            text=text,
            content=row.content if content is None else content,
            source=f"{SYNTHETIC}{self.name}",
            split="train",
            meta={"from": row.id},
        )


augmenters: Registry[type[Augmenter]] = Registry("augmenter", package="inhouse.data.augmenters")

AugmenterClass = TypeVar("AugmenterClass", bound=type[Augmenter])


def augmenter(name: str) -> Callable[[AugmenterClass], AugmenterClass]:
    """Make a way of making rows known by a name. Stored rows carry it, so it is for ever."""

    def add(cls: AugmenterClass) -> AugmenterClass:
        cls.name = name
        augmenters.add(name, cls)
        return cls

    return add


def configured(name: str, settings: dict[str, Any]) -> Augmenter:
    """The named augmenter with its settings checked."""
    cls = augmenters[name]
    try:
        return cls.model_validate(settings)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise BadAugmentation(
            f"The settings do not fit {name!r}: {problems}.", hint="It has: " + ", ".join(cls.model_fields)
        ) from error
