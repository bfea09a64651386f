"""`inhouse model`: the model registry."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from inhouse.cli.connection import Connection
from inhouse.cli.output import say, show

commands = typer.Typer(help="Look at models, measure, export and ask them.", no_args_is_help=True)
_VERSION = "A version, such as intent:3; the newest without a number."
_FIGURES = ("accuracy", "agreement", "perplexity", "loss", "cpu_ms", "speedup", "memory_mb", "size_mb")


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
            "note": version["note"],
        }
        for version in model["versions"]
    ]
    columns = {"reference": "Version", "accuracy": "Accuracy", "macro_f1": "Macro F1", "dataset": "Dataset"}
    show(connection.output, rows, {**columns, "aliases": "Aliases", "note": "Note"})


@commands.command()
def card(context: typer.Context, version: str = typer.Argument(help=_VERSION)) -> None:
    """Print what a version is, what it learned from, how good it is and where its limits lie (Markdown)."""
    connection: Connection = context.obj
    markdown = connection.client.models.card(*_version(connection, version))
    if connection.output == "json":
        show("json", {"markdown": markdown}, {})
        return
    print(markdown)


@commands.command()
def export(
    context: typer.Context,
    version: str = typer.Argument(help=_VERSION),
    variant: str = typer.Option("", help="onnx, int8, torchscript, torch_export, fp16, bf16 or int4; made if need be."),
    edge: Path = typer.Option(None, help="Write a zip that runs without this platform and without torch."),
    to: Path = typer.Option(None, help="Write the files of the version or variant as a zip."),
) -> None:
    """Write a version to a file, in another format or ready for a small machine."""
    connection: Connection = context.obj
    if edge is None and to is None:
        raise typer.BadParameter("Say where to: --to FILE, or --edge FILE.")
    name, number = _version(connection, version)
    models = connection.client.models
    if variant and variant not in {one["name"] for one in models.variants(name, number) if one["status"] == "ready"}:
        _show_variants(connection, models.export(name, number, [variant]))
    for file, is_edge in ((edge, True), (to, False)):
        if file is not None:
            file.write_bytes(models.archive(name, number, variant=variant, edge=is_edge))
            say.print(f"Wrote {file} ({file.stat().st_size / 1e6:.1f} MB).", markup=False)


@commands.command()
def quantize(
    context: typer.Context,
    version: str = typer.Argument(help=_VERSION),
    variant: list[str] = typer.Option([], help="What to make; everything that the kind has by default."),
    rows: str = typer.Option("", help="Rows to measure on, such as tickets@v3/test; the version's own by default."),
    max_loss: float = typer.Option(
        None, help="Points that a quantised variant may lose before it is refused; 1, of perplexity 10 %."
    ),
) -> None:
    """Make variants of a version, and measure accuracy, speed, memory and size of each."""
    connection: Connection = context.obj
    name, number = _version(connection, version)
    made = connection.client.models.export(name, number, variant, **_rows(rows), max_loss=max_loss)
    _show_variants(connection, made)


@commands.command("eval")
def evaluate(
    context: typer.Context,
    version: str = typer.Argument(help=_VERSION),
    rows: str = typer.Option("", help="Rows to judge on, such as tickets@v3/test; the version's own by default."),
    errors: int = typer.Option(10, help="Print so many of the worst rows."),
) -> None:
    """Judge a version: figures, calibration, robustness, golden cases, and its worst mistakes."""
    connection: Connection = context.obj
    name, number = _version(connection, version)
    models = connection.client.models
    found = models.evaluate(name, number, **_rows(rows))
    if connection.output == "json" or found["status"] != "ready":
        show(
            connection.output, found if connection.output == "json" else [found], {"status": "Status", "error": "Error"}
        )
        raise typer.Exit(0 if found["status"] == "ready" else 1)
    figures = [{"name": one, "value": value} for one, value in _flat(found["metrics"])]
    show("table", figures, {"name": "Figure", "value": "Value"})
    wrong = models.rows(found["id"], correct=False, limit=max(errors, 1))["items"][:errors]
    if wrong:
        columns = {"text": "Text", "label": "Label", "predicted": "Predicted", "score": "Score"}
        show("table", wrong, columns)


@commands.command()
def compare(context: typer.Context, name: str, a: int, b: int) -> None:
    """Put version A of model NAME beside version B."""
    connection: Connection = context.obj
    found = connection.client.models.compare(name, a, b)
    if connection.output == "json":
        show("json", found, {})
        return
    rows = [{"name": one, **sides} for one, sides in found["metrics"].items()]
    rows += [{"name": f"F1 of {one}", **sides} for one, sides in found["per_class"].items() if sides["difference"]]
    rows += [{"name": one, **sides} for one, sides in found["config"].items()]
    show("table", rows, {"name": "What", "a": found["a"], "b": found["b"], "difference": "Difference"})
    if test := found["test"]:
        say.print(
            f"On {test['rows']} rows of {found['rows']}: {test['difference']:+.2%} "
            f"({test['low']:+.2%} to {test['high']:+.2%}), p = {test['p']:.3g}."
        )
    else:
        say.print(f"Not tested: evaluate both on the same rows first (inhouse model eval {name}:{a}).")


@commands.command("import")
def import_model(
    context: typer.Context,
    source: Path,
    name: str = typer.Option(..., help="The model to make a version of."),
    kind: str = typer.Option("", help="classify, tag, embed, rerank or chat; as its files say by default."),
    note: str = typer.Option("", help="Where it comes from."),
) -> None:
    """Register SOURCE: a model directory on the server's machine, or a .zip or .tar file of this one."""
    connection: Connection = context.obj
    models = connection.client.models
    if source.is_file():
        made = models.upload(name, source, kind=kind, note=note)
    else:
        made = models.import_directory(name, str(source.absolute()), kind=kind, note=note)
    show(connection.output, [made], {"reference": "Version", "kind": "Kind", "note": "Note"})


