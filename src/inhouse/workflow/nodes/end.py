"""Give values back to the caller."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from inhouse.workflow.context import Context
from inhouse.workflow.node import Node, Outputs, node
from inhouse.workflow.templates import Place, Template
from inhouse.workflow.variables import MISSING, Selector


class Output(BaseModel):
    """A name for the caller, and where its value comes from."""

    model_config = ConfigDict(frozen=True)

    variable: str = Field(min_length=1)
    value_selector: Selector


class Ended(Outputs):
    """Each output under its name."""

    model_config = ConfigDict(frozen=True, extra="allow")


@node("end")
class End(Node):
    """Give values back to the caller; a value that is missing is null."""

    outputs: tuple[Output, ...] = ()

    def reads(self) -> Iterable[tuple[str, ...]]:
        return (output.value_selector for output in self.outputs)

    def response(self) -> Template:
        places = [Place(output.value_selector, fallback="") for output in self.outputs]
        return Template(tuple(segment for place in places for segment in ("\n", place))[1:])

    async def run(self, context: Context) -> Ended:
        found = {output.variable: context.variables.find(output.value_selector) for output in self.outputs}
        return Ended(**{name: None if value is MISSING else value for name, value in found.items()})
