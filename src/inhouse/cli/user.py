"""`inhouse user`: people who sign in."""

import typer

from inhouse.cli.connection import Connection
from inhouse.cli.output import say, show

commands = typer.Typer(help="Add users and make login links.", no_args_is_help=True)


@commands.command("ls")
def list_users(context: typer.Context) -> None:
    """List the users."""
    connection: Connection = context.obj
    columns = {"name": "Name", "role": "Role", "team": "Team", "disabled": "Disabled"}
    show(connection.output, connection.client.users.list(), columns)


@commands.command()
def add(
    context: typer.Context,
    name: str,
    role: str = typer.Option("user", help="admin, builder, annotator, viewer or user."),
    team: str = typer.Option("", help="The team that limits and budgets count the user to."),
) -> None:
    """Add a user and print a link that signs them in once."""
    connection: Connection = context.obj
    connection.client.users.create(name, role=role, team=team)
    _print_link(connection, name)


@commands.command()
def link(context: typer.Context, name: str = typer.Argument("admin")) -> None:
    """Print a link that signs a user in once, within a day."""
    _print_link(context.obj, name)


@commands.command()
def disable(context: typer.Context, name: str) -> None:
    """Stop a user's sessions and keys at once."""
    connection: Connection = context.obj
    connection.client.users.disable(name)
    say.print(f"Disabled {name!r}: sessions and keys have stopped.")


@commands.command()
def enable(context: typer.Context, name: str) -> None:
    """Let a disabled user in again."""
    connection: Connection = context.obj
    connection.client.users.enable(name)
    say.print(f"Enabled {name!r}.")


@commands.command()
def team(context: typer.Context, name: str, team: str = typer.Argument("", help="None by default.")) -> None:
    """Put a user into a team, or take them out of theirs."""
    connection: Connection = context.obj
    connection.client.users.set_team(name, team)
    say.print(f"{name!r} is in the team {team!r}." if team else f"{name!r} is in no team.")


def _print_link(connection: Connection, name: str) -> None:
    path = connection.client.users.link(name)
    say.print("Opens once, within a day:")
    print(f"{connection.url}{path}")
