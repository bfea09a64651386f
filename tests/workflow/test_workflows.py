from collections.abc import Iterator

import pytest

from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.testing.services import fixed_services
from inhouse.workflow.context import RunInputs
from inhouse.workflow.engine import Engine
from inhouse.workflow.events import RunFinished
from inhouse.workflow.graph import GraphInvalid
from inhouse.workflow.traces import TraceNotFound, Traces, capped
from inhouse.workflow.workflows import NameInvalid, WorkflowExists, WorkflowNotFound, Workflows


def graph(answer: str) -> str:
    return f"""
nodes:
  - {{id: start, data: {{type: start}}}}
  - {{id: answer, data: {{type: answer, answer: "{answer}"}}}}
edges: [{{source: start, target: answer}}]
"""


@pytest.fixture
def traces(db: Database) -> Iterator[Traces]:
    traces = Traces(db)
    traces.start()
    yield traces
    traces.close()


@pytest.fixture
def workflows(db: Database, traces: Traces) -> Workflows:
    return Workflows(db, Engine(fixed_services()), traces)


async def ask(workflows: Workflows, principal: Principal, *, version: int | None = None) -> RunFinished:
    events = [event async for event in workflows.run(principal, "desk", RunInputs("q\0"), version=version, app="web")]
    assert isinstance(events[-1], RunFinished)
    return events[-1]


async def test_a_save_is_live_in_the_next_run(workflows: Workflows, principal: Principal) -> None:
    workflows.create(principal, "desk", graph("one"))
    first = await ask(workflows, principal)

    workflows.save(principal, "desk", graph("two"), note="say two")
    second = await ask(workflows, principal)

    assert [first.outputs["answer"], second.outputs["answer"]] == ["one", "two"]
    assert [first.trace.workflow_version, second.trace.workflow_version] == [1, 2]
    assert (await ask(workflows, principal, version=1)).outputs["answer"] == "one"
    assert [(version.number, version.note) for version in workflows.versions(principal, "desk")] == [
        (2, "say two"),
        (1, ""),
    ]


async def test_another_server_process_finds_what_was_saved(
    workflows: Workflows, principal: Principal, db: Database, traces: Traces
) -> None:
    workflows.create(principal, "desk", graph("one"))

    other = Workflows(db, Engine(fixed_services()), traces)

    assert (await ask(other, principal)).outputs["answer"] == "one"


def test_an_unchanged_graph_keeps_its_version(workflows: Workflows, principal: Principal) -> None:
    workflows.create(principal, "desk", graph("one"))

    assert workflows.save(principal, "desk", graph("one") + "\n").number == 1


def test_a_faulty_graph_is_not_saved(workflows: Workflows, principal: Principal) -> None:
    workflows.create(principal, "desk", graph("one"))

    with pytest.raises(GraphInvalid):
        workflows.save(principal, "desk", graph("{{#ghost.x#}}"))

    assert workflows.get(principal, "desk").number == 1


def test_names_are_unique_and_plain(workflows: Workflows, principal: Principal) -> None:
    workflows.create(principal, "desk", graph("one"))

    with pytest.raises(WorkflowExists):
        workflows.create(principal, "desk", graph("two"))
    with pytest.raises(NameInvalid):
        workflows.create(principal, "../desk", graph("two"))


async def test_other_workspaces_see_nothing(
    workflows: Workflows, traces: Traces, principal: Principal, stranger: Principal
) -> None:
    workflows.create(principal, "desk", graph("one"))
    run = await ask(workflows, principal)

    with pytest.raises(WorkflowNotFound):
        await ask(workflows, stranger)
    with pytest.raises(TraceNotFound):
        traces.get(stranger, run.trace.id)
    assert (list(workflows.list(stranger)), list(traces.list(stranger))) == ([], [])


async def test_a_trace_tells_every_step(workflows: Workflows, traces: Traces, principal: Principal) -> None:
    workflows.create(principal, "desk", graph("you said {{#sys.query#}}"))
    run = await ask(workflows, principal)

    trace = traces.get(principal, run.trace.id)

    assert (trace.workflow, trace.workflow_version, trace.app, trace.status) == ("desk", 1, "web", "succeeded")
    assert [(span["name"], span["status"]) for span in trace.spans] == [("start", "succeeded"), ("answer", "succeeded")]
    assert trace.spans[1]["input"] == {"sys.query": "q\ufffd"}
    assert trace.output == {"answer": "you said q\ufffd"}


async def test_a_run_that_is_left_keeps_its_trace(workflows: Workflows, traces: Traces, principal: Principal) -> None:
    workflows.create(principal, "desk", graph("one"))

    run = workflows.run(principal, "desk", RunInputs("q"))
    await anext(run)
    await run.aclose()
    traces.close()

    assert [trace.status for trace in traces.list(principal)] == ["stopped"]


async def test_traces_are_listed_page_by_page(workflows: Workflows, traces: Traces, principal: Principal) -> None:
    workflows.create(principal, "desk", graph("one"))
    ids = [(await ask(workflows, principal)).trace.id for _ in range(3)]
    traces.close()

    page = traces.list(principal, limit=2, app="web")
    rest = traces.list(principal, before=page[-1].id, status="succeeded")

    assert {trace.id for trace in [*page, *rest]} == set(ids)
    assert traces.list(principal, app="other") == []


def test_large_values_are_cut() -> None:
    cut = capped({"text": "x" * 100_000, "list": list(range(1000)), "deep": [[[[[[[[1]]]]]]]], "odd": float("nan")})

    assert cut["text"].endswith("… (92000 more characters)")
    assert cut["list"][-1] == "… (950 more)"
    assert cut["deep"] == [[[[["…"]]]]]
    assert cut["odd"] == "nan"
