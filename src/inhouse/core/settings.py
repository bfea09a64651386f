"""Everything an operator can set. The only module that reads the environment.

Order: argument, `INHOUSE_…` environment variable (nested with `__`), `inhouse.toml`, default.
"""

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from inhouse.core.errors import Misconfigured


class BadSettings(Misconfigured):
    """A setting has a value that cannot be used."""


class Serving(BaseModel):
    threads: int = Field(default=1, ge=1, le=256, description="Inference threads shared by all models.")
    max_queue: int = Field(default=1024, ge=1, description="Most waiting predictions per model; more get a 429.")
    max_batch_tokens: int = Field(default=4096, ge=16, description="Most tokens in one forward pass.")
    memory_mb: int = Field(default=2048, ge=16, description="Memory budget for loaded models.")
    default_model: str = Field(default="", description="The model behind POST /predict without a name.")


class Training(BaseModel):
    concurrency: int = Field(default=1, ge=1, le=64, description="Runs that train at the same time.")
    threads: int = Field(default=2, ge=1, le=256, description="Threads of a run, shared by its processes.")
    executor: str = Field(default="local", max_length=64, description="Where runs are trained.")
    checkpoint_every_s: float = Field(
        default=10.0, ge=0, description="Seconds between checkpoints; saving never takes over a twentieth of the time."
    )
    keep_checkpoints: int = Field(
        default=2, ge=1, le=100, description="Newest checkpoints kept of a run; each holds its best weights as well."
    )
    checkpoint_copy: str = Field(
        default="", description="A second place for checkpoints: a directory, or an fsspec URL such as s3://bucket/dir."
    )
    keep_after_success: bool = Field(default=False, description="Keep the checkpoints of runs that succeeded.")
    tensorboard: bool = Field(default=True, description="Write curves for TensorBoard beside each run.")
    mlflow_url: str = Field(default="", description="Also log runs to this MLflow server, such as http://host:5000.")
    mlflow_token: SecretStr = Field(default=SecretStr(""), description="Its access token, if it wants one.")
    mlflow_experiment: str = Field(default="inhouse", min_length=1, description="The experiment there.")


class LanguageModel(BaseModel):
    """An OpenAI-compatible endpoint connected by configuration."""

    url: str = Field(default="", description="Base URL of an OpenAI-compatible server, such as http://host:11434/v1.")
    model: str = Field(default="", description="Model name there; empty takes the first it lists.")
    key: SecretStr = Field(default=SecretStr(""), description="Its API key, if it wants one.")


class LocalModel(BaseModel):
    """A language model, encoder or reranker that this server runs: a directory in the layout of Hugging Face."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(
        max_length=4096,
        description="Directory of the model on the server's machine, or model:version of a trained one.",
    )
    runtime: str = Field(
        default="auto", max_length=32, description="What runs it; auto takes the fastest that is installed and fits."
    )
    kind: Literal["auto", "chat", "embedding", "rerank"] = Field(
        default="auto", description="What it is for; auto looks into the directory."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="Precision of the weights; auto takes what the machine is fast with."
    )
    adapters: dict[str, str] = Field(default={}, description="LoRA adapters: name -> directory.")
    max_batch: int = Field(default=16, ge=1, le=1024, description="Most answers written at the same time.")
    kv_tokens: int = Field(default=16384, ge=64, description="Tokens that running requests may hold together.")
    idle_s: float = Field(default=1800.0, ge=0, description="Unload after so many seconds unused; 0 keeps it loaded.")


class Gateway(BaseModel):
    """Policies and models of the gateway. What is set here cannot be changed over the API."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    policies: dict[str, dict[str, Any]] = Field(default={}, description="Settings of policies, by name.")
    models: dict[str, dict[str, Any]] = Field(
        default={}, description="Models by the name that clients use: their targets, balance and fallbacks."
    )


SETTINGS_FILE = Path("inhouse.toml")


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="INHOUSE_", env_nested_delimiter="__", toml_file=SETTINGS_FILE, extra="forbid"
    )

    home: Path = Field(default=Path("var"), description="The data directory: database, files, keys, logs.")
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8750, ge=0, le=65535, description="Port to listen on; the next free one if taken.")
    database: str = Field(default="", description="Empty for SQLite in the data directory, or postgresql://….")
    redis: str = Field(
        default="",
        description="redis://… to tell other servers of changes (several on one database are not supported yet).",
    )
    blobs: str = Field(default="", description="Empty for files in the data directory, or an fsspec URL.")
    allowed_hosts: list[str] = Field(
        default=[], description="Host names this server answers to besides localhost and its address."
    )
    admin_password: SecretStr = Field(
        default=SecretStr(""), description="Password of the administrator, set when it differs at start."
    )
    secure_cookies: bool = Field(default=False, description="Send session cookies over HTTPS only.")
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Least level logged.")
    max_upload_mb: int = Field(default=100, ge=1, description="Largest upload.")
    serving: Serving = Serving()
    training: Training = Training()
    llm: LanguageModel = LanguageModel()
    gateway: Gateway = Gateway()
    language_models: dict[str, LocalModel] = Field(default={}, description="Models that this server runs, by name.")

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.home / 'inhouse.db'}"

    @property
    def jobs_url(self) -> str:
        return self.database or f"sqlite:///{self.home / 'jobs.db'}"

    @property
    def blobs_url(self) -> str:
        return self.blobs or str(self.home / "blobs")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load_settings(**arguments: object) -> Settings:
    """Read the settings; arguments that are None don't count."""
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        settings = Settings(**given)  # pyright: ignore[reportArgumentType]  # validated by pydantic
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise BadSettings(f"{SETTINGS_FILE} cannot be read: {error}.") from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise BadSettings(
            f"The setting {name!r} cannot be used: {first['msg']}.",
            hint=f"Look at INHOUSE_{name.upper().replace('.', '__')} and inhouse.toml.",
        ) from error
    return settings.model_copy(update={"home": settings.home.expanduser().absolute()})


def plain_environment() -> dict[str, str]:
    """The environment without any setting of ours, for a server that must not share this one's data."""
    return {name: value for name, value in os.environ.items() if not name.startswith("INHOUSE_")}


def client_defaults() -> tuple[str, str]:
    """URL and key for a client of a running server, from `INHOUSE_URL` and `INHOUSE_KEY`; empty where unset."""
    return os.environ.get("INHOUSE_URL", ""), os.environ.get("INHOUSE_KEY", "")
