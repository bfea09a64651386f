"""CPU per node of the workflow engine: a chain of 20 nodes, one run after the other and 32 callers at a time."""

import argparse
import asyncio
import json
import time
from contextlib import aclosing
from typing import Any

from inhouse.core.principal import Principal
from inhouse.testing.services import fixed_services
from inhouse.workflow.context import RunInputs
from inhouse.workflow.engine import Engine
from inhouse.workflow.events import RunFinished
from inhouse.workflow.graph import Compiled, compile_graph

NODES = 20
BAR_US = 100
"""Microseconds of CPU a node; graphon takes 240 to 300."""


def chain() -> Compiled:
    """start, templates that each read the one before, end."""
    nodes: list[dict[str, Any]] = [{"id": "n0", "data": {"type": "start"}}]
    for n in range(1, NODES - 1):
        before = ["sys", "query"] if n == 1 else [f"n{n - 1}", "output"]
        variables = [{"variable": "x", "value_selector": before}]
        nodes.append(
            {"id": f"n{n}", "data": {"type": "template-transform", "template": "{{ x }}", "variables": variables}}
        )
    last = {"variable": "x", "value_selector": [f"n{NODES - 2}", "output"]}
    nodes.append({"id": f"n{NODES - 1}", "data": {"type": "end", "outputs": [last]}})
    return compile_graph(
        {"nodes": nodes, "edges": [{"source": f"n{n}", "target": f"n{n + 1}"} for n in range(NODES - 1)]}
    )


async def run(engine: Engine, graph: Compiled) -> None:
    async with aclosing(engine.run(graph, RunInputs("hello"), Principal.system())) as events:
        async for event in events:
            if isinstance(event, RunFinished):
                assert event.outputs == {"x": "hello"}


async def measure(runs: int) -> dict[str, float]:
    engine, graph = Engine(fixed_services()), chain()
    for _ in range(50):
        await run(engine, graph)
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(runs):
        await run(engine, graph)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    together = time.perf_counter()
    for _ in range(max(runs // 32, 1)):
        await asyncio.gather(*(run(engine, graph) for _ in range(32)))
    together = time.perf_counter() - together
    return {
        "cpu_us_per_node": cpu / runs / NODES * 1e6,
        "run_ms": wall / runs * 1e3,
        "runs_per_s_32_callers": max(runs // 32, 1) * 32 / together,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = {name: round(value, 2) for name, value in asyncio.run(measure(arguments.runs)).items()}
    bars = {"cpu_us_per_node": {"value": figures["cpu_us_per_node"], "at_most": BAR_US}}
    result = {"nodes": NODES, "runs": arguments.runs, **figures, "bars": bars}
    if arguments.json:
        print(json.dumps(result))
        return
    for name, value in figures.items():
        print(f"{name:24} {value}")


if __name__ == "__main__":
    main()
