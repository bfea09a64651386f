"""`inhouse model`: the model registry."""

import typer

from inhouse.cli.connection import Connection
from inhouse.cli.output import show

commands = typer.Typer(help="Look at models, and ask them.", no_args_is_help=True)


@commands.command("ls")
def list_models(context: typer.Context) -> None:
    """List the models."""
    connection: Connection = context.obj
    rows = [
        {"name": model["name"], "newest": model["newest"]["number"], "aliases": model["aliases"]}
        for model in connection.client.models.list()
    ]
    show(connection.output, rows, {"name": "Model", "newest": "Newest", "aliases": "Aliases"})


@commands.command("show")
def show_model(context: typer.Context, name: str) -> None:
    """Show the versions of a model with their figures."""
    connection: Connection = context.obj
    model = connection.client.models.get(name)
    if connection.output == "json":
        show("json", model, {})
        return
    rows = [
        {
            "reference": version["reference"],
            "accuracy": version["metrics"].get("accuracy"),
            "macro_f1": version["metrics"].get("macro_f1"),
            "dataset": version["lineage"].get("dataset"),
            "aliases": version["aliases"],
        }
        for version in model["versions"]
    ]
    columns = {"reference": "Version", "accuracy": "Accuracy", "macro_f1": "Macro F1", "dataset": "Dataset"}
    show(connection.output, rows, {**columns, "aliases": "Aliases"})


@commands.command()
def predict(context: typer.Context, name: str, text: str, version: int = typer.Option(None)) -> None:
    """Ask a model what TEXT is."""
    connection: Connection = context.obj
    found = connection.client.models.predict(name, [text], version=version)[0]
    show(connection.output, [found], {"prediction": "Label", "score": "Score", "known": "Known"})
