"""`inhouse doctor`: is this machine fit?"""

import importlib.metadata
import os
import platform
import shutil
import socket
import sqlite3
from collections.abc import Iterator

import typer

from inhouse.cli.connection import Connection
from inhouse.cli.output import show
from inhouse.core.settings import load_settings

FREE_DISK_GB = 2
_PACKAGES = ("torch", "transformers", "onnxruntime", "dbos", "sqlalchemy", "uvicorn")


def doctor(context: typer.Context) -> None:
    """Check versions, disk, memory and the port. Exit code 1 when something is wrong."""
    connection: Connection = context.obj
    rows = list(_checks(connection))
    show(connection.output, rows, {"check": "Check", "found": "Found", "ok": "OK"})
    if not all(row["ok"] for row in rows):
        raise typer.Exit(1)


def _checks(connection: Connection) -> Iterator[dict[str, object]]:
    settings = load_settings(home=connection.home)
    yield _row("Python", platform.python_version())
    for package in _PACKAGES:
        yield _row(package, importlib.metadata.version(package))
    yield _row("SQLite", sqlite3.sqlite_version)
    yield _row("Processors", len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    existing = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    free_gb = shutil.disk_usage(existing).free / 1e9
    yield _row(f"Free disk at {existing}", f"{free_gb:.0f} GB", free_gb >= FREE_DISK_GB)
    yield _row(f"{existing} can be written", "", os.access(existing, os.W_OK))
    with socket.socket() as probe:
        taken = probe.connect_ex((settings.host, settings.port)) == 0
    yield _row(f"Port {settings.port}", "in use (a running server?)" if taken else "free")


def _row(check: str, found: object, ok: bool = True) -> dict[str, object]:
    return {"check": check, "found": found, "ok": ok}
