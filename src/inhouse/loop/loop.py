"""The closed loop: feedback, dataset, retraining, gate, canary, promotion."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import asdict

from inhouse.apps.feedback import Feedbacks
from inhouse.core.db import Database
from inhouse.core.errors import Conflict
from inhouse.core.principal import Principal
from inhouse.data.datasets import Datasets
from inhouse.data.store import split_reference
from inhouse.loop import store
from inhouse.loop.gate import Decision, Graded, judge
from inhouse.loop.releases import Releases
from inhouse.loop.review import Review
from inhouse.loop.state import LoopState, survey
from inhouse.loop.store import StoredVerdict
from inhouse.models.registry import LIVE, ModelRegistry
from inhouse.serving.deployments import Deployments
from inhouse.serving.predictor import Predictor
from inhouse.training.runs import Runs
from inhouse.training.store import Run

WATCH_S = 2.0
AT_ONCE = 128
_log = logging.getLogger(__name__)


class SameVersion(Conflict):
    """A version cannot be compared with itself."""


class OtherDataset(Conflict):
    """The two versions have no test rows in common."""


class Loop:
    """What turns a thumbs-down into the next version. `start()` begins watching canaries."""

    def __init__(
        self,
        db: Database,
        *,
        datasets: Datasets,
        registry: ModelRegistry,
        runs: Runs,
        predictor: Predictor,
        deployments: Deployments,
        feedbacks: Feedbacks,
        changed: Callable[[], None],
    ) -> None:
        self._db = db
        self._datasets = datasets
        self._registry = registry
        self._runs = runs
        self._predictor = predictor
        self._deployments = deployments
        self._feedbacks = feedbacks
        self.review = Review(db, feedbacks, datasets, registry)
        self.releases = Releases(db, registry, deployments, predictor, feedbacks, changed=changed)
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    def retrain(self, principal: Principal, model: str) -> Run:
        """Train the model again as its live version was, on the newest dataset version that was not rejected."""
        lineage = self._registry.get(principal, model, LIVE).lineage
        dataset, _ = split_reference(lineage["dataset"])
        rejected = {
            self.review.taught(principal, model, verdict.candidate)
            for verdict in self.verdicts(principal)
            if verdict.model == model and verdict.decision == Decision.REJECT
        }
        versions = [version.number for version in self._datasets.versions(principal, dataset)]
        return self._runs.start(
            principal,
            recipe=lineage["recipe"],
            dataset=dataset,
            version=next(number for number in versions if (dataset, number) not in rejected),
            model=model,
            config=lineage["config"],
            seed=lineage["seed"],
        )

    async def gate(self, principal: Principal, model: str, candidate: int) -> StoredVerdict:
        """Let both versions answer the frozen test rows and the golden cases, judge, and keep the verdict.

        What a rejected version was taught beyond the live one is quarantined: it enters no later dataset.
        """
        live = await asyncio.to_thread(self._registry.get, principal, model, LIVE)
        await asyncio.to_thread(self._registry.get, principal, model, candidate)
        if live.number == candidate:
            raise SameVersion(f"Version {candidate} of {model!r} is the live one.", hint="Name a newer one.")
        await asyncio.to_thread(self._check_comparable, principal, model, candidate)
        test, golden = await asyncio.to_thread(self._rows, principal, model)
        graded = await self._grade(principal, model, live.number, candidate, [*test, *golden])
        verdict = await asyncio.to_thread(judge, graded[: len(test)], graded[len(test) :])
        return await asyncio.to_thread(
            self._keep,
            principal,
            model,
            live.number,
            candidate,
            verdict.decision,
            [asdict(reason) for reason in verdict.reasons],
        )

    def verdicts(self, principal: Principal) -> list[StoredVerdict]:
        """Newest first."""
        with self._db.read() as conn:
            return store.list_verdicts(conn, principal)

    def state(self, principal: Principal) -> LoopState:
        """Counts for every stage, and the one thing to do next."""
        return survey(
            principal,
            datasets=self._datasets,
            registry=self._registry,
            runs=self._runs,
            deployments=self._deployments,
            feedbacks=self._feedbacks,
            review=self.review,
            releases=self.releases,
            verdicts=self.verdicts(principal),
        )

    def _check_comparable(self, principal: Principal, model: str, candidate: int) -> None:
        dataset, _ = self.review.taught(principal, model)
        other, _ = self.review.taught(principal, model, candidate)
        if dataset != other:
            raise OtherDataset(
                f"Version {candidate} learned from {other!r}, the live version from {dataset!r}.",
                hint=f"The gate compares on the frozen test rows of {dataset!r}: train on a version of it.",
            )

    def _rows(self, principal: Principal, model: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """The live version's test rows (no candidate brings its own exam), and the golden cases."""
        dataset, number = self.review.taught(principal, model)
        rows = self._datasets.examples(principal, dataset, number, split="test")
        with self._db.read() as conn:
            cases = store.list_golden(conn, principal, model)
        return [(row.text, row.label) for row in rows], [(case.text, case.label) for case in cases]

    async def _grade(
        self, principal: Principal, model: str, live: int, candidate: int, rows: list[tuple[str, str]]
    ) -> list[Graded]:
        texts = [text for text, _ in rows]
        before, after = [await self._labels(principal, model, texts, version) for version in (live, candidate)]
        return [Graded(text, label, *said) for (text, label), *said in zip(rows, before, after, strict=True)]

    async def _labels(self, principal: Principal, model: str, texts: list[str], version: int) -> list[str]:
        found: list[str] = []
        for start in range(0, len(texts), AT_ONCE):
            part = texts[start : start + AT_ONCE]
            found += [one.label for one in await self._predictor.predict(principal, model, part, version=version)]
        return found

    def _keep(
        self,
        principal: Principal,
        model: str,
        live: int,
        candidate: int,
        decision: Decision,
        reasons: list[dict[str, object]],
    ) -> StoredVerdict:
        _, before = self.review.taught(principal, model, live)
        _, after = self.review.taught(principal, model, candidate)
        with self._db.write() as conn:
            if decision == Decision.REJECT:
                store.quarantine_golden(conn, principal, model, after=before, until=after)
            return store.insert_verdict(
                conn, principal, model=model, live=live, candidate=candidate, decision=decision, reasons=reasons
            )

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                for release in await asyncio.to_thread(self.releases.watch):
                    _log.warning("Rolled back %s:%s (%s).", release.model, release.candidate, release.reason)
            except Exception:
                _log.exception("Watching the canaries failed; trying again.")
