"""`inhouse train`: training runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from inhouse.cli.connection import Connection
from inhouse.cli.output import say, show

commands = typer.Typer(help="Start, watch, stop, resume and compare training runs.", no_args_is_help=True)
STEP_EVERY_S = 1.0
_COLUMNS = {"id": "Run", "name": "What", "status": "Status", "model_version": "Version", "error": "Error"}
_HIDDEN = frozenset({"seq", "ts", "type", "metrics", "details", "code"})


@commands.command()
def start(
    context: typer.Context,
    dataset: str,
    model: str = typer.Option(..., help="Name of the model to make a version of."),
    recipe: str = typer.Option("classify", help="How to train."),
    version: int = typer.Option(None, help="Dataset version; the latest by default."),
    setting: list[str] = typer.Option([], "--set", help="A setting of the recipe, such as epochs=10."),
    seed: int = typer.Option(0, help="The same seed gives the same model."),
    processes: int = typer.Option(1, help="How many share each batch, on a GPU each if there are."),
    follow: bool = typer.Option(False, "-f", "--follow", help="Watch it to its end."),
) -> None:
    """Train a new version of a model on DATASET."""
    config = dict(_setting(text) for text in setting)
    wishes = {"dataset": dataset, "model": model, "recipe": recipe, "version": version, "config": config}
    _start(context.obj, {**wishes, "seed": seed, "processes": processes}, follow=follow)


@commands.command()
def run(
    context: typer.Context,
    file: Path,
    model: str = typer.Option("", help="Name of the model; by default the file's `model`, or its own name."),
    follow: bool = typer.Option(True, help="Watch it to its end."),
) -> None:
    """Train as FILE says: YAML with recipe, data (such as tickets@v3), base, and settings of the recipe."""
    wishes = read_wishes(file)
    _start(context.obj, {**wishes, "model": model or wishes["model"]}, follow=follow)


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
        show(connection.output, [_follow(connection, run)], _COLUMNS)
        return
    events = connection.client.runs.past_events(run)
    if connection.output == "json":
        show("json", events, {})
        return
    for event in events:
        print(worded(event))


@commands.command()
def stop(context: typer.Context, run: str) -> None:
    """Save a run's state and stop it."""
    connection: Connection = context.obj
    show(connection.output, [connection.client.runs.stop(run)], _COLUMNS)


@commands.command()
def resume(
    context: typer.Context,
    run: str,
    follow: bool = typer.Option(False, "-f", "--follow", help="Watch it to its end."),
) -> None:
    """Let a stopped or failed run go on from its last checkpoint."""
    connection: Connection = context.obj
    known = len(connection.client.runs.past_events(run)) if follow else 0
    resumed = connection.client.runs.resume(run)
    show(connection.output, [_follow(connection, run, after=known) if follow else resumed], _COLUMNS)


@commands.command()
def compare(
    context: typer.Context,
    runs: list[str],
    every: bool = typer.Option(False, "--all", help="Also the settings that are the same."),
) -> None:
    """Put RUNS side by side: the settings that differ, and what came out."""
    connection: Connection = context.obj
    found = connection.client.runs.compare(*runs)
    if connection.output == "json":
        show("json", found, {})
        return
    lines = [line for line in found["settings"] if every or line["differs"]] + found["metrics"]
    rows = [{"name": line["name"], **_by_number(line["values"])} for line in lines]
    status = {"name": "status", **_by_number([one["status"] for one in found["runs"]])}
    show("table", [status, *rows], {"name": "", **_by_number([one["id"] for one in found["runs"]])})


def read_wishes(file: Path) -> dict[str, Any]:
    """What a recipe file asks for, as `client.runs.start` takes it."""
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise typer.BadParameter(f"{str(file)!r} cannot be read: {error}") from error
    if not isinstance(content, dict) or "data" not in content:
        raise typer.BadParameter(f"{str(file)!r} does not say which `data` to train on, such as tickets@v3.")
    config = {str(name): value for name, value in content.items()}
    dataset, _, version = str(config.pop("data")).partition("@v")
    if version and not version.isdigit():
        raise typer.BadParameter(f"The data version {version!r} is no number; it looks like tickets@v3.")
    if config.get("base") == "scratch":
        del config["base"]
    elif (near := file.parent / str(config.get("base", ""))).is_dir() and "base" in config:
        config["base"] = str(near.resolve())
    return {
        "recipe": config.pop("recipe", "classify"),
        "dataset": dataset,
        "version": int(version) if version else None,
        "model": config.pop("model", file.stem),
        "seed": config.pop("seed", 0),
        "processes": config.pop("processes", 1),
        "config": config,
    }


def worded(event: Mapping[str, Any]) -> str:
    """An event as one line."""
    kind = event["type"]
    if kind == "started":
        whence = f", from step {event['resumed_from']} on" if event.get("resumed_from") else ""
        text = f"{event['steps']} steps in {event['epochs']} epochs{whence}"
    elif kind == "step":
        text = (
            f"{event['step']:>6}  epoch {event['epoch']}  loss {event['loss']:<9.4g} lr {event['lr']:<9.3g} "
            f"{event.get('examples_per_s', 0):.0f}/s  {event.get('eta_s', 0):.0f} s left"
        )
    elif kind == "eval":
        text = f"{event['step']:>6}  epoch {event['epoch']}  {event['split']} loss {event['loss']:.4g}"
        text += f"  accuracy {event['accuracy']:.2%}"
    elif kind in ("evaluated", "finished"):
        numbers = {name: value for name, value in event["metrics"].items() if isinstance(value, int | float)}
        text = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
    elif "message" in event:
        text = f"{event['message']} {event.get('hint', '')}"
    else:
        text = "  ".join(f"{name} {value}" for name, value in event.items() if name not in _HIDDEN)
    return f"{kind:<11}{text}".rstrip()


def _start(connection: Connection, wishes: Mapping[str, Any], *, follow: bool) -> None:
    run: Mapping[str, Any] = connection.client.runs.start(**wishes)
    if follow:
        say.print(f"Run {run['id']}: {run['name']}", markup=False)
        run = _follow(connection, run["id"])
    show(connection.output, [run], _COLUMNS)
    if run["status"] == "failed":
        raise typer.Exit(1)


def _follow(connection: Connection, run_id: str, *, after: int = 0) -> dict[str, Any]:
    """Tell what the run reports until it ends, of its steps one a second. Ctrl-C leaves it running."""
    told_at = 0.0
    try:
        for event in connection.client.runs.events(run_id, after=after):
            if event["type"] == "step":
                if event["ts"] < told_at + STEP_EVERY_S:
                    continue
                told_at = event["ts"]
            say.print(worded(event), markup=False, soft_wrap=True)
    except KeyboardInterrupt:
        say.print(f"It goes on. Look again: inhouse train logs -f {run_id}; or end it: inhouse train stop {run_id}")
    return {**connection.client.runs.get(run_id)}


def _by_number(values: list[Any]) -> dict[str, Any]:
    """Columns of a table whose headings may be the same."""
    return {f"run{number}": value for number, value in enumerate(values)}


def _setting(text: str) -> tuple[str, object]:
    import yaml

    name, separator, value = text.partition("=")
    if not separator:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE.")
    return name, yaml.safe_load(value)
