"""`inhouse llm`: language models."""

import typer

from inhouse.cli.connection import Connection
from inhouse.cli.output import say, show

commands = typer.Typer(help="Connect language models.", no_args_is_help=True)
_COLUMNS = {"name": "Name", "url": "URL", "model": "Model", "models": "Models"}


@commands.command("ls")
def list_servers(context: typer.Context) -> None:
    """List the connected model servers."""
    connection: Connection = context.obj
    show(connection.output, connection.client.upstreams.list(), _COLUMNS)


@commands.command()
def connect(
    context: typer.Context,
    url: str,
    name: str = typer.Option("llm", help="What to call it."),
    secret: str = typer.Option("", "--secret", envvar="INHOUSE_LLM_KEY", help="Its API key, if it wants one."),
    model: str = typer.Option("", help="Which of its models; the first by default."),
) -> None:
    """Connect an OpenAI-compatible server, such as http://127.0.0.1:11434/v1."""
    connection: Connection = context.obj
    show(connection.output, [connection.client.upstreams.connect(name, url, key=secret, model=model)], _COLUMNS)


@commands.command()
def disconnect(context: typer.Context, name: str) -> None:
    """Disconnect a model server."""
    connection: Connection = context.obj
    connection.client.upstreams.disconnect(name)
    say.print(f"Disconnected {name!r}.")


@commands.command()
def discover(context: typer.Context) -> None:
    """Look for model servers beside the platform (a local Ollama)."""
    connection: Connection = context.obj
    show(connection.output, connection.client.upstreams.discover(), {"url": "URL", "models": "Models"})
