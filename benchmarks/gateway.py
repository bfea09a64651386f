"""Measure the gateway beside LiteLLM, TensorZero and nginx, before the same fast fake model server.

python benchmarks/gateway.py --json
python benchmarks/gateway.py --only ours,nginx --rounds 1 --seconds 2    while developing

The gateway runs on one core, the load and the model server on the other. Ours runs with keys, limits, budgets, usage,
audit and metrics on; the others do less. The first run makes environments for LiteLLM and TensorZero under --work.
Set NO_APT=1 to have nothing installed by apt.
"""

import argparse
import json
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from contestants import CONTESTANTS, Running, inhouse
from load import Sample, Upstream, fake_upstream, measure, verify
from machine import facts
from programs import GATEWAY_CORE, LOAD_CORE, WORK, CannotRun, tell

POINTS = [(kind, clients) for clients in (16, 1, 64) for kind in ("json", "sse")]
WARM_UP_S = 2.0
SLOW = frozenset({"litellm"})
"""Measured at 16 clients in every round, elsewhere in the first only: these points tell nothing about us."""

Point = tuple[str, str, int]
Rounds = dict[Point, list[Sample]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one line of JSON only")
    parser.add_argument("--only", default=",".join(CONTESTANTS), help="some of: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the median counts")
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds that each point is measured in a round")
    parser.add_argument("--work", type=Path, default=WORK, help="where environments, programs and logs are kept")
    parser.add_argument("--bare", action="store_true", help="ours without its policies, to see what they cost")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))

    try:
        result = run(chosen)
    except CannotRun as reason:
        raise SystemExit(str(reason)) from reason
    if not chosen.json:
        show(result)
    print(json.dumps(result))


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    work = chosen.work.expanduser().absolute()
    work.mkdir(parents=True, exist_ok=True)
    starters = CONTESTANTS | ({"ours": partial(inhouse, policies={})} if chosen.bare else {})
    wanted = {name: starter for name, starter in starters.items() if name in chosen.only.split(",")}
    with ExitStack() as stack:
        upstream = stack.enter_context(fake_upstream(work))
        running, reasons = start(stack, wanted, upstream, work)
        rounds = measure_all([upstream.itself, *running], upstream, work, rounds=chosen.rounds, seconds=chosen.seconds)
        weights = {
            one.name: {"rss_mb": round(one.program.rss_mb, 1), "start_s": round(one.start_s, 2)} for one in running
        }
    figures = {"points": table(rounds), "programs": weights, "not_measured": reasons, "settings": settings(chosen)}
    return {"bars": bars(rounds), "figures": figures, "machine": facts()}


def start(
    stack: ExitStack, starters: dict[str, Callable[..., Any]], upstream: Upstream, work: Path
) -> tuple[list[Running], dict[str, str]]:
    """Start every contestant that can be had here, see that it answers rightly, and warm it up."""
    running, reasons = [], {}
    for name, starter in starters.items():
        tell(f"starting {name}")
        try:
            gateway = stack.enter_context(starter(upstream.url, work))
        except CannotRun as reason:
            if name == "ours":
                raise
            tell(f"{name} is left out: {reason}")
            reasons[name] = str(reason)
            continue
        verify(gateway)
        for stream in (False, True):
            measure(gateway, upstream, work, clients=16, stream=stream, seconds=WARM_UP_S)
        running.append(gateway)
    return running, reasons


def measure_all(gateways: Sequence[Running], upstream: Upstream, work: Path, *, rounds: int, seconds: float) -> Rounds:
    """Every point with one gateway after the other, so that a noisy minute hits all of them; and that again."""
    found: Rounds = defaultdict(list)
    for number in range(rounds):
        for kind, clients in POINTS:
            for gateway in gateways:
                if not is_due(gateway.name, clients, number):
                    continue
                sample = measure(gateway, upstream, work, clients=clients, stream=kind == "sse", seconds=seconds)
                found[gateway.name, kind, clients].append(sample)
                tell(f"round {number + 1}, {kind}, {clients:2} clients, {gateway.name:10} {said(sample)}")
    return found


