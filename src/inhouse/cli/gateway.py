"""`inhouse gateway`: policies, models, prompts, usage and requests."""

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import typer

from inhouse.cli.connection import Connection
from inhouse.cli.output import say, show
from inhouse.core.errors import Invalid

commands = typer.Typer(help="Say who may use which models, how much, and where requests go.", no_args_is_help=True)
models = typer.Typer(help="Models by the name that clients use.", invoke_without_command=True)
prompts = typer.Typer(help="Prompts with versions.", invoke_without_command=True)
commands.add_typer(models, name="models")
commands.add_typer(prompts, name="prompts")

_POLICIES = {"name": "Policy", "order": "Order", "source": "Set by", "is_active": "Active", "settings": "Settings"}
_MODELS = {"name": "Model", "owner": "From", "source": "Set by", "targets": "Targets", "fallbacks": "Fallbacks"}
_PROMPTS = {"name": "Prompt", "version": "Version", "variables": "Variables", "note": "Note", "is_default": "Default"}
_USAGE = {
    "name": "Name",
    "requests": "Requests",
    "errors": "Errors",
    "cached": "Cached",
    "prompt_tokens": "Read",
    "completion_tokens": "Written",
    "cost": "Cost",
}
_REQUESTS = {
    "time": "Time",
    "request_id": "Request",
    "user": "User",
    "model": "Model",
    "status": "Status",
    "error": "Error",
    "total_s": "Seconds",
}


class NoSettings(Invalid):
    """A setting is neither NAME=VALUE nor JSON."""


@commands.command()
def status(context: typer.Context) -> None:
    """Show how the gateway is doing."""
    connection: Connection = context.obj
    state = connection.client.gateway.state()
    if connection.output == "json":
        show("json", state, {})
        return
    show("table", [{"what": name, "value": value} for name, value in state.items()], {"what": "", "value": ""})


@commands.command("policies")
def list_policies(context: typer.Context) -> None:
    """List the policies in the order that requests pass them."""
    connection: Connection = context.obj
    show(connection.output, connection.client.gateway.policies(), _POLICIES)


@commands.command("set")
def set_policy(
    context: typer.Context,
    policy: str,
    settings: list[str] = typer.Argument(help="NAME=VALUE with JSON values, or all settings as one JSON object."),
) -> None:
    """Set what a policy does; what is not named gets its default."""
    connection: Connection = context.obj
    show(connection.output, [connection.client.gateway.set(policy, _settings(settings))], _POLICIES)


@commands.command()
def reset(context: typer.Context, policy: str) -> None:
    """Give a policy its default settings back."""
    connection: Connection = context.obj
    connection.client.gateway.reset(policy)
    say.print(f"{policy!r} has its default settings.")


@models.callback()
def list_models(context: typer.Context) -> None:
    """List the models, with their targets and how they are doing."""
    if context.invoked_subcommand is not None:
        return
    connection: Connection = context.obj
    found = connection.client.gateway.models()
    if connection.output == "json":
        show("json", found, {})
        return
    rows = [
        {
            **model,
            "targets": [f"{one['upstream']}/{one['model']} ({one['breaker']})" for one in model["targets"]],
            "fallbacks": (model["document"] or {}).get("fallbacks"),
        }
        for model in found
    ]
    show("table", rows, _MODELS)


@models.command("set")
def set_model(
    context: typer.Context,
    name: str,
    target: list[str] = typer.Option(..., help="SERVER/MODEL, maybe with =WEIGHT; may be repeated."),
    balance: str = typer.Option("weighted", help="weighted, least-loaded or sticky."),
    fallback: list[str] = typer.Option([], help="A model to ask when none of the targets answers; may be repeated."),
    prompt: str = typer.Option("", help="A prompt that comes before the messages."),
    alias: list[str] = typer.Option([], help="Another name of the model; may be repeated."),
) -> None:
    """Describe a model: where its requests go."""
    connection: Connection = context.obj
    targets = [_target(one) for one in target]
    made = connection.client.gateway.set_model(
        name, targets, balance=balance, fallbacks=fallback, prompt=prompt, aliases=alias
    )
    show(connection.output, [made], {"name": "Model", "targets": "Targets"})


@models.command("delete")
def delete_model(context: typer.Context, name: str) -> None:
    """Forget the description of a model."""
    connection: Connection = context.obj
    connection.client.gateway.delete_model(name)
    say.print(f"Forgot {name!r}.")


