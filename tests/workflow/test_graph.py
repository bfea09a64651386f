from collections.abc import Iterator
from typing import Any

import pytest

from inhouse.workflow.document import DocumentTooLarge, DocumentUnreadable, read_document
from inhouse.workflow.graph import GraphInvalid, GraphTooLarge, compile_graph


def graph(nodes: dict[str, dict[str, Any]], *edges: str) -> dict[str, Any]:
    """`graph({"a": {...}}, "a-b", "a:handle-b")`."""
    parts = [edge.split("-", 1) for edge in edges]
    return {
        "nodes": [{"id": id, "data": data} for id, data in nodes.items()],
        "edges": [
            {"source": left.partition(":")[0], "sourceHandle": left.partition(":")[2] or None, "target": right}
            for left, right in parts
        ],
    }


START = {"type": "start"}
ANSWER = {"type": "answer", "answer": "ok"}
BRANCH = {
    "type": "if-else",
    "cases": [
        {"case_id": "yes", "conditions": [{"variable_selector": ["sys", "query"], "comparison_operator": "empty"}]}
    ],
}


def problems(document: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(GraphInvalid) as caught:
        compile_graph(document)
    return [(problem["node"], problem["message"]) for problem in caught.value.details["problems"]]


def cases() -> Iterator[Any]:
    yield pytest.param(graph({"s": START, "x": {"type": "teleport"}}, "s-x"), "x", "Known: answer, classify", id="type")
    yield pytest.param(graph({"s": START, "a": ANSWER}, "s-a", "s-b"), "s", "'b', which is not in the graph", id="edge")
    yield pytest.param(graph({"s": START, "a": ANSWER, "b": ANSWER}, "s-a"), "b", "cannot be reached", id="unreachable")
    yield pytest.param(graph({"s": START, "a": ANSWER}, "s-a", "a-a"), "a", "in a circle", id="self-loop")
    yield pytest.param(
        graph({"s": START, "a": ANSWER, "b": ANSWER}, "s-a", "a-b", "b-a"), "a", "circle: a, b", id="circle"
    )
    yield pytest.param(graph({"s": START, "a": ANSWER}, "s-a", "a-s"), "s", "back to the start", id="back")
    yield pytest.param(graph({"a": ANSWER}), "", "one start node; this one has 0", id="no start")
    yield pytest.param(graph({"s": START}), "", "nothing would come out", id="silent")
    yield pytest.param(graph({"s": START, "sys": ANSWER}, "s-sys"), "sys", "reserved", id="reserved")
    yield pytest.param(
        graph({"s": START, "b": BRANCH, "a": ANSWER}, "s-b", "b:no-a"), "b", "exits are 'yes', 'false'", id="handle"
    )
    yield pytest.param(
        graph({"s": START, "a": {"type": "answer", "answer": "{{#ghost.text#}}"}}, "s-a"),
        "a",
        "'ghost'",
        id="reference",
    )
    yield pytest.param(
        graph({"s": START, "a": {"type": "answer"}}, "s-a"), "a", "`answer`: Field required", id="setting"
    )
    yield pytest.param(
        graph({"s": START, "t": {"type": "template-transform", "template": "{% if"}}, "s-t"), "t", "line 1", id="jinja"
    )
    yield pytest.param(
        graph({"s": START, "b": {**BRANCH, "error_strategy": "default-value"}, "a": ANSWER}, "s-b", "b:yes-a"),
        "b",
        "none says where to go",
        id="defaults",
    )
    yield pytest.param({"nodes": [], "edges": []}, "", "needs a list of `nodes`", id="empty")
    yield pytest.param({"nodes": ["x"], "edges": []}, "", "needs an `id`", id="no object")


@pytest.mark.parametrize(("document", "node", "message"), list(cases()))
def test_a_faulty_graph_names_the_node_and_the_fault(document: dict[str, Any], node: str, message: str) -> None:
    assert any(at == node and message in text for at, text in problems(document))


def test_all_problems_are_told_at_once() -> None:
    document = graph({"s": START, "x": {"type": "x"}, "y": {"type": "y"}}, "s-x", "s-y")

    assert [node for node, _ in problems(document)] == ["x", "y"]


def test_the_same_id_twice_is_refused() -> None:
    document = graph({"s": START, "a": ANSWER}, "s-a")
    document["nodes"].append(document["nodes"][1])

    assert problems(document) == [("a", "The id 'a' is taken.")]


def test_notes_and_unknown_settings_do_no_harm() -> None:
    document = graph({"s": {**START, "selected": True, "future": 1}, "a": ANSWER}, "s-a")
    document["nodes"].append({"id": "note", "type": "custom-note", "data": {"type": "", "text": "hi"}})

    assert [step.id for step in compile_graph(document).steps] == ["s", "a"]


def test_a_graph_that_is_too_large_is_refused_before_it_is_read() -> None:
    with pytest.raises(GraphTooLarge):
        compile_graph({"nodes": [{"id": str(n)} for n in range(100_000)], "edges": []})


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text", [BOMB, "a: &a [*a]", "x: " + "[" * 90 + "]" * 90, "[" * 100_000, "- " * 100_000, " " * 3_000_000]
)
def test_documents_that_explode_are_refused(text: str) -> None:
    with pytest.raises(DocumentTooLarge):
        read_document(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "just text",
        "- a\n- b",
        "{",
        "\0",
        "a: !!python/object/apply:os.system [id]",
        "x: 1e999",
        "a: !!binary aGk=",
        "a: !!bool x",
    ],
)
def test_what_is_not_a_graph_is_refused(text: str) -> None:
    with pytest.raises(DocumentUnreadable):
        read_document(text)


@pytest.mark.parametrize("text", ["2024-01-31", "1:30", "1" + ":59" * 100_000, "007", "yes", "0x1f", ".nan", "<<"])
def test_what_json_has_no_value_for_stays_text(text: str) -> None:
    assert read_document(f"value: {text}") == {"value": text}


@pytest.mark.parametrize(
    ("text", "value"), [("12", 12), ("-3", -3), ("1.5", 1.5), ("1e5", 1e5), ("true", True), ("null", None), ("", None)]
)
def test_what_json_has_is_that(text: str, value: object) -> None:
    assert read_document(f"value: {text}") == {"value": value}