@commands.command()
def protect(
    context: typer.Context,
    version: str = typer.Argument(help=_VERSION),
    off: bool = typer.Option(False, "--off", help="Take the protection away."),
    note: str = typer.Option(None, help="Write a note on the version."),
) -> None:
    """Protect a version from being deleted."""
    connection: Connection = context.obj
    changed = connection.client.models.annotate(*_version(connection, version), is_protected=not off, note=note)
    show(connection.output, [changed], {"reference": "Version", "is_protected": "Protected", "note": "Note"})


@commands.command()
def alias(
    context: typer.Context,
    version: str = typer.Argument(help=_VERSION),
    name: str = typer.Argument(help="The alias."),
    off: bool = typer.Option(False, "--off", help="Take the alias away."),
) -> None:
    """Give a version an alias. `live` and `candidate` are moved by releases."""
    connection: Connection = context.obj
    model, number = _version(connection, version)
    models = connection.client.models
    left = models.remove_alias(model, name) if off else models.set_alias(model, name, number)
    show(connection.output, [{"name": model, "aliases": left}], {"name": "Model", "aliases": "Aliases"})


@commands.command()
def delete(context: typer.Context, version: str = typer.Argument(help="A version, such as intent:3.")) -> None:
    """Delete a version and free its weights, unless it is protected, has an alias or gets traffic."""
    connection: Connection = context.obj
    if ":" not in version:
        raise typer.BadParameter("Name the version to delete, such as intent:3.")
    connection.client.models.delete(*_version(connection, version))
    say.print(f"Deleted {version}.", markup=False)


@commands.command()
def predict(context: typer.Context, name: str, text: str, version: int = typer.Option(None)) -> None:
    """Ask a model what TEXT is."""
    connection: Connection = context.obj
    found = connection.client.models.predict(name, [text], version=version)[0]
    show(connection.output, [found], {"prediction": "Label", "score": "Score", "known": "Known"})


@commands.command()
def explain(
    context: typer.Context,
    version: str = typer.Argument(help=_VERSION),
    text: str = typer.Argument(help="What was asked."),
    label: str = typer.Option("", help="The label to explain; the one that the version gives by default."),
) -> None:
    """Say which parts of TEXT speak for its label."""
    connection: Connection = context.obj
    found = connection.client.models.explain(*_version(connection, version), text, label=label)
    if connection.output == "json":
        show("json", found, {})
        return
    say.print(f"{found['label']} ({found['score']:.3f})", markup=False)
    show("table", found["tokens"], {"text": "Token", "weight": "Weight"})


def _version(connection: Connection, reference: str) -> tuple[str, int]:
    """`intent:3`, or the newest version of `intent`."""
    name, _, number = reference.partition(":")
    if not number:
        return name, connection.client.models.get(name)["versions"][0]["number"]
    if not number.isdigit():
        raise typer.BadParameter(f"{reference!r} is not a version, such as {name}:3.")
    return name, int(number)


def _rows(reference: str) -> dict[str, Any]:
    """`tickets@v3/dev`; nothing means the version's own rows."""
    if not reference:
        return {}
    dataset, _, rest = reference.partition("@v")
    number, _, split = rest.partition("/")
    if not number.isdigit():
        raise typer.BadParameter(f"{reference!r} does not name rows, such as tickets@v3/test.")
    return {"dataset": dataset, "dataset_version": int(number), "split": split or "test"}


def _show_variants(connection: Connection, variants: Sequence[Mapping[str, Any]]) -> None:
    rows = [{**one, **{name: one["figures"].get(name) for name in _FIGURES}} for one in variants]
    titles = ("Accuracy", "Agreement", "Perplexity", "Points lost", "CPU ms", "Speedup", "Memory MB", "Size MB")
    columns = {"name": "Variant", "status": "Status", **dict(zip(_FIGURES, titles, strict=True)), "reason": "Reason"}
    show(connection.output, list(variants) if connection.output == "json" else rows, columns)


def _flat(metrics: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Figures within figures by their path, without lists."""
    found: list[tuple[str, Any]] = []
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{name} ")
        elif not isinstance(value, list):
            found.append((f"{prefix}{name}", value))
    return found