@prompts.callback()
def list_prompts(context: typer.Context) -> None:
    """List the prompts."""
    if context.invoked_subcommand is None:
        connection: Connection = context.obj
        show(connection.output, connection.client.gateway.prompts(), _PROMPTS)


@prompts.command("versions")
def list_versions(context: typer.Context, name: str) -> None:
    """List the versions of a prompt."""
    connection: Connection = context.obj
    show(connection.output, connection.client.gateway.prompt_versions(name), _PROMPTS)


@prompts.command("add")
def add_prompt(
    context: typer.Context, name: str, file: Path, note: str = typer.Option("", help="What changed.")
) -> None:
    """Add the text in FILE as the next version of a prompt."""
    connection: Connection = context.obj
    added = connection.client.gateway.add_prompt(name, file.read_text(encoding="utf-8"), note=note)
    show(connection.output, [added], _PROMPTS)


@prompts.command("use")
def use_prompt(context: typer.Context, name: str, version: int) -> None:
    """Choose the version that requests get which name none."""
    connection: Connection = context.obj
    show(connection.output, [connection.client.gateway.choose_prompt(name, version)], _PROMPTS)


@commands.command()
def usage(
    context: typer.Context,
    by: str = typer.Option("model", help="key, user, team, model, target, arm or hour."),
    days: float = typer.Option(30, help="Of the last so many days."),
) -> None:
    """Show who has used how much."""
    connection: Connection = context.obj
    used = connection.client.gateway.usage(by, start=time.time() - days * 86_400)  # type: ignore[arg-type]
    if by == "hour" and connection.output != "json":
        used = [{**one, "name": f"{datetime.fromtimestamp(int(one['name'])):%Y-%m-%d %H:%M}"} for one in used]
    show(connection.output, used, _USAGE)


@commands.command()
def requests(
    context: typer.Context,
    request_id: str = typer.Argument("", help="Show one request with what was asked and answered."),
    key: str = typer.Option("", help="Of one key."),
    user: str = typer.Option("", help="Of one user."),
    model: str = typer.Option("", help="To one model."),
    status: str = typer.Option("", help="ok, error, or a number such as 429."),
    text: str = typer.Option("", help="A text in the request or the answer."),
    hours: float | None = typer.Option(None, help="Of the last so many hours."),
    limit: int = typer.Option(50, min=1, max=10_000, help="How many."),
) -> None:
    """Show the requests that the audit kept, newest first."""
    connection: Connection = context.obj
    gateway = connection.client.gateway
    if request_id:
        show("json", gateway.request(request_id), {})
        return
    since = None if hours is None else time.time() - hours * 3600
    found = gateway.requests(since=since, key=key, user=user, model=model, status=status, text=text, limit=limit)
    if connection.output == "json":
        show("json", found, {})
        return
    show("table", [{**one, "time": _moment(one["time"])} for one in found], _REQUESTS)


@commands.command()
def verify(context: typer.Context) -> None:
    """Look for the first kept request that was changed, removed or put in."""
    connection: Connection = context.obj
    found = connection.client.gateway.verify()
    if connection.output == "json":
        show("json", found, {})
    elif found["whole"]:
        say.print("The kept requests are unchanged.")
    else:
        say.print(f"The chain of kept requests breaks at {found['broken']}.")
    if not found["whole"]:
        raise typer.Exit(1)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).isoformat(" ", "milliseconds")


def _settings(words: list[str]) -> dict[str, Any]:
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        return _json(words[0])
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise NoSettings(f"{word!r} is no setting.", hint="Write NAME=VALUE, such as default=desk.")
        is_json = value.startswith(("[", "{", '"')) or value in ("true", "false", "null")
        found[name] = _json(value) if is_json else _number(value)
    return found


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise NoSettings(f"{text!r} is no JSON: {error}.") from error


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _target(text: str) -> dict[str, Any]:
    where, _, weight = text.partition("=")
    upstream, slash, model = where.partition("/")
    share = _number(weight or "1")
    if not slash or not model or isinstance(share, str):
        raise NoSettings(f"{text!r} is no target.", hint="Write SERVER/MODEL, such as lab/qwen or lab/qwen=0.5.")
    return {"upstream": upstream, "model": model, "weight": share}
