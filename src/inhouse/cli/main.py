"""`inhouse`: one command line for the whole platform."""

import sys

import typer

from inhouse import __version__
from inhouse.cli import app as app_commands
from inhouse.cli import (
    data,
    demo,
    doctor,
    feedback,
    gateway,
    key,
    knowledge,
    label,
    llm,
    loop,
    model,
    search,
    train,
    up,
    user,
)
from inhouse.cli.connection import Connection
from inhouse.cli.output import show_error
from inhouse.core.errors import InhouseError

app = typer.Typer(
    name="inhouse",
    help="Own the models behind your AI apps: train, serve and orchestrate them in one closed loop.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    url: str = typer.Option("", help="The server to talk to; INHOUSE_URL, or the one on this machine."),
    api_key: str = typer.Option("", "--key", help="The API key; INHOUSE_KEY, or the data directory's admin key."),
    home: str = typer.Option("", help="The data directory; INHOUSE_HOME, or ./var."),
    output: str = typer.Option("table", "-o", "--output", help="table or json."),
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    """Options before the command hold for every command."""
    context.obj = Connection(url=url, key=api_key, home=home, output=output)
    context.call_on_close(context.obj.close)


app.command("up")(up.up)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.command("ask")(app_commands.ask)
app.add_typer(data.commands, name="data")
app.add_typer(label.commands, name="label")
train.commands.command("search")(search.search)
train.commands.command("studies")(search.studies)
app.add_typer(train.commands, name="train")
app.add_typer(model.commands, name="model")
app.add_typer(knowledge.commands, name="kb")
app.add_typer(app_commands.commands, name="app")
app.add_typer(feedback.commands, name="feedback")
app.add_typer(loop.commands, name="loop")
app.add_typer(llm.commands, name="llm")
app.add_typer(gateway.commands, name="gateway")
app.add_typer(key.commands, name="key")
app.add_typer(user.commands, name="user")


def main() -> None:
    """Run the command line; deliberate errors become one clear message and an exit code."""
    try:
        app()
    except InhouseError as error:
        sys.exit(show_error(error))
    except BrokenPipeError:
        sys.exit(0)


if __name__ == "__main__":
    main()
