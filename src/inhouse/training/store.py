"""Training runs in the database. Events, checkpoints and logs are files in the run's directory."""

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from sqlalchemy import Column, Connection, Float, Index, Integer, Row, String, Text, insert, select, update

from inhouse.core.db import Json, owned
from inhouse.core.principal import Principal

ENDED = frozenset({"succeeded", "failed", "stopped"})

runs = owned(
    "runs",
    Column("id", String(64), primary_key=True),
    Column("recipe", String(120), nullable=False),
    Column("config", Json, nullable=False),
    Column("dataset", String(120), nullable=False),
    Column("dataset_version", Integer, nullable=False),
    Column("model", String(120), nullable=False),
    Column("seed", Integer, nullable=False),
    Column("status", String(20), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Column("metrics", Json, nullable=False),
    Column("model_version", Integer),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("processes", Integer, nullable=False, server_default="1"),
    Column("study_id", String(64)),
    Column("trial", Integer),
    Index(None, "workspace_id", "created_at"),
    Index(None, "study_id"),
)
studies = owned(
    "studies",
    Column("id", String(64), primary_key=True),
    Column("recipe", String(120), nullable=False),
    Column("config", Json, nullable=False),
    Column("space", Json, nullable=False),
    Column("dataset", String(120), nullable=False),
    Column("dataset_version", Integer, nullable=False),
    Column("model", String(120), nullable=False),
    Column("seed", Integer, nullable=False),
    Column("objective", String(64), nullable=False),
    Column("budget", Json, nullable=False),
    Column("status", String(20), nullable=False),
    Column("error", Text, nullable=False),
    Column("best_run", String(64)),
    Column("model_version", Integer),
    Column("started_at", Float),
    Column("ended_at", Float),
    Index(None, "workspace_id", "created_at"),
)


@dataclass(frozen=True, slots=True)
class Run:
    """One training run. `status` is queued, running, succeeded, failed or stopped; each resume is one more attempt."""

    id: str
    workspace_id: str
    owner_id: str
    created_at: float
    recipe: str
    config: dict[str, Any]
    dataset: str
    dataset_version: int
    model: str
    seed: int
    status: str = "queued"
    attempt: int = 1
    error: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    model_version: int | None = None
    started_at: float | None = None
    ended_at: float | None = None
    processes: int = 1
    study_id: str | None = None
    trial: int | None = None

    @property
    def name(self) -> str:
        return f"{self.model} on {self.dataset}@v{self.dataset_version}"

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED


def insert_run(conn: Connection, run: Run) -> None:
    conn.execute(insert(runs).values(**asdict(run)))


def find_run(conn: Connection, principal: Principal, run_id: str) -> Run | None:
    query = select(runs).where(runs.c.workspace_id == principal.workspace_id, runs.c.id == run_id)
    row = conn.execute(query).first()
    return _run(row) if row else None


def list_runs(conn: Connection, principal: Principal, *, limit: int) -> list[Run]:
    """Newest first."""
    query = select(runs).where(runs.c.workspace_id == principal.workspace_id)
    return [_run(row) for row in conn.execute(query.order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(limit))]


def unfinished(conn: Connection) -> list[Run]:
    """The queued and running runs of every workspace."""
    return [_run(row) for row in conn.execute(select(runs).where(runs.c.status.not_in(ENDED)))]


def update_run(conn: Connection, run: Run, **changes: Any) -> Run:
    """Change a run that `find_run` gave."""
    conn.execute(update(runs).where(runs.c.workspace_id == run.workspace_id, runs.c.id == run.id).values(**changes))
    return replace(run, **changes)


def _run(row: Row[Any]) -> Run:
    return Run(**{column.name: row._mapping[column.name] for column in fields(Run)})
