"""Find passages in knowledge bases."""

import asyncio
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from inhouse.core.errors import Invalid
from inhouse.workflow.context import Context, Found, Passage
from inhouse.workflow.node import Node, Outputs, node
from inhouse.workflow.variables import Selector, as_text


class NotAThreshold(Invalid):
    """What an earlier step gave as the threshold is not a number from 0 to 1."""


class Retrieval(BaseModel):
    """How much to bring back."""

    model_config = ConfigDict(frozen=True)

    top_k: int = Field(default=4, ge=1, le=50)
    score_threshold: float | None = None


class Retrieved(Outputs):
    """The passages; `coverage` says how much of the question the best one carries."""

    result: list[dict[str, Any]]
    coverage: float
    answerable: bool


@node("knowledge-retrieval")
class KnowledgeRetrieval(Node):
    """Find passages in knowledge bases, and say whether they can carry an answer.

    Coverage is measured on the search query. When that was enriched and the words of the user alone shall decide
    whether there is an answer, name them in `coverage_query_variable_selector`. An earlier step may set the threshold,
    for example by how sure a classifier is.
    """

    query_variable_selector: Selector = ("sys", "query")
    dataset_ids: tuple[str, ...] = Field(min_length=1)
    multiple_retrieval_config: Retrieval = Retrieval()
    coverage_query_variable_selector: Selector | None = None
    coverage_threshold: float | None = Field(default=None, ge=0, le=1)
    coverage_threshold_variable_selector: Selector | None = None

    def reads(self) -> Iterable[tuple[str, ...]]:
        yield self.query_variable_selector
        if self.coverage_query_variable_selector:
            yield self.coverage_query_variable_selector
        if self.coverage_threshold_variable_selector:
            yield self.coverage_threshold_variable_selector

    async def run(self, context: Context) -> Retrieved:
        query = as_text(context.read(self.query_variable_selector)).strip()
        judged = as_text(context.read(self.coverage_query_variable_selector or self.query_variable_selector)).strip()
        if not query:
            return Retrieved(result=[], coverage=0.0, answerable=False)
        wanted = self.multiple_retrieval_config
        if judged == query:
            found = judgement = await self._search(context, query, wanted.top_k)
        else:
            found, judgement = await asyncio.gather(
                self._search(context, query, wanted.top_k), self._search(context, judged, 1)
            )
        floor = wanted.score_threshold
        passages = [passage for passage in found.passages if floor is None or passage.score >= floor]
        return Retrieved(
            result=[_result(passage, position) for position, passage in enumerate(passages, start=1)],
            coverage=judgement.coverage,
            answerable=bool(passages) and self._is_answerable(judgement, self._threshold(context)),
        )

    async def _search(self, context: Context, query: str, top_k: int) -> Found:
        return await context.services.retriever.search(context.principal, query, self.dataset_ids, top_k)

    def _threshold(self, context: Context) -> float | None:
        if self.coverage_threshold_variable_selector is None:
            return self.coverage_threshold
        value = context.read(self.coverage_threshold_variable_selector)
        try:
            threshold = float(as_text(value))
        except ValueError:
            threshold = -1.0
        if not 0 <= threshold <= 1:
            raise NotAThreshold(f"{value!r} is not a coverage threshold.", hint="It is a number from 0 to 1.")
        return threshold

    def _is_answerable(self, found: Found, threshold: float | None) -> bool:
        return found.answerable if threshold is None else found.coverage >= threshold


def _result(passage: Passage, position: int) -> dict[str, Any]:
    """A passage in the shape that Dify's nodes pass on, plus the page it stands on."""
    return {
        "title": passage.title or passage.document,
        "content": passage.text,
        "metadata": {
            "_source": "knowledge",
            "position": position,
            "document_id": passage.document_id,
            "document_name": passage.document,
            "segment_id": passage.chunk_id,
            "page": passage.page,
            "heading": list(passage.heading),
            "score": passage.score,
            "retriever_from": "workflow",
        },
    }
