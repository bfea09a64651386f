"""`inhouse data`: datasets."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from inhouse.cli.connection import Connection
from inhouse.cli.output import say, show

commands = typer.Typer(help="Import, look at, improve and export datasets.", no_args_is_help=True)

_MADE = {"reference": "Dataset", "form": "Form", "count": "Examples", "splits": "Splits"}

Form = Annotated[str, typer.Option(help="Form of the rows: text, spans, pair, chat, preference, rating or table.")]
Format = Annotated[str, typer.Option(help="Format, where it is not found out: see `inhouse data formats`.")]
Columns = Annotated[
    list[str], typer.Option("--map", help="Which column holds what, such as --map text=question; may be repeated.")
]
Version = Annotated[int | None, typer.Option(help="The version to start from; the newest when absent.")]
Note = Annotated[str, typer.Option(help="What the new version is for.")]


@commands.command("ls")
def list_datasets(context: typer.Context) -> None:
    """List the datasets."""
    connection: Connection = context.obj
    columns = {"reference": "Dataset", "form": "Form", "count": "Examples", "splits": "Splits", "note": "Note"}
    show(connection.output, connection.client.datasets.list(), columns)


@commands.command()
def formats(context: typer.Context) -> None:
    """List the formats of import and export."""
    connection: Connection = context.obj
    columns = {"name": "Format", "suffix": "File", "forms": "Forms", "missing": "First run"}
    show(connection.output, connection.client.datasets.formats(), columns)


@commands.command()
def preview(
    context: typer.Context,
    file: Path,
    text: Annotated[str, typer.Option(help="Column with the texts.")] = "",
    label: Annotated[str, typer.Option(help="Column with the labels.")] = "",
    columns: Columns = [],  # noqa: B006  # typer's way to say none
    form: Form = "",
    format: Format = "",
) -> None:
    """Say what an import of FILE would bring, with every bad row."""
    connection: Connection = context.obj
    found = connection.client.datasets.preview(file, _mapping(text, label, columns), form=form, format=format)
    if connection.output == "json":
        show("json", found, {})
        return
    read = " ".join(part for part in (found["encoding"], found["format"]) if part)
    say.print(f"{found['count']} examples of the form {found['form']}, {len(found['labels'])} labels, {read}.")
    for warning in found["warnings"]:
        say.print(warning, markup=False)
    show(connection.output, found["problems"], {"row": "Row", "column": "Column", "message": "Problem"})


@commands.command("import")
def import_file(
    context: typer.Context,
    file: Path,
    name: Annotated[str, typer.Option(help="Name of the new dataset.")],
    text: Annotated[str, typer.Option(help="Column with the texts.")] = "",
    label: Annotated[str, typer.Option(help="Column with the labels.")] = "",
    columns: Columns = [],  # noqa: B006  # typer's way to say none
    form: Form = "",
    format: Format = "",
    skip_bad_rows: Annotated[bool, typer.Option(help="Leave bad rows out instead of refusing the file.")] = False,
) -> None:
    """Import a FILE as a new dataset: all rows or none. Kind, format and form are found out."""
    connection: Connection = context.obj
    made = connection.client.datasets.create(
        name, file, _mapping(text, label, columns), form=form, format=format, skip_bad_rows=skip_bad_rows
    )
    show(connection.output, [made], _MADE)


@commands.command("show")
def show_dataset(context: typer.Context, name: str) -> None:
    """Show the versions of a dataset."""
    connection: Connection = context.obj
    columns = {"reference": "Version", "count": "Examples", "splits": "Splits", "erased": "Erased", "note": "Note"}
    show(connection.output, connection.client.datasets.get(name)["versions"], columns)


@commands.command()
def export(
    context: typer.Context,
    name: str,
    out: Annotated[Path, typer.Option(help="File to write.")],
    version: Version = None,
    format: Annotated[str, typer.Option(help="As which format: see `inhouse data formats`.")] = "jsonl",
    split: Annotated[str, typer.Option(help="Only train, dev or test.")] = "",
) -> None:
    """Write the rows of a version (the newest by default) into a file."""
    connection: Connection = context.obj
    number = version or connection.client.datasets.get(name)["versions"][0]["number"]
    out.write_bytes(connection.client.datasets.export(name, number, format=format, split=split))
    say.print(f"Wrote {name}@v{number} to {out}.", markup=False)


@commands.command()
def diff(
    context: typer.Context,
    name: str,
    old: int,
    new: int,
    limit: Annotated[int, typer.Option(help="Most rows shown.")] = 50,
) -> None:
    """Show the rows added, removed and changed from version OLD to version NEW."""
    connection: Connection = context.obj
    found = connection.client.datasets.diff(name, old, new, limit=limit)
    if connection.output == "json":
        show("json", found, {})
        return
    say.print(f"{found['added']} added, {found['removed']} removed, {found['changed']} changed.")
    rows = [
        {
            "kind": change["kind"],
            "text": (change["after"] or change["before"] or {}).get("text"),
            "before": (change["before"] or {}).get("label"),
            "after": (change["after"] or {}).get("label"),
        }
        for change in found["items"]
    ]
    show(connection.output, rows, {"kind": "Change", "text": "Text", "before": "Before", "after": "After"})


@commands.command("filter")
def filter_rows(
    context: typer.Context,
    name: str,
    label: Annotated[list[str], typer.Option(help="Has this label; may be repeated.")] = [],  # noqa: B006
    without: Annotated[list[str], typer.Option(help="Has not this label; may be repeated.")] = [],  # noqa: B006
    split: Annotated[list[str], typer.Option(help="Is in this split.")] = [],  # noqa: B006
    source: Annotated[list[str], typer.Option(help="Comes from there: feedback, synthetic:typo, …")] = [],  # noqa: B006
    search: Annotated[str, typer.Option(help="Has this in its text.")] = "",
    min_length: Annotated[int, typer.Option(help="Has at least so many characters.")] = 0,
    max_length: Annotated[int | None, typer.Option(help="Has at most so many characters.")] = None,
    synthetic: Annotated[bool | None, typer.Option(help="Was made up, or was not.")] = None,
    version: Version = None,
    note: Note = "",
) -> None:
    """Make the next version with the rows that meet every condition."""
    connection: Connection = context.obj
    made = connection.client.datasets.filter(
        name,
        version=version,
        note=note,
        labels=label,
        without_labels=without,
        splits=split,
        sources=source,
        search=search,
        min_length=min_length,
        max_length=max_length,
        synthetic=synthetic,
    )
    show(connection.output, [made], _MADE)


@commands.command()
def mix(
    context: typer.Context,
    name: str,
    parts: Annotated[list[str], typer.Argument(help="DATASET[@vN]=SHARE, such as base=70 domain@v2=20 noisy=10.")],
    size: Annotated[int | None, typer.Option(help="Training rows; as many as can be when absent.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed takes the same rows.")] = 0,
    note: Note = "",
) -> None:
    """Make the dataset NAME, or its next version, of others by ratio."""
    connection: Connection = context.obj
    made = connection.client.datasets.mix(name, _shares(parts), size=size, seed=seed, note=note)
    if connection.output == "json":
        show("json", made, {})
        return
    say.print(f"Left out: {made['repeated']} repeated and {made['leaking']} that are held out elsewhere.")
    show(connection.output, [{**made["version"], "taken": made["taken"]}], {**_MADE, "taken": "Taken"})


@commands.command()
def augment(
    context: typer.Context,
    name: str,
    how: Annotated[str, typer.Argument(help="typo, template, paraphrase or generate.")],
    count: Annotated[int, typer.Option(help="Most new rows.")],
    settings: Annotated[
        list[str], typer.Option("--set", help="A setting, such as --set rate=0.1; values may be JSON.")
    ] = [],  # noqa: B006
    version: Version = None,
    seed: Annotated[int, typer.Option(help="The same seed makes the same rows.")] = 0,
    note: Note = "",
) -> None:
    """Make the next version with new training rows, all marked as synthetic."""
    connection: Connection = context.obj
    given = {key: _value(value) for key, value in map(_pair, settings)}
    made = connection.client.datasets.augment(name, how, count=count, version=version, seed=seed, note=note, **given)
    if connection.output == "json":
        show("json", made, {})
        return
    cost = "" if made["cost"] is None else f", cost {made['cost']:.4g}"
    tokens = f", {made['tokens']} tokens{cost}" if made["tokens"] else ""
    say.print(f"{made['added']} rows made, {made['dropped']} dropped, {made['failed']} failed{tokens}.")
    show(connection.output, [made["version"]], _MADE)


@commands.command()
def report(
    context: typer.Context,
    name: str,
    version: Version = None,
    threshold: Annotated[float, typer.Option(help="How alike near duplicates are, 0.5 to 1.")] = 0.8,
) -> None:
    """Show balance, lengths, duplicates, leaks and conflicts of a version (the newest by default)."""
    connection: Connection = context.obj
    number = version or connection.client.datasets.get(name)["versions"][0]["number"]
    found = connection.client.datasets.report(name, number, threshold=threshold)
    if connection.output == "json":
        show("json", found, {})
        return
    say.print(
        f"{found['count']} rows, {found['synthetic']} synthetic, {found['duplicates']} duplicates, "
        f"{found['near_duplicate_count']} near duplicates, {found['leak_count']} leaks, "
        f"{found['conflict_count']} conflicts."
    )
    labels: list[dict[str, Any]] = [{"label": label, **splits} for label, splits in found["labels"].items()]
    show(connection.output, labels, {"label": "Label", **{split: split for split in found["splits"]}})
    leaks = [{**pair, "kind": "leak"} for pair in found["leaks"]]
    pairs = leaks + [{**pair, "kind": "near duplicate"} for pair in found["near_duplicates"]]
    if pairs:
        columns = {"kind": "Found", "likeness": "Alike", "first_text": "Text", "second_text": "Other text"}
        show(connection.output, pairs[:20], columns)


@commands.command()
def erase(
    context: typer.Context,
    user: str,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Take every row of USER out of every version of every dataset."""
    connection: Connection = context.obj
    if not yes:
        typer.confirm(f"Erase every row of {user!r} for ever?", abort=True, err=True)
    found = connection.client.datasets.erase(user)
    columns = {"rows": "Rows", "versions": "Versions", "made": "New versions", "models": "Models trained on them"}
    show(connection.output, [found] if connection.output != "json" else found, columns)


@commands.command("rm")
def delete(context: typer.Context, name: str) -> None:
    """Delete a dataset that no model was trained on."""
    connection: Connection = context.obj
    connection.client.datasets.delete(name)
    say.print(f"Deleted {name}.", markup=False)


def _mapping(text: str, label: str, columns: list[str]) -> dict[str, str | list[str]] | None:
    named = {role: column for role, column in (("text", text), ("label", label)) if column}
    return {**named, **dict(map(_pair, columns))} or None


def _shares(parts: list[str]) -> dict[str, float]:
    try:
        return {name: float(share) for name, share in map(_pair, parts)}
    except ValueError as error:
        raise typer.BadParameter("A share is a number, such as base=70.") from error


def _pair(given: str) -> tuple[str, str]:
    name, separator, value = given.partition("=")
    if not separator:
        raise typer.BadParameter(f"{given!r} is not NAME=VALUE.")
    return name, value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
