"""Studies in the database. Their trials are runs."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from inhouse.core.principal import Principal
from inhouse.training.store import Run, runs, studies

ENDED = frozenset({"succeeded", "failed", "stopped"})


@dataclass(frozen=True, slots=True)
class Study:
    """A search for settings. `status` is queued, running, stopping, succeeded, failed or stopped.

    `budget` says how many `trials`, how many `minutes` (0 is no limit), how many `parallel`, and which `pruner`.
    """

    id: str
    workspace_id: str
    owner_id: str
    created_at: float
    recipe: str
    config: dict[str, Any]
    space: dict[str, Any]
    dataset: str
    dataset_version: int
    model: str
    seed: int
    objective: str
    budget: dict[str, Any]
    status: str = "queued"
    error: str = ""
    best_run: str | None = None
    model_version: int | None = None
    started_at: float | None = None
    ended_at: float | None = None

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED


def insert_study(conn: Connection, study: Study) -> None:
    conn.execute(insert(studies).values(**asdict(study)))


def find_study(conn: Connection, principal: Principal, study_id: str) -> Study | None:
    query = select(studies).where(studies.c.workspace_id == principal.workspace_id, studies.c.id == study_id)
    row = conn.execute(query).first()
    return _study(row) if row else None


def list_studies(conn: Connection, principal: Principal, *, limit: int) -> list[Study]:
    """Newest first."""
    query = select(studies).where(studies.c.workspace_id == principal.workspace_id)
    rows = conn.execute(query.order_by(studies.c.created_at.desc(), studies.c.id.desc()).limit(limit))
    return [_study(row) for row in rows]


def unfinished(conn: Connection) -> list[Study]:
    """Those of every workspace that are not over."""
    return [_study(row) for row in conn.execute(select(studies).where(studies.c.status.not_in(ENDED)))]


def update_study(conn: Connection, study: Study, **changes: Any) -> Study:
    mine = (studies.c.workspace_id == study.workspace_id, studies.c.id == study.id)
    conn.execute(update(studies).where(*mine).values(**changes))
    return replace(study, **changes)


def trials_of(conn: Connection, principal: Principal, study_id: str) -> list[Run]:
    """The runs of a study, in their order."""
    query = select(runs).where(runs.c.workspace_id == principal.workspace_id, runs.c.study_id == study_id)
    columns = [column.name for column in fields(Run)]
    rows = conn.execute(query.order_by(runs.c.trial))
    return [Run(**{name: row._mapping[name] for name in columns}) for row in rows]


def note_version(conn: Connection, run: Run, number: int) -> None:
    """Write on the best run which version it became."""
    mine = (runs.c.workspace_id == run.workspace_id, runs.c.id == run.id)
    conn.execute(update(runs).where(*mine).values(model_version=number))


def _study(row: Row[Any]) -> Study:
    return Study(**{column.name: row._mapping[column.name] for column in fields(Study)})
