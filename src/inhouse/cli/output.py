"""What commands print: data on stdout, everything else on stderr, errors as one clear message."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from inhouse.core.errors import InhouseError

say = Console(stderr=True, highlight=False)
"""For people: progress, notes, errors."""

_WHOLE = frozenset({"id", "name", "reference", "request_id", "status"})
"""Columns that are copied into the next command: never broken over lines."""

_EXIT_CODES = {"denied": 4, "limit_exceeded": 7}


def show(connection_output: str, items: Any, columns: Mapping[str, str]) -> None:
    """Print rows as a table with these columns (key -> heading), or everything as JSON."""
    if connection_output == "json":
        print(json.dumps(items, ensure_ascii=False, indent=2))
        return
    cells = [{key: _cell(row.get(key)) for key in columns} for row in items]
    used = [key for key in columns if not cells or any(row[key] for row in cells)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for key in used:
        table.add_column(columns[key], overflow="fold", no_wrap=key in _WHOLE)
    for row in cells:
        table.add_row(*(Text(row[key]) for key in used))  # as it is: brackets in it are no markup
    Console(highlight=False).print(table)


def show_error(error: InhouseError) -> int:
    """Print what happened and what to do, and return the exit code of its kind."""
    if not sys.stderr.isatty() and "json" in sys.argv:
        print(json.dumps(error.wire(), ensure_ascii=False), file=sys.stderr)
    else:
        say.print("Error:", style="red", end=" ")
        say.print(error.message, markup=False)
        if error.hint:
            say.print(f"  {error.hint}", markup=False)
    return _EXIT_CODES.get(error.kind, 1)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_cell(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value))
    return str(value)
