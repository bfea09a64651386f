import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inhouse.core.errors import Invalid
from inhouse.core.jobs import Job, JobContext, Jobs, JobsNotRunning, UnknownJob


class Unlucky(Invalid):
    """Raised by a job on purpose."""


def wait_for(jobs: Jobs, job_id: str) -> Job:
    for _ in range(1000):
        job = jobs.get(job_id)
        if job.status not in ("queued", "running"):
            return job
        time.sleep(0.02)
    raise AssertionError(f"{job_id} did not end")


@pytest.fixture(params=["sqlite", "postgresql"])
def jobs_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql_url")
    return f"sqlite:///{tmp_path / 'jobs.db'}"


@pytest.fixture
def runner(jobs_url: str) -> Iterator[Callable[..., Jobs]]:
    started: list[Jobs] = []

    def start(**functions: Callable[[JobContext, dict], dict | None]) -> Jobs:
        jobs = Jobs(jobs_url, poll_s=0.05)
        for name, fn in functions.items():
            jobs.register(name, fn)
        jobs.launch()
        started.append(jobs)
        return jobs

    yield start
    for jobs in started:
        jobs.close()


def test_a_job_gives_its_result(runner: Callable[..., Jobs]) -> None:
    jobs = runner(double=lambda context, arguments: {"twice": arguments["n"] * 2})

    jobs.submit("double", {"n": 21}, job_id="job-1")

    assert wait_for(jobs, "job-1") == Job("job-1", "double", "succeeded", {"twice": 42}, None)


def test_the_same_id_is_the_same_job(runner: Callable[..., Jobs]) -> None:
    calls: list[int] = []
    jobs = runner(count=lambda context, arguments: calls.append(arguments["n"]))

    jobs.submit("count", {"n": 1}, job_id="once")
    wait_for(jobs, "once")
    jobs.submit("count", {"n": 2}, job_id="once")

    assert wait_for(jobs, "once").status == "succeeded"
    assert calls == [1]


def test_a_failing_job_keeps_its_reason(runner: Callable[..., Jobs]) -> None:
    def fail(context: JobContext, arguments: dict) -> None:
        raise Unlucky("The label 'vpn' has one example.")

    jobs = runner(fail=fail)

    jobs.submit("fail", {}, job_id="job-2")

    job = wait_for(jobs, "job-2")
    assert job.status == "failed"
    assert "The label 'vpn' has one example." in str(job.error)


def test_an_unknown_kind_names_the_known_ones(runner: Callable[..., Jobs]) -> None:
    jobs = runner(train=lambda context, arguments: None)

    with pytest.raises(UnknownJob, match="'bake'") as raised:
        jobs.submit("bake", {}, job_id="job-3")

    assert "train" in raised.value.hint


def test_jobs_are_refused_before_launch(tmp_path: Path) -> None:
    jobs = Jobs(f"sqlite:///{tmp_path / 'jobs.db'}")

    with pytest.raises(JobsNotRunning):
        jobs.submit("train", {}, job_id="job-4")


def test_nothing_stored_is_a_pickle(tmp_path: Path) -> None:
    jobs = Jobs(f"sqlite:///{tmp_path / 'jobs.db'}", poll_s=0.05)
    jobs.register("echo", lambda context, arguments: arguments)
    jobs.launch()

    jobs.submit("echo", {"text": "plain"}, job_id="job-5")
    wait_for(jobs, "job-5")
    jobs.close()

    stored = (tmp_path / "jobs.db").read_bytes() + b"".join(p.read_bytes() for p in tmp_path.glob("jobs.db-*"))
    assert b"py_pickle" not in stored
    assert b'"plain"' in stored


KILLED_MIDWAY = """
import os, sys, time
from inhouse.core.jobs import Jobs

folder, url, life = sys.argv[1:]
def note(line):
    with open(folder + "/log", "a") as log:
        log.write(line + "\\n"); log.flush(); os.fsync(log.fileno())
def work(context, arguments):
    for n in range(4):
        def step(n=n):
            note(f"begin {n}")
            if life == "first" and n == 2:
                note("ready to die"); time.sleep(60)
            note(f"end {n}")
            return n
        context.step(f"step-{n}", step)
    return {"life": life}
jobs = Jobs(url, poll_s=0.05)
jobs.register("work", work)
jobs.launch()
if life == "first":
    jobs.submit("work", {}, job_id="long")
while jobs.get("long").status in ("queued", "running"):
    time.sleep(0.05)
note(str(jobs.get("long").result))
jobs.close()
"""


def test_a_killed_job_goes_on_at_its_unfinished_step(tmp_path: Path, jobs_url: str) -> None:
    command = [sys.executable, "-c", KILLED_MIDWAY, str(tmp_path), jobs_url]
    log = tmp_path / "log"
    first = subprocess.Popen([*command, "first"])
    while not log.exists() or "ready to die" not in log.read_text():
        assert first.poll() is None
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()

    subprocess.run([*command, "second"], check=True, timeout=60)

    lines = log.read_text().splitlines()
    assert lines[-1] == "{'life': 'second'}"
    assert [lines.count(f"end {n}") for n in range(4)] == [1, 1, 1, 1]
    assert [lines.count(f"begin {n}") for n in range(4)] == [1, 1, 2, 1]
