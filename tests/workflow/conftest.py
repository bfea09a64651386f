"""Short ways to build and play graphs."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from inhouse.core.principal import Principal
from inhouse.testing.services import fixed_services
from inhouse.workflow.context import RunInputs, Services
from inhouse.workflow.document import read_document
from inhouse.workflow.engine import Engine
from inhouse.workflow.events import Event
from inhouse.workflow.graph import Compiled, compile_graph

GRAPHS = Path(__file__).parent / "graphs"
Play = Callable[..., Awaitable[list[Event]]]


@pytest.fixture
def play(principal: Principal) -> Play:
    """Run a graph (a file's name, YAML or a compiled one) to its end and return its events."""

    async def run(
        graph: str | Compiled,
        query: str = "",
        *,
        services: Services | None = None,
        inputs: Mapping[str, Any] | None = None,
        history: list[dict[str, str]] | None = None,
        run_timeout_s: float = 10,
    ) -> list[Event]:
        if isinstance(graph, str):
            graph = compiled(graph)
        engine = Engine(services or fixed_services(), run_timeout_s=run_timeout_s)
        given = RunInputs(query, inputs or {}, user_id="ann", history=history or [])
        async with aclosing(engine.run(graph, given, principal)) as events:
            return [event async for event in events]

    return run


def compiled(graph: str) -> Compiled:
    text = (GRAPHS / f"{graph}.yml").read_text("utf-8") if "\n" not in graph else graph
    return compile_graph(read_document(text))