def is_due(name: str, clients: int, number: int) -> bool:
    if name == "direct":
        return clients == 1
    return clients == 16 or number == 0 or name not in SLOW


def bars(rounds: Rounds) -> list[dict[str, Any]]:
    """What is held to a bound. Ratios are taken within a round, then their median; None where one is missing."""

    def cpu(name: str, kind: str) -> list[float]:
        return [sample.cpu_ms or 0.0 for sample in rounds.get((name, kind, 16), ())]

    def rps(name: str) -> list[float]:
        return [sample.rps for sample in rounds.get((name, "json", 16), ())]

    def p50(name: str) -> list[float]:
        return [sample.p50_ms for sample in rounds.get((name, "json", 1), ())]

    added = [ours - direct for ours, direct in zip(p50("ours"), p50("direct"), strict=False)]
    values = {
        "json_cpu_ratio_litellm": ratio(cpu("litellm", "json"), cpu("ours", "json")),
        "sse_cpu_ratio_litellm": ratio(cpu("litellm", "sse"), cpu("ours", "sse")),
        "rps_vs_tensorzero": ratio(rps("ours"), rps("tensorzero")),
        "json_cpu_vs_nginx": ratio(cpu("ours", "json"), cpu("nginx", "json")),
        "sse_cpu_vs_nginx": ratio(cpu("ours", "sse"), cpu("nginx", "sse")),
        "added_p50_ms_c1": round(median(added), 3) if added else None,
    }
    return [{"name": name, "value": value} for name, value in values.items()]


def ratio(above: Sequence[float], below: Sequence[float]) -> float | None:
    found = [a / b for a, b in zip(above, below, strict=False) if b]
    return round(median(found), 2) if found else None


def table(rounds: Rounds) -> list[dict[str, Any]]:
    """The medians of every point."""
    rows = []
    for (name, kind, clients), samples in sorted(rounds.items()):
        spent = [sample.cpu_ms for sample in samples if sample.cpu_ms is not None]
        rows.append(
            {
                "gateway": name,
                "kind": kind,
                "clients": clients,
                "rps": round(median(sample.rps for sample in samples), 1),
                "p50_ms": round(median(sample.p50_ms for sample in samples), 3),
                "p99_ms": round(median(sample.p99_ms for sample in samples), 3),
                "cpu_ms": round(median(spent), 4) if spent else None,
            }
        )
    return rows


def settings(chosen: argparse.Namespace) -> dict[str, Any]:
    return {
        "rounds": chosen.rounds,
        "seconds": chosen.seconds,
        "policies": not chosen.bare,
        "gateway_core": GATEWAY_CORE,
        "load_core": LOAD_CORE,
    }


def show(result: dict[str, Any]) -> None:
    print(f"{'gateway':12}{'kind':6}{'clients':>8}{'req/s':>10}{'p50 ms':>10}{'p99 ms':>10}{'CPU ms':>10}")
    for row in result["figures"]["points"]:
        spent = "" if row["cpu_ms"] is None else f"{row['cpu_ms']:.3f}"
        print(
            f"{row['gateway']:12}{row['kind']:6}{row['clients']:8}{row['rps']:10.0f}{row['p50_ms']:10.3f}"
            f"{row['p99_ms']:10.3f}{spent:>10}"
        )
    for name, facts_of in result["figures"]["programs"].items():
        print(f"{name}: {facts_of['rss_mb']} MB resident, up in {facts_of['start_s']} s")
    for name, reason in result["figures"]["not_measured"].items():
        print(f"{name} was not measured: {reason}")
    for bar in result["bars"]:
        print(f"{bar['name']:26}{bar['value']}")


def said(sample: Sample) -> str:
    spent = "" if sample.cpu_ms is None else f", {sample.cpu_ms:.3f} ms CPU"
    return f"{sample.rps:8.0f} req/s, p50 {sample.p50_ms:.3f} ms, p99 {sample.p99_ms:.3f} ms{spent}"


if __name__ == "__main__":
    main()
