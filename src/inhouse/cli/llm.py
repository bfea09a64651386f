"""`inhouse llm`: language models."""

import typer

from inhouse.cli.connection import Connection
from inhouse.cli.output import say, show

commands = typer.Typer(help="Run language models here, or connect servers that run them.", no_args_is_help=True)
adapters = typer.Typer(help="LoRA adapters of a model that runs here.", no_args_is_help=True)
commands.add_typer(adapters, name="adapter")
_MODEL_COLUMNS = {
    "name": "Name",
    "kind": "Kind",
    "state": "State",
    "runtime": "Runtime",
    "adapters": "Adapters",
    "path": "Directory",
    "error": "Error",
}
_COLUMNS = {"name": "Name", "url": "URL", "model": "Model", "models": "Models"}


@commands.command("ls")
def list_all(context: typer.Context) -> None:
    """List the models that run here, and the connected model servers."""
    connection: Connection = context.obj
    running = [*connection.client.language_models.list()]
    servers = [{**server, "kind": "server"} for server in connection.client.upstreams.list()]
    show(connection.output, [*running, *servers], {**_MODEL_COLUMNS, **_COLUMNS})


@commands.command()
def load(
    context: typer.Context,
    name: str,
    path: str = typer.Argument(help="Directory of the model on the server's machine."),
    runtime: str = typer.Option("auto", help="auto, transformers, openvino or vllm."),
    kind: str = typer.Option("auto", help="auto, chat, embedding or rerank."),
    dtype: str = typer.Option("auto", help="auto, float32, bfloat16 or float16."),
    adapter: list[str] = typer.Option([], help="A LoRA adapter as NAME=DIRECTORY; may be repeated."),
    max_batch: int = typer.Option(16, help="Most answers written at the same time."),
    kv_tokens: int = typer.Option(16384, help="Tokens that running requests may hold together."),
    idle_s: float = typer.Option(1800.0, help="Unload after so many seconds unused; 0 keeps it loaded."),
    wait: bool = typer.Option(True, help="Wait until it is loaded."),
) -> None:
    """Run a model directory under a name, or give the name other weights."""
    connection: Connection = context.obj
    named = dict(_pair(one) for one in adapter)
    model = connection.client.language_models.load(
        name,
        path,
        adapters=named,
        wait=wait,
        runtime=runtime,
        kind=kind,
        dtype=dtype,
        max_batch=max_batch,
        kv_tokens=kv_tokens,
        idle_s=idle_s,
    )
    show(connection.output, [model], _MODEL_COLUMNS)
    if model["state"] == "failed":
        raise typer.Exit(1)


@commands.command()
def unload(context: typer.Context, name: str) -> None:
    """Stop running a model. Answers under way finish."""
    connection: Connection = context.obj
    connection.client.language_models.unload(name)
    say.print(f"Unloaded {name!r}.")


@commands.command()
def runtimes(context: typer.Context) -> None:
    """List what the server can run models with, and what is missing."""
    connection: Connection = context.obj
    listed = connection.client.language_models.runtimes()
    show(connection.output, listed, {"name": "Runtime", "missing": "Missing"})


@adapters.command("add")
def add_adapter(
    context: typer.Context,
    model: str,
    name: str,
    path: str = typer.Argument(help="Directory of the adapter on the server's machine."),
) -> None:
    """Add a LoRA adapter, or a new version of one: requests ask for MODEL:NAME."""
    connection: Connection = context.obj
    show(connection.output, [connection.client.language_models.add_adapter(model, name, path)], _MODEL_COLUMNS)


@adapters.command("rm")
def remove_adapter(context: typer.Context, model: str, name: str) -> None:
    """Remove an adapter."""
    connection: Connection = context.obj
    connection.client.language_models.remove_adapter(model, name)
    say.print(f"Removed {name!r} of {model!r}.")


@commands.command()
def connect(
    context: typer.Context,
    url: str,
    name: str = typer.Option("llm", help="What to call it."),
    secret: str = typer.Option("", "--secret", envvar="INHOUSE_LLM_KEY", help="Its API key, if it wants one."),
    model: str = typer.Option("", help="Which of its models; the first by default."),
) -> None:
    """Connect an OpenAI-compatible server, such as http://127.0.0.1:11434/v1."""
    connection: Connection = context.obj
    show(connection.output, [connection.client.upstreams.connect(name, url, key=secret, model=model)], _COLUMNS)


@commands.command()
def disconnect(context: typer.Context, name: str) -> None:
    """Disconnect a model server."""
    connection: Connection = context.obj
    connection.client.upstreams.disconnect(name)
    say.print(f"Disconnected {name!r}.")


@commands.command()
def discover(context: typer.Context) -> None:
    """Look for model servers beside the platform (a local Ollama)."""
    connection: Connection = context.obj
    show(connection.output, connection.client.upstreams.discover(), {"url": "URL", "models": "Models"})


def _pair(text: str) -> tuple[str, str]:
    name, sign, path = text.partition("=")
    if not sign:
        raise typer.BadParameter(f"{text!r} is not NAME=DIRECTORY.")
    return name, path
