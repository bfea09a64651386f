"""Go on by the first case that holds."""

from collections.abc import Iterable

from pydantic import Field, model_validator

from inhouse.workflow.conditions import Case
from inhouse.workflow.context import Context
from inhouse.workflow.node import Node, Outputs, node

ELSE = "false"


class Chosen(Outputs):
    """Which case held; `false` when none did."""

    result: bool
    selected_case_id: str

    def handle(self) -> str:
        return self.selected_case_id


@node("if-else")
class IfElse(Node):
    """Go on by the first case that holds, or else by `false`."""

    cases: tuple[Case, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _one_legacy_case(cls, data: object) -> object:
        """Old graphs hold one list of conditions and no cases."""
        if isinstance(data, dict) and "cases" not in data and "conditions" in data:
            operator = data.get("logical_operator") or "and"
            case = {"case_id": "true", "logical_operator": operator, "conditions": data["conditions"]}
            return {**data, "cases": [case]}
        return data

    def handles(self) -> tuple[str, ...]:
        return (*(case.case_id for case in self.cases), ELSE)

    def reads(self) -> Iterable[tuple[str, ...]]:
        for case in self.cases:
            yield from case.reads()

    async def run(self, context: Context) -> Chosen:
        chosen = next((case.case_id for case in self.cases if case.holds(context)), ELSE)
        return Chosen(result=chosen != ELSE, selected_case_id=chosen)
