"""A stored graph, checked and compiled once into a plan that runs share and nobody changes."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from inhouse.core.errors import InhouseError, Invalid, TooLarge
from inhouse.workflow.node import SOURCE, Node, nodes
from inhouse.workflow.templates import Template

MAX_NODES = 2_000
MAX_EDGES = 10_000
FAIL_BRANCH = "fail-branch"
SYSTEM = "sys"
_SUCCESS_BRANCH = "success-branch"


class GraphInvalid(Invalid):
    """The graph cannot run; `problems` in the details say where and why."""


class GraphTooLarge(TooLarge):
    """The graph has more nodes or edges than are allowed."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at one node."""

    node: str
    message: str


@dataclass(frozen=True, slots=True)
class Edge:
    """The way from a step's exit to the next step."""

    source: int
    handle: str
    target: int


class Retry(BaseModel):
    """How often a failed step is tried again."""

    model_config = ConfigDict(frozen=True)

    retry_enabled: bool = False
    max_retries: int = Field(default=0, ge=0, le=10)
    retry_interval: int = Field(default=1000, ge=0, le=60_000)
    """Milliseconds."""


class DefaultValue(BaseModel):
    """An output that stands in for the one of a failed step."""

    model_config = ConfigDict(frozen=True)

    key: str
    type: str = "string"
    value: Any = None

    def parsed(self) -> Any:
        """The value; what is not a string may be written as JSON text."""
        if self.type == "string" or not isinstance(self.value, str):
            return self.value
        return json.loads(self.value)

    @model_validator(mode="after")
    def _readable(self) -> Self:
        try:
            self.parsed()
        except ValueError as error:
            raise ValueError(f"the default of {self.key!r} is not JSON") from error
        return self


class Care(BaseModel):
    """What the engine does for a step, whatever its node is."""

    model_config = ConfigDict(frozen=True)

    title: str = ""
    retry_config: Retry = Retry()
    error_strategy: Literal["fail-branch", "default-value"] | None = None
    default_value: tuple[DefaultValue, ...] = ()
    timeout_s: float | None = Field(default=None, gt=0, le=3600)

    @property
    def retries(self) -> int:
        return self.retry_config.max_retries if self.retry_config.retry_enabled else 0


@dataclass(frozen=True, slots=True)
class Step:
    """A node in its place in the graph."""

    index: int
    id: str
    node: Node
    care: Care
    reads: tuple[tuple[str, ...], ...]
    response: Template | None
    edges: tuple[Edge, ...]
    incoming: int
    blocks: bool
    """Steps behind it are not certain to be reached, or must wait with their text, until it is done."""

    @property
    def title(self) -> str:
        return self.care.title or self.id


@dataclass(frozen=True, slots=True)
class Compiled:
    """A graph that is ready to run."""

    steps: tuple[Step, ...]
    start: int
    spoken: frozenset[tuple[str, ...]]
    """The selectors that responses show: only these are worth streaming."""


def compile_graph(document: Mapping[str, Any]) -> Compiled:
    """Check a graph and make its plan, in time proportional to its size. All problems are told at once."""
    problems: list[Problem] = []
    parts = _Parts(document, problems)
    if not problems:
        problems.extend(parts.check())
    if problems:
        first = problems[0]
        where = f"At node {first.node!r}: " if first.node else ""
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise GraphInvalid(
            f"The graph cannot run. {where}{first.message}{more}",
            hint="Put right what `details.problems` lists.",
            problems=[{"node": problem.node, "message": problem.message} for problem in problems],
        )
    return parts.compiled()


