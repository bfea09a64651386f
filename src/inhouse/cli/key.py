"""`inhouse key`: API keys."""

import typer

from inhouse.cli.connection import Connection
from inhouse.cli.output import say, show

commands = typer.Typer(help="Make and revoke API keys.", no_args_is_help=True)
_COLUMNS = {"id": "Key", "name": "Name", "scopes": "Permissions"}


@commands.command("ls")
def list_keys(context: typer.Context) -> None:
    """List the keys. The keys themselves are shown only when they are made."""
    connection: Connection = context.obj
    show(connection.output, connection.client.keys.list(), _COLUMNS)


@commands.command()
def create(
    context: typer.Context,
    name: str,
    scope: list[str] = typer.Option(["app:use", "chat:run", "predict:run"], help="A permission; repeat it."),
) -> None:
    """Make a key and print it, this once."""
    connection: Connection = context.obj
    made = connection.client.keys.create(name, scope)
    if connection.output == "json":
        show("json", made, {})
        return
    say.print(f"Key {made['id']} with {', '.join(made['scopes'])}; it is shown this once:")
    print(made["key"])


@commands.command()
def revoke(context: typer.Context, key: str) -> None:
    """Revoke a key at once."""
    connection: Connection = context.obj
    connection.client.keys.revoke(key)
    say.print(f"Revoked {key!r}.")
