"""`inhouse kb`: knowledge bases."""

from collections.abc import Sequence
from pathlib import Path

import typer

from inhouse.cli.connection import Connection
from inhouse.cli.output import say, show

commands = typer.Typer(help="Add documents to knowledge bases and search them.", no_args_is_help=True)
BEGINNING = 200
_DOCUMENTS = {"name": "Document", "status": "Status", "pages": "Pages", "chunks": "Passages", "error": "Error"}


@commands.command("ls")
def list_bases(context: typer.Context) -> None:
    """List the knowledge bases."""
    connection: Connection = context.obj
    show(connection.output, connection.client.knowledge.list(), {"name": "Name", "documents": "Documents"})


@commands.command()
def create(context: typer.Context, name: str, description: str = "") -> None:
    """Make a knowledge base."""
    connection: Connection = context.obj
    show(connection.output, [connection.client.knowledge.create(name, description)], {"name": "Name"})


@commands.command()
def add(context: typer.Context, name: str, files: list[Path]) -> None:
    """Upload FILES and wait until they are indexed."""
    connection: Connection = context.obj
    connection.client.knowledge.upload(name, *files)
    documents = connection.client.knowledge.wait(name)
    show(connection.output, documents, _DOCUMENTS)
    if failed := _failed(documents):
        say.print(f"{failed} documents could not be read; the reasons are in the table.")
        raise typer.Exit(1)


@commands.command()
def documents(context: typer.Context, name: str) -> None:
    """List the documents of a knowledge base."""
    connection: Connection = context.obj
    show(connection.output, connection.client.knowledge.documents(name), _DOCUMENTS)


@commands.command()
def search(context: typer.Context, name: str, query: str, top_k: int = 4) -> None:
    """Find passages."""
    connection: Connection = context.obj
    found = connection.client.knowledge.search(name, query, top_k=top_k)
    say.print(f"Coverage {found['coverage']:.2f}, {'answerable' if found['answerable'] else 'not answerable'}.")
    if connection.output == "json":
        show("json", found, {})
        return
    columns = {"document": "Document", "page": "Page", "score": "Score", "text": "Text"}
    show("table", [{**passage, "text": _beginning(passage["text"])} for passage in found["passages"]], columns)


def _beginning(text: str) -> str:
    return text if len(text) <= BEGINNING else f"{text[:BEGINNING]}…"


def _failed(documents: Sequence[object]) -> int:
    return sum(isinstance(one, dict) and one["status"] == "failed" for one in documents)
