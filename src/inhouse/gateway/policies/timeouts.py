"""How long to wait for a connection, a first token, the next one, and the whole answer."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from inhouse.core.fasthttp import Waits
from inhouse.gateway.call import Call
from inhouse.gateway.policy import Policy, Settings, Surroundings, policy


class ModelTimeouts(BaseModel):
    """What one model takes longer, or shorter, for. What is left out is as for all models."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    connect_s: float | None = Field(default=None, ge=0.1, le=60, description="Seconds to connect.")
    first_token_s: float | None = Field(default=None, ge=0.1, le=3600, description="Seconds to the first token.")
    idle_s: float | None = Field(default=None, ge=0.1, le=3600, description="Seconds between two parts of an answer.")
    total_s: float | None = Field(default=None, ge=60, le=86_400, description="Seconds for the whole answer.")


class TimeoutsSettings(Settings):
    """Seconds to wait. Clients may ask for a shorter time in all, never for a longer one."""

    connect_s: float = Field(default=5.0, ge=0.1, le=60, description="Seconds to connect to a model server.")
    first_token_s: float = Field(default=120.0, ge=0.1, le=3600, description="Seconds to the first token of a stream.")
    idle_s: float = Field(default=120.0, ge=0.1, le=3600, description="Seconds between two parts of an answer.")
    total_s: float = Field(default=600.0, ge=60, le=86_400, description="Seconds for the whole answer, with retries.")
    models: dict[str, ModelTimeouts] = Field(default_factory=dict, description="Other times for some models.")

    def of(self, model: str) -> Self:
        """The times of one model."""
        own = self.models.get(model)
        return self.model_copy(update=own.model_dump(exclude_none=True) if own else {})


@policy("timeouts", order=95, settings=TimeoutsSettings)
class Timeouts(Policy[TimeoutsSettings]):
    """Tells the rest of the way how long it may take."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._prepare()

    def configure(self, settings: TimeoutsSettings) -> None:
        super().configure(settings)
        self._prepare()

    def admit(self, call: Call) -> None:
        name = call.route.name
        streamed, whole, total_s = self._models.get(name, self._all)
        call.waits = streamed if call.stream else whole
        if not call.timeout_s or call.timeout_s >= total_s:
            call.timeout_s = total_s
        else:
            call.is_hurried = True

    def _prepare(self) -> None:
        self._all = _waits(self.settings)
        self._models = {name: _waits(self.settings.of(name)) for name in self.settings.models}


def _waits(times: TimeoutsSettings) -> tuple[Waits, Waits, float]:
    """What to wait for when an answer is streamed, when it comes as a whole, and in all.

    A whole answer begins when the model has finished it: there, only the total counts.
    """
    return (
        Waits(times.connect_s, times.first_token_s, times.idle_s),
        Waits(times.connect_s, times.total_s, times.idle_s),
        times.total_s,
    )
