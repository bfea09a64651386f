"""`inhouse up`: run the server."""

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from inhouse.cli.connection import ADDRESS, ADMIN_KEY, Connection
from inhouse.cli.output import say, show_error
from inhouse.core import logs
from inhouse.core.errors import InhouseError, Misconfigured
from inhouse.core.settings import Settings, load_settings

if TYPE_CHECKING:
    from inhouse.server.wiring import House

ADMIN = "admin"
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class OpenWithoutPassword(Misconfigured):
    """The server was asked to listen beyond this machine while its administrator has no password."""


def up(
    context: typer.Context,
    host: str = typer.Option(None, help="Address to listen on; 127.0.0.1 by default."),
    port: int = typer.Option(None, help="Port; the next free one if it is taken."),
    home: str = typer.Option(None, help="The data directory."),
    demo: bool = typer.Option(False, "--demo", help="Set up the help-desk example on the first start."),
) -> None:
    """Run the server on this machine until Ctrl-C."""
    connection: Connection = context.obj
    settings = load_settings(host=host, port=port, home=home or connection.home)
    logs.configure(settings.log_level, stream=_log_stream(settings))
    from inhouse.server.app import serve

    async def ready(house: "House", url: str) -> None:
        await _welcome(house, url, demo=demo)

    import uvloop

    uvloop.run(serve(settings, ready, before=lambda house: prepare(house, settings)))
    sys.stdout.flush()
    os._exit(0)  # running jobs end with the process and go on after the next start


def prepare(house: "House", settings: Settings) -> None:
    """Make the administrator and their key on the first start."""
    from inhouse.access.passwords import verify_password
    from inhouse.core.principal import Principal
    from inhouse.core.secrets import write_private

    system = Principal.system()
    users = {user.name: user for user in house.identity.users(system)}
    admin = users.get(ADMIN) or house.identity.add_user(system, ADMIN, "admin")
    password = settings.admin_password.get_secret_value()
    if password and not verify_password(password, admin.password_hash):
        house.identity.set_password(system, admin.id, password)
    if settings.host not in _LOOPBACK and not (password or admin.password_hash):
        raise OpenWithoutPassword(
            f"Listening on {settings.host} needs an administrator with a password.",
            hint="Set one with INHOUSE_ADMIN_PASSWORD, or start on 127.0.0.1 and set it under Settings.",
        )
    key_file = settings.home / ADMIN_KEY
    if not key_file.exists():
        who = Principal(system.workspace_id, admin.id, system.scopes)
        _, text = house.identity.add_key(who, "admin key of this data directory", ("*",))
        write_private(key_file, text.encode() + b"\n")
        say.print(f"Admin key (shown this once, kept in {key_file}):\n  {text}", markup=False)


async def _welcome(house: "House", url: str, *, demo: bool) -> None:
    from inhouse.core.principal import Principal

    home = house.settings.home
    await asyncio.to_thread((home / ADDRESS).write_text, url + "\n")
    if demo:
        await asyncio.to_thread(_set_up_example, url, (home / ADMIN_KEY).read_text().strip())
    token = await asyncio.to_thread(house.identity.make_link, Principal.system(), ADMIN)
    print(f"inhouse is ready: {url}", flush=True)
    print(f"  Sign in once:   {url}/api/v1/auth/link?token={token}")
    print(f"  Admin key:      {home / ADMIN_KEY}")
    print("  Ctrl-C stops it.", flush=True)


def _set_up_example(url: str, key: str) -> None:
    """What is missing of the example is made at the next start; the server runs either way."""
    from inhouse.cli.helpdesk import set_up

    try:
        set_up(url, key, say.print)
    except InhouseError as error:
        say.print("The help-desk example could not be set up:")
        show_error(error)


def _log_stream(settings: Settings) -> Any:
    """Logs go to stderr, or to a file in the data directory where a person watches the terminal."""
    if not sys.stderr.isatty():
        return sys.stderr
    path = Path(settings.home) / "server.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path.open("a", encoding="utf-8")
    except OSError:
        return sys.stderr
