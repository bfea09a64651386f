"""Send many short requests to the gateway, with its policies on, and see whether its memory grows.

python benchmarks/soak.py --json
python benchmarks/soak.py --requests 50000    while developing
"""

import argparse
import json
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import linear_regression
from typing import Any

from contestants import POLICIES, Running, inhouse
from load import Load, Upstream, fake_upstream, verify
from machine import facts
from programs import WORK, CannotRun, tell

JSON_CLIENTS, STREAM_CLIENTS = 14, 2
STEP = 10_000
PATIENCE_S = 3600
LOOK_S = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one line of JSON only")
    parser.add_argument("--requests", type=int, default=200_000, help="how many after the warm-up")
    parser.add_argument("--warm-up", type=int, default=20_000, help="how many before that do not count")
    parser.add_argument("--work", type=Path, default=WORK, help="where programs and logs are kept")
    parser.add_argument("--bare", action="store_true", help="without the policies")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))

    try:
        result = run(chosen)
    except CannotRun as reason:
        raise SystemExit(str(reason)) from reason
    if not chosen.json:
        for thousands, rss_mb in result["figures"]["rss_mb"]:
            print(f"{thousands:6.0f} k requests {rss_mb:8.1f} MB")
        print(f"growth per 10,000 requests: {result['bars'][0]['value']} MB")
    print(json.dumps(result))


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    work = chosen.work.expanduser().absolute()
    work.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with ExitStack() as stack:
        upstream = stack.enter_context(fake_upstream(work))
        ours = stack.enter_context(inhouse(upstream.url, work, policies={} if chosen.bare else POLICIES))
        verify(ours)
        seen = soak(ours, upstream, work, warm_up=chosen.warm_up, requests=chosen.requests)
    return report(seen, seconds=time.monotonic() - began, policies=not chosen.bare)


def soak(ours: Running, upstream: Upstream, work: Path, *, warm_up: int, requests: int) -> list[tuple[int, float]]:
    """Requests answered and the server's memory, every 10,000 requests from the end of the warm-up."""
    with ExitStack() as stack:
        loads = [
            stack.enter_context(Load(ours, work, clients=clients, stream=stream, seconds=PATIENCE_S))
            for clients, stream in ((JSON_CLIENTS, False), (STREAM_CLIENTS, True))
        ]
        start = upstream.served
        due, seen = warm_up, list[tuple[int, float]]()
        while due <= warm_up + requests and all(load.is_running() for load in loads):
            time.sleep(LOOK_S)
            served = upstream.served - start
            if served >= due:
                seen.append((served, ours.program.rss_mb))
                tell(f"{served} requests, {seen[-1][1]:.1f} MB")
                due += STEP
        for load in loads:
            load.stop()
        for load in loads:
            load.summary()
    return seen


def report(seen: list[tuple[int, float]], *, seconds: float, policies: bool) -> dict[str, Any]:
    slope, _ = linear_regression([served / STEP for served, _ in seen], [rss_mb for _, rss_mb in seen])
    figures = {
        "requests": seen[-1][0],
        "seconds": round(seconds, 1),
        "policies": policies,
        "clients": {"json": JSON_CLIENTS, "sse": STREAM_CLIENTS},
        "rss_mb": [(round(served / 1000, 1), round(rss_mb, 1)) for served, rss_mb in seen],
    }
    return {"bars": [{"name": "rss_mb_per_10k", "value": round(slope, 3)}], "figures": figures, "machine": facts()}


if __name__ == "__main__":
    main()
