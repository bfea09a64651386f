"""Gradual release: a candidate gets part of the traffic, then all of it, or goes back."""

import asyncio
from collections.abc import Callable

from sqlalchemy import Connection

from inhouse.apps.feedback import Feedbacks
from inhouse.apps.store import Figures
from inhouse.core.db import Database
from inhouse.core.errors import Conflict, Invalid, NotFound
from inhouse.core.principal import Principal
from inhouse.data.store import split_reference
from inhouse.loop import store
from inhouse.loop.canary import Arm, Guards, alarm
from inhouse.loop.store import CANARY, PROMOTED, ROLLED_BACK, Release
from inhouse.models.registry import CANDIDATE, LIVE, ModelRegistry
from inhouse.serving.deployments import Deployments
from inhouse.serving.predictor import Predictor


class ReleaseNotFound(NotFound):
    """No release of this workspace has that id."""


class NotApproved(Conflict):
    """The gate has not said PROMOTE."""


class ReleaseRunning(Conflict):
    """A model has one canary at a time."""


class ReleaseOver(Conflict):
    """The release has ended."""


class BadShare(Invalid):
    """A canary's share lies between 0 and 1."""


class Releases:
    """Moves traffic. Each step is one transaction over release, alias and weights: there is no half-way."""

    def __init__(
        self,
        db: Database,
        registry: ModelRegistry,
        deployments: Deployments,
        predictor: Predictor,
        feedbacks: Feedbacks,
        *,
        changed: Callable[[], None],
        guards: Guards | None = None,
    ) -> None:
        self._db = db
        self._registry = registry
        self._deployments = deployments
        self._predictor = predictor
        self._feedbacks = feedbacks
        self._changed = changed
        self._guards = guards or Guards()

    def history(self, principal: Principal) -> list[Release]:
        """Newest first."""
        with self._db.read() as conn:
            return store.list_releases(conn, principal)

    async def start(self, principal: Principal, model: str, version: int, share: float = 0.2) -> Release:
        """Give an approved version a share of the traffic; the first version of a model goes live at once."""
        if not 0 < share < 1:
            raise BadShare(f"{share!r} is no share of the traffic.", hint="Give a number between 0 and 1, such as 0.2.")
        await asyncio.to_thread(self._registry.get, principal, model, version)
        await self._predictor.warm(principal, model, version)
        return await asyncio.to_thread(self._start, principal, model, version, share)

    def promote(self, principal: Principal, release_id: str) -> Release:
        """Give the candidate all of the traffic, and tell the askers whose corrections it has learned."""
        release = self.get(principal, release_id)
        learned = self._learned(principal, release)
        with self._db.write() as conn:
            self._registry.lock(conn, principal, release.model)
            if release.status != CANARY:
                raise ReleaseOver(f"This release has been {release.status.replace('_', ' ')} already.")
            self._end(conn, principal, release, PROMOTED, "")
            self._serve(conn, principal, release, release.candidate)
            self._feedbacks.mark_fixed(conn, principal, learned, release.model, release.candidate)
        self._changed()
        return self.get(principal, release_id)

    def roll_back(self, principal: Principal, release_id: str, reason: str) -> Release:
        """Give the former version all of the traffic again, during a canary or after a promotion."""
        release = self.get(principal, release_id)
        learned = self._learned(principal, release)
        with self._db.write() as conn:
            live = self._registry.lock(conn, principal, release.model).get(LIVE)
            if release.status == ROLLED_BACK or release.live == 0:
                raise ReleaseOver("There is nothing to roll back to.")
            if release.status == PROMOTED:
                self._check_no_canary(conn, principal, release.model)
                if live != release.candidate:
                    raise ReleaseOver(
                        f"Version {release.candidate} is not live any more.", hint="Roll back the newest."
                    )
            self._end(conn, principal, release, ROLLED_BACK, reason)
            self._serve(conn, principal, release, release.live)
            self._feedbacks.mark_fixed(conn, principal, learned, release.model, None)
        self._changed()
        return self.get(principal, release_id)

    def get(self, principal: Principal, release_id: str) -> Release:
        with self._db.read() as conn:
            release = store.find_release(conn, principal, release_id)
        if release is None:
            raise ReleaseNotFound(f"There is no release {release_id!r}.")
        return release

    def arms(self, principal: Principal, release: Release) -> tuple[Arm, Arm]:
        """The figures of the live version and of the candidate since the release began."""
        figures = self._feedbacks.figures(principal, release.model, since=release.created_at)
        return _arm(figures.get(release.live)), _arm(figures.get(release.candidate))

    def watch(self) -> list[Release]:
        """Look at every canary and roll back those whose guard trips. Returns these."""
        with self._db.read() as conn:
            running = store.running_releases(conn)
        tripped: list[Release] = []
        for release in running:
            principal = Principal.system(release.workspace_id)
            guard = alarm(*self.arms(principal, release), self._guards)
            if guard is not None:
                tripped.append(self.roll_back(principal, release.id, f"guard:{guard}"))
        return tripped

    def _start(self, principal: Principal, model: str, version: int, share: float) -> Release:
        with self._db.write() as conn:
            live = self._registry.lock(conn, principal, model).get(LIVE)
            if live is None:
                release = store.insert_release(
                    conn, principal, model=model, live=0, candidate=version, share=1.0, status=PROMOTED
                )
                self._serve(conn, principal, release, version)
            else:
                self._check_no_canary(conn, principal, model)
                self._check_approved(conn, principal, model, live, version)
                release = store.insert_release(conn, principal, model=model, live=live, candidate=version, share=share)
                self._registry.set_alias(conn, principal, model, CANDIDATE, version)
                weights = {live: 1 - share, version: share}
                self._deployments.set(conn, principal, model, weights, note=release.id)
        self._changed()
        return release

    def _serve(self, conn: Connection, principal: Principal, release: Release, version: int) -> None:
        """One version for everybody."""
        self._registry.set_alias(conn, principal, release.model, LIVE, version)
        self._registry.set_alias(conn, principal, release.model, CANDIDATE, None)
        self._deployments.set(conn, principal, release.model, {version: 1.0}, note=release.id)

    def _check_no_canary(self, conn: Connection, principal: Principal, model: str) -> None:
        if any(one.model == model and one.status == CANARY for one in store.list_releases(conn, principal)):
            raise ReleaseRunning(f"{model!r} has a canary already.", hint="Promote it or roll it back first.")

    def _check_approved(self, conn: Connection, principal: Principal, model: str, live: int, version: int) -> None:
        verdicts = store.list_verdicts(conn, principal, model)
        verdict = next((one for one in verdicts if (one.live, one.candidate) == (live, version)), None)
        if verdict is None or verdict.decision != "promote":
            said = f"The gate said {verdict.decision.upper()}" if verdict else "The gate has not seen it"
            raise NotApproved(
                f"{said}: version {version} of {model!r} beside the live version {live}.",
                hint="Ask the gate first; a version that it holds or rejects stays out of traffic.",
            )

    def _learned(self, principal: Principal, release: Release) -> list[str]:
        """The messages whose corrections the candidate was taught and the live version was not."""
        if release.live == 0:
            return []
        before, after = (
            split_reference(self._registry.get(principal, release.model, number).lineage["dataset"])[1]
            for number in (release.live, release.candidate)
        )
        with self._db.read() as conn:
            cases = store.list_golden(conn, principal, release.model)
        return [case.message_id for case in cases if before < (case.dataset_version or 0) <= after]

    def _end(self, conn: Connection, principal: Principal, release: Release, status: str, reason: str) -> None:
        if not store.end_release(conn, principal, release, status, reason):
            raise ReleaseOver("Somebody else has ended this release meanwhile.")


def _arm(figures: Figures | None) -> Arm:
    return Arm(figures.answers, figures.failed, figures.down) if figures else Arm()
