"""`inhouse feedback`: the inbox."""

import typer

from inhouse.cli.connection import Connection
from inhouse.cli.output import show

commands = typer.Typer(help="Review what users think of answers.", no_args_is_help=True)
_COLUMNS = {"id": "Feedback", "rating": "Rating", "question": "Question", "said": "Answered as", "label": "Correction"}


@commands.command("ls")
def inbox(context: typer.Context, status: str = typer.Option("open", help="open, accepted or rejected.")) -> None:
    """List feedback, the most useful first."""
    connection: Connection = context.obj
    items = connection.client.feedback.list(status)
    if connection.output == "json":
        show("json", items, {})
        return
    rows = [
        {**item, "question": item["message"]["query"], "said": (item["message"]["intent"] or {}).get("label")}
        for item in items
    ]
    show(connection.output, rows, _COLUMNS)


@commands.command()
def accept(context: typer.Context, feedback: str, label: str = typer.Option(None, help="The right label.")) -> None:
    """Make a correction a golden case and training data."""
    connection: Connection = context.obj
    show(connection.output, [connection.client.loop.accept(feedback, label)], {"id": "Feedback", "status": "Status"})


@commands.command()
def reject(context: typer.Context, feedback: str) -> None:
    """Leave a correction out."""
    connection: Connection = context.obj
    show(connection.output, [connection.client.loop.reject(feedback)], {"id": "Feedback", "status": "Status"})
