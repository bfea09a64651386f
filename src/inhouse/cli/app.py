"""`inhouse app` and `inhouse ask`: chat apps."""

from pathlib import Path

import typer

from inhouse.cli.connection import Connection
from inhouse.cli.output import say, show

commands = typer.Typer(help="Import workflows and publish them as apps.", no_args_is_help=True)


@commands.command("ls")
def list_apps(context: typer.Context) -> None:
    """List the apps."""
    connection: Connection = context.obj
    columns = {"name": "App", "workflow": "Workflow", "title": "Title"}
    show(connection.output, connection.client.apps.list(), columns)


@commands.command("import")
def import_workflow(
    context: typer.Context,
    file: Path,
    name: str = typer.Option(..., help="Name of the workflow and of its app."),
    title: str = typer.Option("", help="Title shown to users."),
    note: str = typer.Option("", help="What changed."),
) -> None:
    """Save a workflow FILE (YAML) as the next version, and publish it as an app if it is new."""
    from inhouse.core.errors import NotFound

    connection: Connection = context.obj
    version = connection.client.workflows.save(name, file.read_text(encoding="utf-8"), note=note)
    try:
        connection.client.apps.get(name)
    except NotFound:
        connection.client.apps.create(name, name, title=title or name)
    show(connection.output, [version], {"name": "Workflow", "number": "Version", "note": "Note"})


def ask(
    context: typer.Context,
    question: str,
    app: str = typer.Option("", help="The app; the one published first by default."),
) -> None:
    """Ask an app a question and print the answer with its sources."""
    connection: Connection = context.obj
    answer = connection.client.apps.ask(question, app=app)
    if connection.output == "json":
        show("json", answer, {})
        return
    print(answer["answer"])
    for source in answer["sources"]:
        page = f", page {source['page']}" if source["page"] else ""
        say.print(f"  [{source['n']}] {source['document']}{page}", markup=False)
