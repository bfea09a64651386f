"""Begin a run with what the user gave."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from inhouse.core.errors import Invalid
from inhouse.workflow.context import Context
from inhouse.workflow.node import Node, Outputs, node


class InputInvalid(Invalid):
    """An input of the run is missing or not of the right kind."""


class Variable(BaseModel):
    """One input that the app asks its user for."""

    model_config = ConfigDict(frozen=True)

    variable: str = Field(min_length=1, max_length=50)
    label: str = ""
    type: str = "text-input"
    required: bool = False
    default: Any = None
    max_length: int | None = None
    options: tuple[str, ...] = ()

    def accept(self, given: Any) -> Any:
        """The value that the run gets for what was given."""
        value = self.default if given is None or given == "" else given
        if value is None or value == "":
            if self.required:
                raise InputInvalid(f"The input {self.variable!r} is missing.", hint="Give it a value.")
            return value
        if self.type == "number":
            return self._number(value)
        if self.type in ("text-input", "paragraph", "select"):
            return self._text(value)
        return value

    def _number(self, value: Any) -> int | float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return value
        try:
            return int(value) if str(value).strip().lstrip("+-").isdigit() else float(value)
        except (TypeError, ValueError) as error:
            raise InputInvalid(f"The input {self.variable!r} must be a number, not {value!r}.") from error

    def _text(self, value: Any) -> str:
        if not isinstance(value, str):
            raise InputInvalid(f"The input {self.variable!r} must be text, not {value!r}.")
        if self.max_length and len(value) > self.max_length:
            raise InputInvalid(
                f"The input {self.variable!r} has {len(value)} characters.", hint=f"{self.max_length} is the most."
            )
        if self.type == "select" and value not in self.options:
            raise InputInvalid(
                f"The input {self.variable!r} cannot be {value!r}.", hint="Choose from: " + ", ".join(self.options)
            )
        return value


class Started(Outputs):
    """Each input under its name, and what the system knows as `sys.query`, `sys.user_id`, …"""

    model_config = ConfigDict(frozen=True, extra="allow")


@node("start")
class Start(Node):
    """Begin a run with what the user gave."""

    variables: tuple[Variable, ...] = ()

    async def run(self, context: Context) -> Started:
        given = context.inputs.inputs
        system = context.read(("sys",))
        assert isinstance(system, Mapping)
        return Started(
            **{variable.variable: variable.accept(given.get(variable.variable)) for variable in self.variables},
            **{f"sys.{name}": value for name, value in system.items()},
        )
