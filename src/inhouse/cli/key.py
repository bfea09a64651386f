"""`inhouse key`: API keys."""

import re

import typer

from inhouse.cli.connection import Connection
from inhouse.cli.output import say, show
from inhouse.core.errors import Invalid
from inhouse.core.ids import now

_UNITS_S = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}

commands = typer.Typer(help="Make and revoke API keys.", no_args_is_help=True)
_COLUMNS = {
    "id": "Key",
    "name": "Name",
    "scopes": "Permissions",
    "models": "Models",
    "team": "Team",
    "priority": "Priority",
}


class NoDuration(Invalid):
    """A time span that cannot be read."""


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
    models: list[str] = typer.Option([], help="A model that it may use, such as chat-*; repeat it. All by default."),
    team: str = typer.Option("", help="The team that it counts to; your own by default."),
    expires: str = typer.Option("", help="When it ends: in 12h, 30d or 1y, say. Never by default."),
    priority: int = typer.Option(0, help="Higher goes first where requests queue."),
) -> None:
    """Make a key and print it, this once."""
    connection: Connection = context.obj
    expires_at = now() + _seconds(expires) if expires else None
    made = connection.client.keys.create(
        name, scope, expires_at=expires_at, models=models, team=team, priority=priority
    )
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


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d{1,6})([mhdwy])", text)
    if found is None:
        raise NoDuration(f"{text!r} is no time span.", hint="Write 30m, 12h, 30d, 4w or 1y.")
    return float(found[1]) * _UNITS_S[found[2]]
