"""Rows of every form, labelling, search, and what is known of a model version: variants, evaluations, protection."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

Json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def _owned() -> list[sa.Column]:
    return [
        sa.Column("workspace_id", sa.String(length=64), nullable=False),
        sa.Column("owner_id", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
    ]


def upgrade() -> None:
    # With defaults: the release before this one goes on inserting rows without them.
    op.add_column("dataset_versions", sa.Column("form", sa.String(length=16), nullable=False, server_default="text"))
    op.add_column("dataset_versions", sa.Column("origin", Json, nullable=False, server_default="{}"))
    op.add_column("dataset_versions", sa.Column("erased", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("model_versions", sa.Column("is_protected", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("model_versions", sa.Column("note", sa.Text(), nullable=False, server_default=""))
    op.add_column("runs", sa.Column("processes", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("runs", sa.Column("study_id", sa.String(length=64)))
    op.add_column("runs", sa.Column("trial", sa.Integer()))
    op.create_index(op.f("ix_runs_study_id"), "runs", ["study_id"])
    _labelling()
    _models()
    op.create_table(
        "studies",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("recipe", sa.String(length=120), nullable=False),
        sa.Column("config", Json, nullable=False),
        sa.Column("space", Json, nullable=False),
        sa.Column("dataset", sa.String(length=120), nullable=False),
        sa.Column("dataset_version", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(length=120), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("objective", sa.String(length=64), nullable=False),
        sa.Column("budget", Json, nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("best_run", sa.String(length=64)),
        sa.Column("model_version", sa.Integer()),
        sa.Column("started_at", sa.Float()),
        sa.Column("ended_at", sa.Float()),
        *_owned(),
        sa.PrimaryKeyConstraint("id", name="pk_studies"),
    )
    op.create_index(op.f("ix_studies_workspace_id_created_at"), "studies", ["workspace_id", "created_at"])


def _labelling() -> None:
    op.create_table(
        "label_queues",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("dataset", sa.String(length=120), nullable=False),
        sa.Column("form", sa.String(length=16), nullable=False),
        sa.Column("labels", Json, nullable=False),
        sa.Column("guidelines", sa.Text(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("annotators", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        *_owned(),
        sa.PrimaryKeyConstraint("id", name="pk_label_queues"),
    )
    op.create_index(op.f("ix_label_queues_workspace_id_name"), "label_queues", ["workspace_id", "name"], unique=True)
    op.create_table(
        "label_tasks",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("queue_id", sa.String(length=64), nullable=False),
        sa.Column("example", Json, nullable=False),
        sa.Column("prediction", Json),
        sa.Column("uncertainty", sa.Float(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("final", Json),
        sa.Column("claimed_by", sa.String(length=64), nullable=False),
        sa.Column("claimed_until", sa.Float(), nullable=False),
        *_owned(),
        sa.PrimaryKeyConstraint("id", name="pk_label_tasks"),
        sa.ForeignKeyConstraint(["queue_id"], ["label_queues.id"], name="fk_label_tasks_queue_id_label_queues"),
    )
    op.create_index(
        op.f("ix_label_tasks_queue_id_status_uncertainty"), "label_tasks", ["queue_id", "status", "uncertainty"]
    )
    op.create_table(
        "label_answers",
        sa.Column("task_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("answer", Json, nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        *_owned(),
        sa.PrimaryKeyConstraint("task_id", "user_id", name="pk_label_answers"),
        sa.ForeignKeyConstraint(["task_id"], ["label_tasks.id"], name="fk_label_answers_task_id_label_tasks"),
    )


def _models() -> None:
    op.create_table(
        "model_variants",
        sa.Column("model_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("variant", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("figures", Json, nullable=False),
        *_owned(),
        sa.PrimaryKeyConstraint("model_id", "number", "variant", name="pk_model_variants"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_model_variants_model_id_models"),
    )
    op.create_table(
        "model_evaluations",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("model_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("dataset", sa.String(length=120), nullable=False),
        sa.Column("dataset_version", sa.Integer(), nullable=False),
        sa.Column("split", sa.String(length=20), nullable=False),
        sa.Column("metrics", Json, nullable=False),
        sa.Column("report", sa.String(length=80), nullable=False),
        *_owned(),
        sa.PrimaryKeyConstraint("id", name="pk_model_evaluations"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_model_evaluations_model_id_models"),
    )
    op.create_index(op.f("ix_model_evaluations_model_id_number"), "model_evaluations", ["model_id", "number"])
