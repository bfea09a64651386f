"""The scheduler against a model of it that fits on a page: random graphs with branches."""

import asyncio
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from inhouse.core.principal import Principal
from inhouse.testing.services import ScriptedChatModel, fixed_services
from inhouse.workflow.context import RunInputs
from inhouse.workflow.engine import Engine
from inhouse.workflow.events import Event, NodeFinished, NodeStarted, RunFinished, TextChunk
from inhouse.workflow.graph import compile_graph


@dataclass(frozen=True)
class Plan:
    """Kinds by number, and edges `(source, handle, target)` that only go up."""

    kinds: list[str]
    edges: list[tuple[int, str, int]]

    def document(self) -> dict[str, Any]:
        return {
            "nodes": [{"id": f"n{n}", "data": self._data(n, kind)} for n, kind in enumerate(self.kinds)],
            "edges": [{"source": f"n{s}", "sourceHandle": h, "target": f"n{t}"} for s, h, t in self.edges],
        }

    def _data(self, number: int, kind: str) -> dict[str, Any]:
        match kind:
            case "template":
                return {"type": "template-transform", "template": "x"}
            case "llm":
                return {"type": "llm", "model": {"name": "m"}, "prompt_template": [{"text": "q"}]}
            case "answer":
                heard = [f"{{{{#n{s}.text#}}}}" for s, _, t in self.edges if t == number and self.kinds[s] == "llm"]
                return {"type": "answer", "answer": f"<{number}|{''.join(heard)}>"}
            case "yes" | "no":
                test = {
                    "variable_selector": ["sys", "query"],
                    "comparison_operator": "empty" if kind == "yes" else "not empty",
                }
                return {"type": "if-else", "cases": [{"case_id": "true", "conditions": [test]}]}
        return {"type": "start"}

    def run(self) -> set[int]:
        """The nodes that run: those with an edge taken by a node that ran."""
        ran = {0}
        for number in range(1, len(self.kinds)):
            if any(source in ran and self._takes(source, handle) for source, handle, t in self.edges if t == number):
                ran.add(number)
        return ran

    def _takes(self, source: int, handle: str) -> bool:
        return handle == {"yes": "true", "no": "false"}.get(self.kinds[source], "source")


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    inner = draw(st.lists(st.sampled_from(["template", "llm", "answer", "yes", "no"]), max_size=14))
    kinds = ["start", *inner, "answer"]
    edges: set[tuple[int, str, int]] = set()
    for target in range(1, len(kinds)):
        for source in draw(st.sets(st.integers(0, target - 1), min_size=1, max_size=4)):
            handles = ["true", "false"] if kinds[source] in ("yes", "no") else ["source"]
            edges.add((source, draw(st.sampled_from(handles)), target))
    return Plan(kinds, sorted(edges))


async def events_of(plan: Plan) -> list[Event]:
    engine = Engine(fixed_services(chat=ScriptedChatModel(("a", "b"))))
    run = engine.run(compile_graph(plan.document()), RunInputs(""), Principal.system())
    return [event async for event in run]


@settings(max_examples=200, deadline=None)
@given(plans())
def test_exactly_the_nodes_that_a_taken_edge_reaches_run_after_all_before_them(plan: Plan) -> None:
    events = asyncio.run(events_of(plan))

    expected = plan.run()
    started = {event.node_id: at for at, event in enumerate(events) if isinstance(event, NodeStarted)}
    done = {event.node_id: at for at, event in enumerate(events) if isinstance(event, NodeFinished)}
    assert set(started) == set(done) == {f"n{n}" for n in expected}
    for source, _, target in plan.edges:
        if source in expected and target in expected:
            assert done[f"n{source}"] < started[f"n{target}"]


@settings(max_examples=200, deadline=None)
@given(plans())
def test_every_answer_that_runs_is_shown_once_and_whole(plan: Plan) -> None:
    events = asyncio.run(events_of(plan))

    speakers = list(dict.fromkeys(event.node_id for event in events if isinstance(event, TextChunk)))
    answers = {
        event.node_id: str(event.outputs["answer"])
        for event in events
        if isinstance(event, NodeFinished) and event.node_type == "answer"
    }
    assert isinstance(events[-1], RunFinished)
    assert set(speakers) == set(answers)
    assert events[-1].outputs["answer"] == "".join(answers[id] for id in speakers)
    assert events[-1].outputs["answer"] == "".join(event.text for event in events if isinstance(event, TextChunk))
