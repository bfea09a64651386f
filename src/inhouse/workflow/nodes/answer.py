"""Say something to the user."""

from collections.abc import Iterable

from inhouse.workflow.context import Context
from inhouse.workflow.node import Node, Outputs, node
from inhouse.workflow.templates import Template, template


class Said(Outputs):
    """The text, as Markdown."""

    answer: str


@node("answer")
class Answer(Node):
    """Say something to the user: text with places for earlier values, streamed as they arrive."""

    answer: str

    def reads(self) -> Iterable[tuple[str, ...]]:
        return template(self.answer).selectors

    def response(self) -> Template:
        return template(self.answer)

    async def run(self, context: Context) -> Said:
        return Said(answer=context.render(template(self.answer)))
