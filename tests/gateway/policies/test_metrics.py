import asyncio
import os
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from inhouse.gateway import metrics, pulse
from inhouse.gateway.call import Outcome, Usage
from inhouse.gateway.metrics import SeriesTable
from inhouse.gateway.policies.metrics import Metrics, MetricsSettings
from inhouse.gateway.policy import Surroundings
from inhouse.gateway.route import Route

from .doubles import call, route, targets


def figure(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"inhouse_{name}", labels) or 0.0


@pytest.fixture
def counted() -> Metrics:
    return Metrics(Surroundings())


@pytest.fixture
def on(request: pytest.FixtureRequest) -> Route:
    """A route of the test's own, so that its series begin at nought."""
    return route(*targets("lab"), name=request.node.name)


def settle(counted: Metrics, on: Route, status: int = 200, duration_s: float = 1.0, **more: object) -> None:
    asked = call(on, target=on.targets[0], **more)
    counted.admit(asked)
    counted.settle(asked, Outcome(status, duration_s=duration_s))


def test_requests_are_counted_by_what_the_client_saw(counted: Metrics, on: Route):
    settle(counted, on)
    settle(counted, on)
    settle(counted, on, 503)

    labels = {"endpoint": "chat/completions", "model": on.name, "target": "lab/m", "arm": ""}
    assert figure("gateway_requests_total", **labels, status="200") == 2
    assert figure("gateway_requests_total", **labels, status="503") == 1
    assert figure("gateway_seconds_count", endpoint="chat/completions", model=on.name) == 3


def test_tokens_and_cost_are_counted(counted: Metrics, on: Route):
    settle(counted, on, usage=Usage(10, 4), cost=0.25)

    assert figure("gateway_tokens_total", model=on.name, target="lab/m", direction="in") == 10
    assert figure("gateway_tokens_total", model=on.name, target="lab/m", direction="out") == 4
    assert figure("gateway_cost_total", model=on.name, target="lab/m") == 0.25


def test_nonsense_from_a_model_server_is_not_counted(counted: Metrics, on: Route):
    settle(counted, on, usage=Usage(-5, 10**30))

    assert figure("gateway_tokens_total", model=on.name, target="lab/m", direction="in") == 0
    assert figure("gateway_tokens_total", model=on.name, target="lab/m", direction="out") == 0


def test_a_stream_has_a_first_token_and_a_pace(counted: Metrics, on: Route):
    settle(counted, on, stream=True, first_token_s=0.4, usage=Usage(1, 7))

    assert figure("gateway_first_token_seconds_sum", model=on.name) == 0.4
    assert figure("gateway_inter_token_seconds_sum", model=on.name) == pytest.approx(0.1)


def test_waiting_retries_and_cached_answers_are_counted(counted: Metrics, on: Route):
    settle(counted, on, queued_s=2.0, attempts=3, cache="hit")

    assert figure("gateway_queue_seconds_sum", model=on.name) == 2
    assert figure("gateway_retries_total", model=on.name) == 2
    assert figure("gateway_cached_total", model=on.name, result="hit") == 1


def test_requests_under_way_are_counted(counted: Metrics, on: Route):
    before = figure("gateway_in_flight")

    counted.admit(asked := call(on))
    assert figure("gateway_in_flight") == before + 1
    counted.settle(asked, Outcome(499))

    assert figure("gateway_in_flight") == before


def test_targets_can_be_left_out(counted: Metrics, on: Route):
    counted.configure(MetricsSettings(by_target=False))

    settle(counted, on)

    labels = {"endpoint": "chat/completions", "model": on.name, "target": "", "arm": "", "status": "200"}
    assert figure("gateway_requests_total", **labels) == 1


def test_past_a_bound_models_are_counted_together():
    table = SeriesTable(most=2)

    found = [table.of("chat/completions", f"bounded-{number}", "", "200", "") for number in range(5)]

    assert [series.model for series in found] == ["bounded-0", "bounded-1", "other", "other", "other"]


async def test_a_late_event_loop_is_noticed():
    watching = asyncio.create_task(pulse.watch(every_s=0.0, nvidia_smi="/nowhere/nvidia-smi"))
    metrics.loop_lag(-1)

    for _ in range(1000):
        if figure("gateway_loop_lag_seconds") >= 0:
            break
        await asyncio.sleep(0.005)
    watching.cancel()

    assert figure("gateway_loop_lag_seconds") >= 0
    with pytest.raises(asyncio.CancelledError):
        await watching


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a shell script")
def test_gpus_are_measured_where_there_are_any(tmp_path: Path):
    stand_in = tmp_path / "nvidia-smi"
    stand_in.write_text("#!/bin/sh\necho '7, 35, 2048, 81920'\necho '8, [N/A], 1, 2'\n")
    stand_in.chmod(0o755)

    assert pulse.measure_gpus(str(stand_in))

    assert figure("gpu_busy_ratio", gpu="7") == 0.35
    assert figure("gpu_memory_used_bytes", gpu="7") == 2 << 30
    assert REGISTRY.get_sample_value("inhouse_gpu_busy_ratio", {"gpu": "8"}) is None


def test_without_the_program_there_are_no_gpu_figures(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    assert not pulse.measure_gpus(str(tmp_path / "nvidia-smi"))
    assert "no figures" in caplog.text
