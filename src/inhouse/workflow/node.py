"""What a workflow node is, and how one is made known."""

import importlib.resources
import sys
import tomllib
from abc import abstractmethod
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, ClassVar, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict

from inhouse.core.registry import Registry
from inhouse.workflow.context import Context
from inhouse.workflow.templates import Template

SOURCE = "source"
"""The exit of a node that doesn't choose."""
LANGUAGES = ("en", "zh")


class Outputs(BaseModel):
    """What a node puts out: each field becomes a variable."""

    model_config = ConfigDict(frozen=True)

    def handle(self) -> str:
        """The exit that the run takes."""
        return SOURCE


class Node(BaseModel):
    """A step's work: its fields are its settings, `run` does it.

    Retries, timeouts, tracing and error branches belong to the engine. Unknown settings are let through, because
    files from other tools carry many; the stored graph keeps them.
    """

    model_config = ConfigDict(frozen=True)

    type: ClassVar[str]

    def handles(self) -> tuple[str, ...]:
        """The exits that edges may leave by. More than one: the node chooses."""
        return (SOURCE,)

    def reads(self) -> Iterable[tuple[str, ...]]:
        """The selectors of all values that the node looks at."""
        return ()

    def response(self) -> Template | None:
        """The text that the node gives to the reader, streamed as its values arrive."""
        return None

    @abstractmethod
    async def run(self, context: Context) -> Outputs:
        """Do the work; everything outside the node is reached through the context."""


nodes: Registry[type[Node]] = Registry("node", package="inhouse.workflow.nodes")

NodeClass = TypeVar("NodeClass", bound=type[Node])


def node(type: str) -> Callable[[NodeClass], NodeClass]:
    """Make a node class known under the name that graphs call it by."""

    def add(cls: NodeClass) -> NodeClass:
        cls.type = type
        nodes.add(type, cls)
        return cls

    return add


def describe(cls: type[Node]) -> dict[str, Any]:
    """What the console needs to draw a node and its form, in every language."""
    outputs: type[Outputs] = get_type_hints(cls.run)["return"]
    return {
        "type": cls.type,
        "texts": {language: _texts(cls.__module__, language)[cls.type] for language in LANGUAGES},
        "settings": cls.model_json_schema(),
        "outputs": outputs.model_json_schema(),
    }


@cache
def _texts(module: str, language: str) -> dict[str, Any]:
    package = sys.modules[module].__package__ or module
    path = importlib.resources.files(package) / "locale" / f"{language}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))
