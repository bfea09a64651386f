"""The typed Python SDK over the HTTP API."""

from types import TracebackType
from typing import Self

from inhouse.client.access import Keys, Upstreams, Users
from inhouse.client.apps import Apps, Conversations, Traces, Workflows
from inhouse.client.data import Datasets, Knowledge
from inhouse.client.gateway import Gateway
from inhouse.client.http import Http
from inhouse.client.labelling import LabelQueues
from inhouse.client.language_models import LanguageModels
from inhouse.client.loop import Inbox, Loop, Releases
from inhouse.client.models import Models
from inhouse.client.studies import Studies
from inhouse.client.training import Deployments, Runs
from inhouse.client.types import Me

__all__ = ["Client"]


class Client:
    """A running server: `Client("http://127.0.0.1:8750", "ih_…").apps.chat("helpdesk", "How many days of leave?")`.

    Answers are plain dictionaries, typed in `inhouse.client.types`. What the server refuses is raised as the
    same kind of `InhouseError`, with its message and hint.
    """

    def __init__(self, base_url: str, api_key: str = "", *, timeout_s: float = 300.0, retries: int = 3) -> None:
        self.base_url = base_url
        self._http = Http(base_url, api_key, timeout_s=timeout_s, retries=retries)
        self.datasets = Datasets(self._http)
        self.label_queues = LabelQueues(self._http)
        self.runs = Runs(self._http)
        self.studies = Studies(self._http)
        self.models = Models(self._http)
        self.deployments = Deployments(self._http)
        self.knowledge = Knowledge(self._http)
        self.workflows = Workflows(self._http)
        self.apps = Apps(self._http)
        self.conversations = Conversations(self._http)
        self.feedback = Inbox(self._http)
        self.loop = Loop(self._http)
        self.releases = Releases(self._http)
        self.upstreams = Upstreams(self._http)
        self.gateway = Gateway(self._http)
        self.language_models = LanguageModels(self._http)
        self.traces = Traces(self._http)
        self.keys = Keys(self._http)
        self.users = Users(self._http)

    def me(self) -> Me:
        """Who the key belongs to and what it may do."""
        return self._http.get("me")

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
