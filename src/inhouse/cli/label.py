"""`inhouse label`: labelling queues."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from inhouse.cli.connection import Connection
from inhouse.cli.output import say, show

commands = typer.Typer(help="Let people judge rows, and take their answers into a dataset.", no_args_is_help=True)
_COLUMNS = {"name": "Queue", "dataset": "Dataset", "form": "Form", "model": "Model", "counts": "Rows"}


@commands.command("ls")
def list_queues(context: typer.Context) -> None:
    """List the queues."""
    connection: Connection = context.obj
    show(connection.output, connection.client.label_queues.list(), _COLUMNS)


@commands.command()
def create(
    context: typer.Context,
    name: str,
    dataset: str = typer.Option(..., help="Where settled rows go; made when it is not there."),
    form: str = typer.Option("text", help="text, spans, pair, preference, rating or chat."),
    label: list[str] = typer.Option([], help="A label to choose from; those of the dataset by default."),
    multiple: bool = typer.Option(False, help="A text may have several labels."),
    guidelines: str = typer.Option("", help="What annotators should know."),
    model: str = typer.Option("", help="A deployed model that guesses first."),
    annotators: int = typer.Option(1, help="How many people judge each row."),
) -> None:
    """Open a queue."""
    connection: Connection = context.obj
    made = connection.client.label_queues.create(
        name,
        dataset,
        form=form,
        labels=label,
        multiple=multiple,
        guidelines=guidelines,
        model=model,
        annotators=annotators,
    )
    show(connection.output, [made], _COLUMNS)


@commands.command()
def add(
    context: typer.Context,
    name: str,
    file: Path = typer.Option(None, help="A text a line."),
    dataset: str = typer.Option("", help="Or the training rows of this dataset."),
    label: str = typer.Option(None, help="Only its rows with this label."),
) -> None:
    """Put rows into a queue."""
    connection: Connection = context.obj
    if (file is None) == (not dataset):
        raise typer.BadParameter("Give either --file or --dataset.")
    queues = connection.client.label_queues
    if file is not None:
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        added = sum(queues.add(name, lines[start : start + 1000]) for start in range(0, len(lines), 1000))
    else:
        added = queues.add_from_dataset(name, dataset, label=label)
    show(connection.output, [{"queue": name, "added": added}], {"queue": "Queue", "added": "New rows"})


@commands.command()
def guess(context: typer.Context, name: str) -> None:
    """Let the queue's model guess every open row."""
    connection: Connection = context.obj
    guessed = connection.client.label_queues.guess(name)
    show(connection.output, [{"queue": name, "guessed": guessed}], {"queue": "Queue", "guessed": "Guessed"})


@commands.command("show")
def progress(context: typer.Context, name: str) -> None:
    """Show how far a queue is, and how far annotators agree."""
    connection: Connection = context.obj
    found = connection.client.label_queues.progress(name)
    columns = {"open": "Open", "review": "To review", "done": "Settled", "taken": "In the dataset"}
    show(connection.output, [found], {**columns, "alpha": "Alpha", "model_agreement": "Model right"})


@commands.command()
def take(context: typer.Context, name: str, note: str = typer.Option("", help="What this is.")) -> None:
    """Put every settled row into the dataset, as its next version."""
    connection: Connection = context.obj
    taken = connection.client.label_queues.take(name, note=note)
    row = {**taken, "version": taken["version"] and taken["version"]["reference"]}
    show(connection.output, [row], {"version": "Version", "taken": "Rows", "held_out": "Left out: held-out texts"})


@commands.command()
def start(context: typer.Context, name: str) -> None:
    """Label texts here, one key each: a number chooses, Enter takes the guess, s skips, u goes back, q ends."""
    connection: Connection = context.obj
    queues = connection.client.label_queues
    queue = next((one for one in queues.list() if one["name"] == name), None)
    if queue is None or queue["form"] != "text" or not queue["labels"]:
        raise typer.BadParameter(f"{name!r} is no queue of texts with labels; the console labels the others.")
    while (found := queues.next(name))["task"] is not None:
        task, began = found["task"], time.monotonic()
        answer = _ask(queue["labels"], task, found["open"], multiple=queue["multiple"])
        if answer is None:
            return
        if answer == "skip":
            queues.skip(name, task["id"])
        elif answer == "back":
            _correct(connection, name, queue["labels"], multiple=queue["multiple"])
        elif isinstance(answer, dict):
            queues.answer(name, task["id"], answer, seconds=round(time.monotonic() - began, 1))
    say.print("No row is left for you.")


def _correct(connection: Connection, name: str, labels: Sequence[str], *, multiple: bool) -> None:
    last = connection.client.label_queues.mine(name, limit=1)
    if not last:
        say.print("There is nothing to go back to.")
        return
    answer = _ask(labels, last[0], 0, multiple=multiple)
    if isinstance(answer, dict):
        connection.client.label_queues.answer(name, last[0]["id"], answer)


def _ask(labels: Sequence[str], task: Mapping[str, Any], left: int, *, multiple: bool) -> dict[str, Any] | str | None:
    guess = (task["prediction"] or {}).get("answer")
    say.print(f"\n[{left} left]  {task['text']}", markup=False, style="bold")
    say.print("   ".join(f"{number} {label}" for number, label in enumerate(labels, 1)), markup=False)
    while True:
        typed = typer.prompt("?", default="", show_default=False, prompt_suffix=f" ({_said(guess)}) " if guess else " ")
        if typed in ("q", "s", "u"):
            return {"q": None, "s": "skip", "u": "back"}[typed]
        if not typed and guess:
            return dict(guess)
        numbers = typed.replace(",", " ").split()
        if numbers and all(one.isdigit() and 1 <= int(one) <= len(labels) for one in numbers):
            chosen = [labels[int(one) - 1] for one in numbers]
            if multiple:
                return {"labels": chosen}
            if len(chosen) == 1:
                return {"label": chosen[0]}
        say.print("A number of the list (several with spaces where a text may have them), Enter, s, u or q.")


def _said(answer: Mapping[str, Any]) -> str:
    return answer.get("label") or ", ".join(answer.get("labels", ()))
