"""`inhouse user`: people who sign in."""

import typer

from inhouse.cli.connection import Connection
from inhouse.cli.output import say, show

commands = typer.Typer(help="Add users and make login links.", no_args_is_help=True)


@commands.command("ls")
def list_users(context: typer.Context) -> None:
    """List the users."""
    connection: Connection = context.obj
    show(connection.output, connection.client.users.list(), {"name": "Name", "role": "Role", "disabled": "Disabled"})


@commands.command()
def add(
    context: typer.Context,
    name: str,
    role: str = typer.Option("user", help="admin, builder, annotator, viewer or user."),
) -> None:
    """Add a user and print a link that signs them in once."""
    connection: Connection = context.obj
    connection.client.users.create(name, role=role)
    _print_link(connection, name)


@commands.command()
def link(context: typer.Context, name: str = typer.Argument("admin")) -> None:
    """Print a link that signs a user in once, within a day."""
    _print_link(context.obj, name)


def _print_link(connection: Connection, name: str) -> None:
    path = connection.client.users.link(name)
    say.print("Opens once, within a day:")
    print(f"{connection.url}{path}")
