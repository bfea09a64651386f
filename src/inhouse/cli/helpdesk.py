"""The help-desk example: set up step by step through the API, as `up --demo` and `demo` do."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inhouse.core.errors import Misconfigured, NotFound

if TYPE_CHECKING:
    from inhouse.client import Client
    from inhouse.client.types import Texts

NAME = "helpdesk"
MODEL = "helpdesk-intent"
KNOWLEDGE = "helpdesk-policies"
TITLE: "Texts" = {"en": "Help desk", "zh": "服务台"}
OPENER: "Texts" = {
    "en": "Hello! Ask me about leave, IT, expenses, travel, security or badges. I answer from the company's policies.",
    "zh": "您好！请假、IT、报销、差旅、安全、门禁，都可以问我。我根据公司制度回答，并注明出处。",
}


class ExampleMissing(Misconfigured):
    """The example's files are not installed."""


class SetUpFailed(Misconfigured):
    """A step of setting the example up did not end well."""


@dataclass(frozen=True, slots=True)
class Correction:
    """A nickname that no training row holds: what colleagues ask with it, and other phrasings to check."""

    term: dict[str, str]
    label: str
    topic: str
    ask: list[str]
    check: list[str]


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    lang: str
    label: str | None
    topic: str | None
    term: str | None
    answerable: bool


class Helpdesk:
    """The example's files."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory or _find()

    @property
    def policies(self) -> list[Path]:
        return sorted(path for path in (self.directory / "policies").iterdir() if path.is_file())

    @property
    def intents(self) -> Path:
        return self.directory / "intents.csv"

    @property
    def workflow(self) -> str:
        return (self.directory / "workflow.yml").read_text(encoding="utf-8")

    @cached_property
    def questions(self) -> list[Question]:
        return [Question(**row) for row in self._rows("questions.jsonl")]

    @cached_property
    def corrections(self) -> list[Correction]:
        return [Correction(**row) for row in self._rows("corrections.jsonl")]

    def topic(self, label: str | None) -> str | None:
        """The policy that a label's answers stand in."""
        return self._labels[label]["topic"] if label in self._labels else None

    @cached_property
    def _labels(self) -> dict[str | None, dict[str, Any]]:
        return json.loads((self.directory / "intents.json").read_text(encoding="utf-8"))

    def _rows(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.directory / name).read_text(encoding="utf-8").splitlines()]


def set_up(url: str, key: str, say: Callable[[str], None]) -> None:
    """Make the example, or whatever part of it is still missing."""
    from inhouse.client import Client

    with Client(url, key) as client:
        if _exists(lambda: client.apps.get(NAME)):
            return
        example = Helpdesk()
        say("Setting up the help-desk example (once):")
        documents = ingest(client, example)
        say(f"  {len(documents)} policy documents, {sum(one['chunks'] for one in documents)} passages")
        if not _exists(lambda: client.datasets.get(NAME)):
            client.datasets.create(NAME, example.intents)
        if not _exists(lambda: client.models.get(MODEL)):
            run = train(client)
            say(f"  intent classifier trained: {run['metrics']['accuracy']:.1%} right on held-out questions")
        if not client.models.get(MODEL)["aliases"]:
            client.releases.start(MODEL, 1)
        publish(client, example)
        say("  workflow imported, app published")


def ingest(
    client: "Client", example: Helpdesk, each: Callable[[Sequence[Any]], None] = lambda documents: None
) -> Sequence[Any]:
    """Upload the policies and wait until all are searchable."""
    if not _exists(lambda: client.knowledge.get(KNOWLEDGE)):
        client.knowledge.create(KNOWLEDGE, "Policies of Mingshan Instruments, a fictional company")
    client.knowledge.upload(KNOWLEDGE, *example.policies)
    documents = client.knowledge.wait(KNOWLEDGE, each=each)
    failed = [document for document in documents if document["status"] == "failed"]
    if failed:
        raise SetUpFailed(f"{failed[0]['name']} could not be read: {failed[0]['error']}")
    return documents


def train(client: "Client", each: Callable[[Mapping[str, Any]], None] = lambda event: None) -> Any:
    """Train on the newest dataset version and wait for the model version."""
    return finished(client, client.runs.start(dataset=NAME, model=MODEL), each)


def finished(client: "Client", run: Any, each: Callable[[Mapping[str, Any]], None] = lambda event: None) -> Any:
    """Follow a run to its good end."""
    run = client.runs.wait(run["id"], each=each)
    if run["status"] != "succeeded":
        raise SetUpFailed(f"The training run {run['id']} {run['status']}: {run['error']}")
    return run


def publish(client: "Client", example: Helpdesk) -> Any:
    """Import the workflow and make it an app."""
    version = client.workflows.save(NAME, example.workflow, note="The help-desk example")
    ordinary = [question for question in example.questions if question.term is None and question.answerable]
    by_language = {lang: [one.text for one in ordinary if one.lang == lang] for lang in ("en", "zh")}
    suggested: list[Texts | str] = [
        {"en": en, "zh": zh} for en, zh in zip(by_language["en"], by_language["zh"], strict=False)
    ]
    if not _exists(lambda: client.apps.get(NAME)):
        client.apps.create(NAME, NAME, title=TITLE, opener=OPENER, suggested=suggested)
    return version


def _exists(look: Callable[[], object]) -> bool:
    try:
        look()
    except NotFound:
        return False
    return True


def _find() -> Path:
    """The example in an installed package, or beside the sources."""
    package = Path(__file__).resolve().parents[1]
    for candidate in (package / "examples" / NAME, package.parents[1] / "examples" / NAME):
        if candidate.is_dir():
            return candidate
    raise ExampleMissing("The help-desk example is not installed.", hint="Run this from a clone of the repository.")
