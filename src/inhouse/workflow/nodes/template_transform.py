"""Make a text from earlier values with a Jinja2 template."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field, field_validator

from inhouse.workflow.context import Context
from inhouse.workflow.jinja import compile_jinja, render_jinja
from inhouse.workflow.node import Node, Outputs, node
from inhouse.workflow.variables import MISSING, Selector


class Value(BaseModel):
    """A name that the template knows, and where its value comes from."""

    model_config = ConfigDict(frozen=True)

    variable: str = Field(min_length=1, max_length=100)
    value_selector: Selector


class Transformed(Outputs):
    """The finished text."""

    output: str


@node("template-transform")
class TemplateTransform(Node):
    """Make a text from earlier values with a Jinja2 template."""

    template: str
    variables: tuple[Value, ...] = ()

    @field_validator("template")
    @classmethod
    def _readable(cls, source: str) -> str:
        compile_jinja(source)
        return source

    def reads(self) -> Iterable[tuple[str, ...]]:
        return (value.value_selector for value in self.variables)

    async def run(self, context: Context) -> Transformed:
        found = {value.variable: context.variables.find(value.value_selector) for value in self.variables}
        values = {name: None if value is MISSING else value for name, value in found.items()}
        return Transformed(output=render_jinja(self.template, values))
