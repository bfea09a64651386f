"""`inhouse loop`: from accepted corrections to the next version."""

import typer

from inhouse.cli.connection import Connection
from inhouse.cli.output import say, show

commands = typer.Typer(help="Retrain, judge, release and roll back.", no_args_is_help=True)
_RELEASE = {
    "id": "Release",
    "model": "Model",
    "live": "Live",
    "candidate": "Candidate",
    "share": "Share",
    "status": "Status",
    "reason": "Reason",
}


@commands.command()
def status(context: typer.Context) -> None:
    """Show where the loop stands and what to do next."""
    connection: Connection = context.obj
    state = connection.client.loop.state()
    if connection.output == "json":
        show("json", state, {})
        return
    rows = [{"stage": stage, **counts} for stage, counts in state["stages"].items()]
    show(connection.output, rows, {"stage": "Stage", "count": "Count", "detail": "Of which"})
    if state["next"]:
        say.print(f"Next: {state['next']['action']} ({state['next']['count']})")


@commands.command()
def dataset(context: typer.Context, model: str) -> None:
    """Make a dataset version of the live one's rows and the accepted corrections."""
    connection: Connection = context.obj
    made = connection.client.loop.dataset(model)
    for text in made["held_out"]:
        say.print(f"Left out, since it is a test row: {text}", markup=False)
    show(connection.output, [made["version"]], {"reference": "Dataset", "count": "Examples", "splits": "Splits"})


@commands.command()
def retrain(context: typer.Context, model: str) -> None:
    """Train the model again on the newest dataset version."""
    connection: Connection = context.obj
    show(connection.output, [connection.client.loop.retrain(model)], {"id": "Run", "name": "What", "status": "Status"})


@commands.command()
def gate(context: typer.Context, model: str, candidate: int) -> None:
    """Compare CANDIDATE with the live version. Exit code 1 unless it may be promoted."""
    connection: Connection = context.obj
    verdict = connection.client.loop.gate(model, candidate)
    if connection.output == "json":
        show("json", verdict, {})
    else:
        say.print(f"{verdict['decision'].upper()}: version {candidate} beside live version {verdict['live']}")
        show(connection.output, verdict["reasons"], {"code": "Finding", "decision": "Says", "figures": "Figures"})
    if verdict["decision"] != "promote":
        raise typer.Exit(1)


@commands.command()
def release(
    context: typer.Context, model: str, version: int, share: float = typer.Option(0.2, help="Of the traffic, 0 to 1.")
) -> None:
    """Give an approved version a share of the traffic."""
    connection: Connection = context.obj
    show(connection.output, [connection.client.releases.start(model, version, share=share)], _RELEASE)


@commands.command()
def releases(context: typer.Context) -> None:
    """List the releases, newest first."""
    connection: Connection = context.obj
    show(connection.output, connection.client.releases.list(), _RELEASE)


@commands.command()
def promote(context: typer.Context, release: str) -> None:
    """Give a canary all of the traffic."""
    connection: Connection = context.obj
    show(connection.output, [connection.client.releases.promote(release)], _RELEASE)


@commands.command()
def rollback(context: typer.Context, release: str, reason: str = typer.Option("", help="Why.")) -> None:
    """Give the former version all of the traffic again."""
    connection: Connection = context.obj
    show(connection.output, [connection.client.releases.rollback(release, reason=reason)], _RELEASE)