class _Parts:
    """The pieces of a graph while it is checked."""

    def __init__(self, document: Mapping[str, Any], problems: list[Problem]) -> None:
        self.nodes: dict[str, Node] = {}
        self.care: dict[str, Care] = {}
        self.edges: list[tuple[str, str, str]] = []
        node_items, edge_items = document.get("nodes"), document.get("edges", [])
        if not isinstance(node_items, list) or not isinstance(edge_items, list) or not node_items:
            problems.append(Problem("", "A graph needs a list of `nodes` and a list of `edges`."))
            return
        if len(node_items) > MAX_NODES or len(edge_items) > MAX_EDGES:
            raise GraphTooLarge(
                f"The graph has {len(node_items)} nodes and {len(edge_items)} edges.",
                hint=f"At most {MAX_NODES} nodes and {MAX_EDGES} edges.",
            )
        for item in node_items:
            problems.extend(self._add_node(item))
        for item in edge_items:
            problems.extend(self._add_edge(item))

    def _add_node(self, item: Any) -> Iterator[Problem]:
        data = item.get("data") if isinstance(item, Mapping) else None
        id = item.get("id") if isinstance(item, Mapping) else None
        if not isinstance(id, str) or not 0 < len(id) <= 100 or not isinstance(data, Mapping):
            yield Problem(str(id or ""), "A node needs an `id` (text) and `data` (an object).")
            return
        if item.get("type") == "custom-note":  # a sticky note on the canvas
            return
        if id in self.nodes or id == SYSTEM:
            yield Problem(id, f"The id {id!r} is taken." if id in self.nodes else f"The id {id!r} is reserved.")
            return
        kind = data.get("type")
        if not isinstance(kind, str) or kind not in nodes:
            yield Problem(id, f"There is no node type {kind!r}. Known: {', '.join(nodes)}.")
            return
        try:
            self.nodes[id] = nodes[kind].model_validate(data)
            self.care[id] = Care.model_validate(data)
        except ValidationError as error:
            for found in error.errors(include_url=False, include_context=False):
                place = ".".join(str(part) for part in found["loc"])
                yield Problem(id, f"`{place}`: {found['msg']}." if place else f"{found['msg']}.")
        except InhouseError as error:
            yield Problem(id, error.message)

    def _add_edge(self, item: Any) -> Iterator[Problem]:
        source, target = (item.get("source"), item.get("target")) if isinstance(item, Mapping) else (None, None)
        if not isinstance(source, str) or not isinstance(target, str):
            yield Problem(str(source or target or ""), "An edge needs a `source` and a `target`.")
            return
        handle = item.get("sourceHandle") or SOURCE
        self.edges.append((source, SOURCE if handle == _SUCCESS_BRANCH else str(handle), target))

    def handles(self, id: str) -> tuple[str, ...]:
        extra = (FAIL_BRANCH,) if self.care[id].error_strategy == FAIL_BRANCH else ()
        return (*self.nodes[id].handles(), *extra)

    def check(self) -> Iterator[Problem]:
        dangling = [edge for edge in self.edges if edge[0] not in self.nodes or edge[2] not in self.nodes]
        for source, _, target in dangling:
            missing, other = (source, target) if source not in self.nodes else (target, source)
            yield Problem(other, f"An edge joins it to {missing!r}, which is not in the graph.")
        self.edges = [edge for edge in dict.fromkeys(self.edges) if edge not in set(dangling)]
        yield from self._check_handles()
        yield from self._check_reads()
        yield from self._check_shape()

    def _check_handles(self) -> Iterator[Problem]:
        for id in self.nodes:
            for handle, count in Counter(self.handles(id)).items():
                if count > 1:
                    yield Problem(id, f"Two of its exits are called {handle!r}.")
            if len(self.nodes[id].handles()) > 1 and self.care[id].error_strategy == "default-value":
                yield Problem(id, "A node that chooses an exit cannot have default values: none says where to go.")
        for source, handle, target in self.edges:
            if handle not in self.handles(source):
                exits = ", ".join(repr(known) for known in self.handles(source))
                yield Problem(source, f"The edge to {target!r} leaves by {handle!r}; the exits are {exits}.")

    def _check_reads(self) -> Iterator[Problem]:
        for id, node in self.nodes.items():
            for selector in dict.fromkeys(node.reads()):
                if not selector or (selector[0] not in self.nodes and selector[0] != SYSTEM):
                    yield Problem(
                        id, f"It reads {'.'.join(selector)!r}, but there is no node {''.join(selector[:1])!r}."
                    )

    def _check_shape(self) -> Iterator[Problem]:
        starts = [id for id, node in self.nodes.items() if node.type == "start"]
        if len(starts) != 1:
            yield Problem("", f"A graph has one start node; this one has {len(starts)}.")
            return
        if all(node.response() is None for node in self.nodes.values()):
            yield Problem("", "The graph has no answer or end node: nothing would come out.")
        follows: dict[str, list[str]] = {id: [] for id in self.nodes}
        waiting = dict.fromkeys(self.nodes, 0)
        for source, _, target in self.edges:
            follows[source].append(target)
            waiting[target] += 1
        if waiting[starts[0]]:
            yield Problem(starts[0], "Nothing may lead back to the start node.")
        reached = _reached(starts[0], follows)
        yield from (Problem(id, "It cannot be reached from the start.") for id in self.nodes if id not in reached)
        circle = _left_after_peeling(follows, waiting)
        if circle:
            yield Problem(circle[0], f"These nodes lead in a circle: {', '.join(circle[:10])}.")

    def compiled(self) -> Compiled:
        start = next(id for id, node in self.nodes.items() if node.type == "start")
        order = {id: index for index, id in enumerate(self.nodes)}
        incoming = Counter(target for _, _, target in self.edges)
        leaving: dict[str, list[Edge]] = {id: [] for id in self.nodes}
        for source, handle, target in self.edges:
            leaving[source].append(Edge(order[source], handle, order[target]))
        steps = tuple(
            Step(
                index=index,
                id=id,
                node=self.nodes[id],
                care=self.care[id],
                reads=tuple(dict.fromkeys(self.nodes[id].reads())),
                response=self.nodes[id].response(),
                edges=tuple(leaving[id]),
                incoming=incoming[id],
                blocks=id == start or len(self.handles(id)) > 1 or self.nodes[id].response() is not None,
            )
            for id, index in order.items()
        )
        spoken = frozenset(selector for step in steps if step.response for selector in step.response.selectors)
        return Compiled(steps, order[start], spoken)


def _reached(start: str, follows: Mapping[str, list[str]]) -> set[str]:
    reached, left = {start}, [start]
    while left:
        for target in follows[left.pop()]:
            if target not in reached:
                reached.add(target)
                left.append(target)
    return reached


def _left_after_peeling(follows: Mapping[str, list[str]], waiting: dict[str, int]) -> list[str]:
    """The nodes on circles, or behind them: those that never have all their predecessors done."""
    ready = [id for id, count in waiting.items() if count == 0]
    for id in ready:  # the list grows while it is walked
        for target in follows[id]:
            waiting[target] -= 1
            if waiting[target] == 0:
                ready.append(target)
    done = set(ready)
    return [id for id in follows if id not in done]
