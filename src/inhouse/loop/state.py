"""Where the loop stands: counts of each stage, and the one thing to do next."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from inhouse.apps.feedback import ACCEPTED, OPEN, Feedbacks
from inhouse.core.principal import Principal
from inhouse.data.datasets import Datasets
from inhouse.loop.releases import Releases
from inhouse.loop.review import Review
from inhouse.loop.store import CANARY, StoredVerdict
from inhouse.models.registry import LIVE, ModelRegistry
from inhouse.serving.deployments import Deployments
from inhouse.training.runs import Runs

ACTIVE_RUNS = ("queued", "running")


@dataclass(frozen=True, slots=True)
class Stage:
    """A number and a second, smaller one."""

    count: int
    detail: int


@dataclass(frozen=True, slots=True)
class Next:
    """What to do: upload, train, deploy, promote, release, gate, retrain, triage or ask."""

    action: str
    count: int = 0
    model: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class LoopState:
    stages: dict[str, Stage]
    next: Next | None


def survey(
    principal: Principal,
    *,
    datasets: Datasets,
    registry: ModelRegistry,
    runs: Runs,
    deployments: Deployments,
    feedbacks: Feedbacks,
    review: Review,
    releases: Releases,
    verdicts: Sequence[StoredVerdict],
) -> LoopState:
    """Count each stage and what it consists of: examples and datasets, runs and running ones, versions and models,
    deployed models and canaries, answers and conversations, open and accepted feedback.
    """
    latest, newest = datasets.latest(principal), registry.latest(principal)
    every_run, feedback = runs.list(principal), feedbacks.counts(principal)
    canaries = [release for release in releases.history(principal) if release.status == CANARY]
    running = sum(run.status in ACTIVE_RUNS for run in every_run)
    messages, conversations = feedbacks.answered(principal)
    stages = {
        "data": Stage(sum(version.count for version in latest), len(latest)),
        "training": Stage(len(every_run), running),
        "model": Stage(sum(version.number for version in newest), len(newest)),
        "serving": Stage(len(deployments.list(principal)), len(canaries)),
        "app": Stage(messages, conversations),
        "feedback": Stage(feedback.get(OPEN, 0), feedback.get(ACCEPTED, 0)),
    }

    def candidates() -> Iterator[Next]:
        """What could be done, the most urgent first."""
        for release in canaries:
            yield Next("promote", 1, release.model, release.candidate)
        live = registry.every_alias(principal)
        for version in newest:
            serving = live.get(version.model, {}).get(LIVE)
            if serving is None:
                yield Next("deploy", 1, version.model, version.number)
            elif version.number > serving:
                said = next((v for v in verdicts if (v.model, v.candidate) == (version.model, version.number)), None)
                if said is None:
                    yield Next("gate", 1, version.model, version.number)
                elif said.decision == "promote" and said.live == serving:
                    yield Next("release", 1, version.model, version.number)
            if serving is not None and not running and (waiting := review.waiting(principal, version.model)):
                yield Next("retrain", len(waiting), version.model)
        if stages["feedback"].count:
            yield Next("triage", stages["feedback"].count)
        if not latest:
            yield Next("upload")
        elif not newest and not running:
            yield Next("train")
        elif not messages:
            yield Next("ask")

    return LoopState(stages, next(candidates(), None))
