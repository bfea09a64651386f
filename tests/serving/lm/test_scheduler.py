from hypothesis import given, settings
from hypothesis import strategies as st

from inhouse.serving.lm.scheduler import Job, Scheduler

jobs = st.builds(Job, st.integers(1, 40), st.integers(1, 20), st.integers(1, 3))


def scheduler(*, rows: int = 4, tokens: int = 200) -> Scheduler:
    return Scheduler(rows=rows, tokens=tokens, waiting=100, chunk=8, long_chunk=16)


def step(plan: Scheduler, left: dict[Job, int]) -> list[Job]:
    """Do what the plan says; return the jobs that ended."""
    ended = []
    for job in plan.writing():
        left[job] -= 1
        if not left[job]:
            for _ in range(job.open):
                plan.finish(job)
            ended.append(job)
    for portion in plan.portions():
        portion.job.read += portion.count
    return ended


@settings(max_examples=80, deadline=None)
@given(st.lists(jobs, min_size=1, max_size=12))
def test_every_job_ends_and_gives_back_what_it_took(waiting: list[Job]) -> None:
    plan = scheduler()
    left = {job: job.limit for job in waiting}
    seated: list[Job] = []
    for job in waiting:
        plan.add(job)

    while len(plan):
        seated += plan.seat()
        assert plan.used_rows <= plan.rows
        assert plan.used_tokens <= plan.tokens
        step(plan, left)

    assert seated == waiting
    assert (plan.used_rows, plan.used_tokens, plan.running, plan.queued) == (0, 0, 0, 0)


@settings(max_examples=80, deadline=None)
@given(st.lists(jobs, min_size=1, max_size=12), st.data())
def test_dropping_jobs_anywhere_leaks_no_seat(waiting: list[Job], data: st.DataObject) -> None:
    plan = scheduler()
    left = {job: job.limit for job in waiting}
    for job in waiting:
        plan.add(job)

    while len(plan):
        plan.seat()
        step(plan, left)
        plan.drop(data.draw(st.sampled_from(waiting)))

    assert (plan.used_rows, plan.used_tokens) == (0, 0)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=6))
def test_every_prompt_is_read_in_each_step_and_none_is_read_too_far(prompts: list[int]) -> None:
    plan = scheduler(rows=6, tokens=10_000)
    for prompt in prompts:
        plan.add(Job(prompt, 1))
    plan.seat()

    portions = plan.portions()

    assert len(portions) == len(prompts)
    assert sum(portion.count for portion in portions) == min(16, sum(prompts))
    assert all(portion.start + portion.count <= portion.job.prompt for portion in portions)


def test_prompts_are_read_in_small_parts_while_somebody_writes() -> None:
    plan = scheduler()
    writer, reader = Job(1, 10), Job(100, 1)
    plan.add(writer)
    plan.add(reader)
    plan.seat()
    writer.read = 1

    [portion] = plan.portions()

    assert portion.count == 8


def test_a_short_prompt_does_not_wait_for_a_long_one() -> None:
    plan = scheduler()
    long, short = Job(100, 1), Job(4, 1)
    plan.add(long)
    plan.add(short)
    plan.seat()

    shares = {portion.job: portion.count for portion in plan.portions()}

    assert shares == {long: 12, short: 4}


def test_a_small_job_does_not_overtake_a_large_one_that_waits() -> None:
    plan = scheduler(tokens=100)
    for job in (Job(50, 10), large := Job(80, 10), small := Job(1, 1)):
        plan.add(job)

    seated = plan.seat()

    assert large not in seated
    assert small not in seated


def test_a_job_that_never_fits_is_known() -> None:
    plan = scheduler(rows=2, tokens=100)

    assert plan.fits(Job(60, 40))
    assert not plan.fits(Job(60, 41))
    assert not plan.fits(Job(1, 1, 3))
