"""What a format is: how the rows of some tool, or of some trainer, are written down.

To read another one, put one module into `formats/` and decorate its class with `@row_format(...)`. A format only says
how its rows and plain columns (see `columns.py`) become each other; files, checks and splits are the same for all.
"""

import tomllib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, ClassVar, TypeVar

from inhouse.core.registry import Registry
from inhouse.data.examples import Example, Form
from inhouse.data.file import CannotExport, Row

LANGUAGES = ("en", "zh")


class Format(ABC):
    """A way to write rows down."""

    name: ClassVar[str] = ""
    forms: ClassVar[tuple[Form, ...]] = ()
    file: ClassVar[str] = "json"
    """The kind of file that it is exported as."""
    order: ClassVar[int] = 50
    """Formats that are easier to tell are asked first."""

    @abstractmethod
    def recognises(self, rows: Sequence[Row]) -> Form | None:
        """The form of these rows, if they are in this format."""

    @abstractmethod
    def unfold(self, row: Row, form: Form) -> Row:
        """The row with our column names; what is not known goes to `extra`. Raises `Unfit` where that cannot be."""

    @abstractmethod
    def fold(self, example: Example, form: Form) -> Row:
        """The row of an example. Raises `CannotExport` where the format has no place for something."""


formats: Registry[type[Format]] = Registry("format", package="inhouse.data.formats")

FormatClass = TypeVar("FormatClass", bound=type[Format])


def row_format(name: str) -> Callable[[FormatClass], FormatClass]:
    """Make a format known by a name."""

    def add(cls: FormatClass) -> FormatClass:
        cls.name = name
        formats.add(name, cls)
        return cls

    return add


def texts(package: str, name: str) -> dict[str, dict[str, Any]]:
    """What is said of a plug-in in each language."""
    return {language: _locale(package, language)[name] for language in LANGUAGES}


@cache
def _locale(package: str, language: str) -> dict[str, Any]:
    return tomllib.loads(resources.files(package).joinpath("locale", f"{language}.toml").read_text(encoding="utf-8"))


def rest(row: Row, *known: str) -> dict[str, Any]:
    """What a row has beside the columns that are known."""
    return {name: value for name, value in row.items() if name not in known and value is not None}


def about(example: Example) -> Row:
    """What every exported row says of itself, where there is something to say."""
    values = {"split": example.split, "source": example.source, "user": example.user, "meta": example.meta}
    return {name: value for name, value in values.items() if value and value != "import"}


def every(rows: Sequence[Row], test: Callable[[Row], bool]) -> bool:
    return bool(rows) and all(test(row) for row in rows)


def dialogue(messages: Sequence[Mapping[str, str]], format_: str) -> tuple[str, list[tuple[str, str]]]:
    """The system's words, and question and answer in turns; raises `CannotExport` for any other conversation."""
    system = messages[0]["content"] if messages[0]["role"] == "system" else ""
    turns = list(messages[1:] if system else messages)
    if [turn["role"] for turn in turns] != ["user", "assistant"] * (len(turns) // 2):
        raise CannotExport(
            f"{format_!r} has only questions and answers in turns, unlike the conversation on "
            f"{turns[-1]['content'][:60]!r}.",
            hint="Export messages or JSON lines.",
        )
    return system, [(ask["content"], say["content"]) for ask, say in zip(turns[::2], turns[1::2], strict=True)]
