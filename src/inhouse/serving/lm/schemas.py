"""Wire shapes of the language models API."""

from pydantic import BaseModel, Field

from inhouse.core.settings import LocalModel
from inhouse.serving.language_models import Entry


class NewLanguageModel(LocalModel):
    """A model directory to take up under a name."""

    name: str = Field(max_length=63, description="What requests call it.")


class NewAdapter(BaseModel):
    """A LoRA adapter of a model that runs."""

    name: str = Field(max_length=63, description="Requests ask for `model:adapter`.")
    path: str = Field(max_length=4096, description="Its directory, or model:version of a trained one.")


class LanguageModelOut(BaseModel):
    name: str
    kind: str
    state: str
    error: str
    runtime: str
    path: str
    adapters: dict[str, str]
    version: str
    source: str
    created_at: float

    @classmethod
    def of(cls, entry: Entry) -> "LanguageModelOut":
        return cls(
            name=entry.name,
            kind=entry.kind,
            state=entry.state,
            error=entry.error,
            runtime=entry.runtime,
            path=entry.path,
            adapters=dict(entry.adapters),
            version=entry.version,
            source=entry.source,
            created_at=entry.created_at,
        )


class RuntimeOut(BaseModel):
    name: str
    missing: str = Field(description="What to do before it can be used; empty where nothing.")


class LanguageModelList(BaseModel):
    items: list[LanguageModelOut]
    runtimes: list[RuntimeOut]
