"""`inhouse train search`: look for good settings."""

from typing import Any

import typer

from inhouse.cli.connection import Connection
from inhouse.cli.output import say, show

_COLUMNS = {"id": "Study", "model": "Model", "status": "Status", "model_version": "Version", "error": "Error"}
_TRIALS = {"number": "Trial", "state": "State", "value": "Dev", "config": "Settings", "run_id": "Run"}


def search(
    context: typer.Context,
    dataset: str,
    model: str = typer.Option(..., help="Name of the model to make a version of."),
    recipe: str = typer.Option("classify", help="How to train."),
    version: int = typer.Option(None, help="Dataset version; the latest by default."),
    setting: list[str] = typer.Option([], "--set", help="A setting that is settled, such as epochs=5."),
    where: list[str] = typer.Option(
        [], "--search", help="A setting to search: NAME=LOW..HIGH, NAME=LOW..HIGH:log or NAME=A,B,C."
    ),
    trials: int = typer.Option(20, help="Most trainings."),
    minutes: float = typer.Option(0.0, help="Most minutes; 0 is no limit."),
    parallel: int = typer.Option(1, help="Trainings at a time."),
    objective: str = typer.Option("accuracy", help="accuracy or loss, on the dev rows."),
    pruner: str = typer.Option("median", help="median, halving or none: how the hopeless ones are ended early."),
    seed: int = typer.Option(0, help="The same seed and history give the same suggestions."),
    follow: bool = typer.Option(True, help="Watch it to its end."),
) -> None:
    """Search the settings of a recipe on DATASET; the best trial becomes a version of the model."""
    connection: Connection = context.obj
    study = connection.client.studies.start(
        dataset=dataset,
        model=model,
        recipe=recipe,
        version=version,
        config=dict(_settled(text) for text in setting),
        space=dict(_searched(text) for text in where),
        seed=seed,
        trials=trials,
        minutes=minutes,
        parallel=parallel,
        objective=objective,
        pruner=pruner,
    )
    if follow:
        seen: set[int] = set()

        def tell(now: Any) -> None:
            for trial in now["trials"]:
                if trial["state"] != "running" and trial["number"] not in seen:
                    seen.add(trial["number"])
                    value = "" if trial["value"] is None else f" {trial['value']:.4g}"
                    say.print(f"trial {trial['number']} {trial['state']}{value}  {trial['config']}", markup=False)

        study = connection.client.studies.wait(study["id"], each=tell)
    show(connection.output, study if connection.output == "json" else [study], _COLUMNS)


def studies(
    context: typer.Context,
    study: str = typer.Argument("", help="Show the trials of this one."),
    stop: bool = typer.Option(False, "--stop", help="End it, and keep the best so far."),
) -> None:
    """List the searches, or show one."""
    connection: Connection = context.obj
    if not study:
        show(connection.output, connection.client.studies.list(), _COLUMNS)
        return
    found = connection.client.studies.stop(study) if stop else connection.client.studies.get(study)
    if connection.output == "json":
        show("json", found, {})
        return
    show("table", [found], _COLUMNS)
    if found["trials"]:
        show("table", found["trials"], _TRIALS)


def _settled(text: str) -> tuple[str, object]:
    name, value = _named(text)
    return name, _value(value)


def _searched(text: str) -> tuple[str, dict[str, object]]:
    name, value = _named(text)
    if ".." in value:
        ends, _, kind = value.partition(":")
        low, _, high = ends.partition("..")
        return name, {"low": _value(low), "high": _value(high), "log": kind == "log"}
    return name, {"choices": [_value(choice) for choice in value.split(",")]}


def _named(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE.")
    return name, value


def _value(text: str) -> object:
    """As YAML reads it, which takes 1e-4 for a text."""
    import yaml

    try:
        return float(text) if "e" in text.lower() else yaml.safe_load(text)
    except ValueError:
        return yaml.safe_load(text)
