"""Which version answers: stored in the database, held in memory for requests."""

import math
import threading
from collections.abc import Collection, Mapping

from sqlalchemy import Connection

from inhouse.core.db import Database
from inhouse.core.errors import Invalid, NotFound
from inhouse.core.principal import Principal
from inhouse.core.split import choose
from inhouse.serving import store
from inhouse.serving.store import Deployment


class NotDeployed(NotFound):
    """No version of that model gets traffic."""


class BadWeights(Invalid):
    """The traffic shares cannot be used."""


class Deployments:
    """The traffic of every model. `refresh()` once at start, and again whenever another process changed it."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._refreshing = threading.Lock()
        self._known: dict[tuple[str, str], Deployment] = {}

    def refresh(self) -> None:
        """Read all deployments again. Safe from any thread."""
        with self._refreshing:  # or an older reading could overtake a newer one
            with self._db.read() as conn:
                found = store.every_deployment(conn)
            self._known = {(deployment.workspace_id, deployment.model): deployment for deployment in found}

    def list(self, principal: Principal) -> list[Deployment]:
        """Newest first."""
        mine = [one for one in self._known.values() if one.workspace_id == principal.workspace_id]
        return sorted(mine, key=lambda one: one.created_at, reverse=True)

    def get(self, principal: Principal, model: str) -> Deployment:
        deployment = self._known.get((principal.workspace_id, model))
        if deployment is None:
            names = sorted(one.model for one in self.list(principal))
            raise NotDeployed(
                f"No model named {model!r} is deployed.",
                hint=f"Deployed: {', '.join(names)}." if names else "Train a model and deploy it first.",
            )
        return deployment

    def answering(self, principal: Principal, model: str) -> Collection[int]:
        """The versions of a model that get traffic; none where it is not deployed."""
        deployment = self._known.get((principal.workspace_id, model))
        return deployment.weights.keys() if deployment else ()

    def first(self, principal: Principal) -> Deployment:
        """The model that was deployed first: it answers where no model is named."""
        mine = self.list(principal)
        if not mine:
            raise NotDeployed("No model is deployed.", hint="Train a model and deploy it first.")
        return mine[-1]

    def choose(self, principal: Principal, model: str, key: str) -> int:
        """The version that answers this key: always the same one while the weights stay."""
        weights = self.get(principal, model).weights
        return int(choose({str(version): weight for version, weight in weights.items()}, key, salt=model))

    def set(
        self, conn: Connection, principal: Principal, model: str, weights: Mapping[int, float], *, note: str = ""
    ) -> Deployment:
        """Store new weights in the caller's transaction; call `refresh()` once that has committed."""
        check_weights(weights)
        return store.save_deployment(conn, principal, model, weights, note)

    def put(self, principal: Principal, model: str, weights: Mapping[int, float], *, note: str = "") -> Deployment:
        """Store new weights and let them take effect."""
        with self._db.write() as conn:
            deployment = self.set(conn, principal, model, weights, note=note)
        self.refresh()
        return deployment


def check_weights(weights: Mapping[int, float]) -> None:
    """Raise `BadWeights` unless every weight is a finite number above zero."""
    if not weights:
        raise BadWeights("No version is given.", hint='For example {"weights": {"2": 1}}.')
    for version, weight in weights.items():
        if not (math.isfinite(weight) and weight > 0):
            raise BadWeights(
                f"Version {version} has the weight {weight!r}.",
                hint="Give each version a number above 0, and leave out versions that get no traffic.",
            )
