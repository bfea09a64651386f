"""`inhouse train`: training runs."""

from collections.abc import Mapping

import typer

from inhouse.cli.connection import Connection
from inhouse.cli.output import say, show

commands = typer.Typer(help="Start, watch, stop and resume training runs.", no_args_is_help=True)
_COLUMNS = {"id": "Run", "name": "What", "status": "Status", "model_version": "Version", "error": "Error"}


@commands.command()
def start(
    context: typer.Context,
    dataset: str,
    model: str = typer.Option(..., help="Name of the model to make a version of."),
    recipe: str = typer.Option("classify", help="How to train."),
    version: int = typer.Option(None, help="Dataset version; the latest by default."),
    setting: list[str] = typer.Option([], "--set", help="A setting of the recipe, such as epochs=10."),
    seed: int = typer.Option(0, help="The same seed gives the same model."),
    follow: bool = typer.Option(False, "-f", "--follow", help="Watch it to its end."),
) -> None:
    """Train a new version of a model on DATASET."""
    connection: Connection = context.obj
    config = dict(_setting(text) for text in setting)
    run = connection.client.runs.start(
        dataset=dataset, model=model, recipe=recipe, version=version, config=config, seed=seed
    )
    if follow:
        run = _follow(connection, run["id"])
    show(connection.output, [run], _COLUMNS)


@commands.command("ls")
def list_runs(context: typer.Context) -> None:
    """List the runs, newest first."""
    connection: Connection = context.obj
    show(connection.output, connection.client.runs.list(), _COLUMNS)


@commands.command()
def logs(
    context: typer.Context,
    run: str,
    follow: bool = typer.Option(False, "-f", "--follow", help="Go on until the run ends."),
) -> None:
    """Print what a run has reported."""
    connection: Connection = context.obj
    if follow:
        _follow(connection, run)
        return
    for event in connection.client.runs.past_events(run):
        _print_event(event)


@commands.command()
def stop(context: typer.Context, run: str) -> None:
    """Save a run's state and stop it."""
    connection: Connection = context.obj
    show(connection.output, [connection.client.runs.stop(run)], _COLUMNS)


@commands.command()
def resume(context: typer.Context, run: str) -> None:
    """Let a stopped or failed run go on from its last checkpoint."""
    connection: Connection = context.obj
    show(connection.output, [connection.client.runs.resume(run)], _COLUMNS)


def _follow(connection: Connection, run_id: str) -> dict[str, object]:
    return {**connection.client.runs.wait(run_id, each=_print_event)}


def _print_event(event: Mapping[str, object]) -> None:
    facts = {key: value for key, value in event.items() if key not in ("seq", "ts", "type", "metrics")}
    text = "  ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in facts.items()
    )
    say.print(f"{event['type']:<11} {text}", markup=False)


def _setting(text: str) -> tuple[str, object]:
    import yaml

    name, separator, value = text.partition("=")
    if not separator:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE.")
    return name, yaml.safe_load(value)
