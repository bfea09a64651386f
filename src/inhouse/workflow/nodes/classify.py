"""Ask a served classifier what a text is about."""

from collections.abc import Iterable

from pydantic import Field

from inhouse.workflow.context import Context
from inhouse.workflow.node import SOURCE, Node, Outputs, node
from inhouse.workflow.variables import Selector, as_text

ELSE = "else"


class Classified(Outputs):
    """The best label, and whether the model is sure enough to claim it knows."""

    label: str
    score: float
    scores: dict[str, float]
    known: bool
    model: str
    version: int
    way: str

    def handle(self) -> str:
        return self.way


@node("classify")
class Classify(Node):
    """Ask a served classifier what a text is about. Each of `labels` is an exit, and `else` takes the rest."""

    model: str = Field(min_length=1)
    query_variable_selector: Selector = ("sys", "query")
    labels: tuple[str, ...] = ()

    def handles(self) -> tuple[str, ...]:
        return (*self.labels, ELSE) if self.labels else (SOURCE,)

    def reads(self) -> Iterable[tuple[str, ...]]:
        return (self.query_variable_selector,)

    async def run(self, context: Context) -> Classified:
        text = as_text(context.read(self.query_variable_selector))
        predictor = context.services.predictor
        version = predictor.choose(context.principal, self.model, context.traffic_key)
        context.note_model(self.model, version)  # first: a version that fails must be known to the guards
        [best] = await predictor.predict(context.principal, self.model, [text], version=version)
        return Classified(
            label=best.label,
            score=best.score,
            scores=dict(best.scores),
            known=best.known,
            model=best.model,
            version=best.version,
            way=self._way(best.label, best.known),
        )

    def _way(self, label: str, known: bool) -> str:
        if not self.labels:
            return SOURCE
        return label if known and label in self.labels else ELSE
