"""Datasets with few rows, and stand-ins for the rooms above."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from inhouse.core.blobs import Blobs
from inhouse.core.db import Database
from inhouse.core.errors import Unavailable
from inhouse.core.principal import Principal
from inhouse.data.curation import Curation
from inhouse.data.datasets import Datasets
from inhouse.data.examples import Example


class NotThere(Unavailable):
    """No model answers."""


@dataclass(frozen=True)
class Text:
    text: str
    tokens: int = 7
    cost: float | None = 0.25


@dataclass
class Scripted:
    """A language model that says the same of everything, but fails at some texts."""

    answer: str = "1. {text} please\n- could you {text}"
    fails_at: str = "\0"
    asked: list[str] = field(default_factory=list)

    async def write(
        self,
        principal: Principal,
        model: str,
        messages: Sequence[dict[str, str]],
        *,
        temperature: float,
        max_tokens: int,
    ) -> Text:
        text = messages[-1]["content"]
        self.asked.append(text)
        if self.fails_at in text:
            raise NotThere("The model is away.", hint="Start it.")
        return Text(self.answer.format(text=text))


@dataclass
class Known:
    """What was made of datasets, as told."""

    models: dict[str, list[str]] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)

    def trained_on(self, principal: Principal) -> Mapping[str, Sequence[str]]:
        return self.models

    def fed_by(self, principal: Principal, dataset: str) -> Sequence[str]:
        return self.others


@pytest.fixture
def lineage() -> Known:
    return Known()


@pytest.fixture
def writer() -> Scripted:
    return Scripted()


@pytest.fixture
def datasets(sqlite: Database, blobs: Blobs) -> Datasets:
    return Datasets(sqlite, blobs)


@pytest.fixture
def curation(datasets: Datasets, writer: Scripted, lineage: Known) -> Curation:
    return Curation(datasets, writer=writer, lineage=lineage)


def rows(prefix: str, count: int, label: str = "leave", **more: str) -> list[Example]:
    return [Example(f"{prefix} number {n}", label, **more) for n in range(count)]
