"""`inhouse data`: datasets."""

from pathlib import Path

import typer

from inhouse.cli.connection import Connection
from inhouse.cli.output import say, show

commands = typer.Typer(help="Import, look at and extend datasets.", no_args_is_help=True)


@commands.command("ls")
def list_datasets(context: typer.Context) -> None:
    """List the datasets."""
    connection: Connection = context.obj
    columns = {"reference": "Dataset", "count": "Examples", "splits": "Splits", "note": "Note"}
    show(connection.output, connection.client.datasets.list(), columns)


@commands.command()
def preview(
    context: typer.Context,
    file: Path,
    text: str = typer.Option("", help="Column with the texts."),
    label: str = typer.Option("", help="Column with the labels."),
) -> None:
    """Say what an import of FILE would bring, with every bad row."""
    connection: Connection = context.obj
    found = connection.client.datasets.preview(file, _mapping(text, label))
    if connection.output == "json":
        show("json", found, {})
        return
    say.print(f"{found['count']} examples, {len(found['labels'])} labels, {found['encoding']} {found['format']}.")
    for warning in found["warnings"]:
        say.print(warning)
    show(connection.output, found["problems"], {"row": "Row", "column": "Column", "message": "Problem"})


@commands.command("import")
def import_file(
    context: typer.Context,
    file: Path,
    name: str = typer.Option(..., help="Name of the new dataset."),
    text: str = typer.Option("", help="Column with the texts."),
    label: str = typer.Option("", help="Column with the labels."),
    skip_bad_rows: bool = typer.Option(False, help="Leave bad rows out instead of refusing the file."),
) -> None:
    """Import a CSV, JSON or JSON-lines FILE as a new dataset: all rows or none."""
    connection: Connection = context.obj
    made = connection.client.datasets.create(name, file, _mapping(text, label), skip_bad_rows=skip_bad_rows)
    show(connection.output, [made], {"reference": "Dataset", "count": "Examples", "splits": "Splits"})


@commands.command("show")
def show_dataset(context: typer.Context, name: str) -> None:
    """Show the versions of a dataset."""
    connection: Connection = context.obj
    columns = {"reference": "Version", "count": "Examples", "splits": "Splits", "note": "Note"}
    show(connection.output, connection.client.datasets.get(name)["versions"], columns)


def _mapping(text: str, label: str) -> dict[str, str] | None:
    return {role: column for role, column in (("text", text), ("label", label)) if column} or None
