"""Where requests for a model go."""

from dataclasses import dataclass, field

from inhouse.gateway.call import Backend


@dataclass(slots=True, eq=False)
class Target:
    """One model of one backend, and how it is doing. Kept as long as its route names it."""

    backend: Backend
    model: str
    weight: float = 1.0
    arm: str = ""
    """Targets of an experiment carry the arm's name; figures are kept for each arm."""
    in_flight: int = 0
    latency_s: float = 0.0
    """Moving average of the seconds to the answer's first byte."""
    id: str = field(init=False)
    """What metrics and logs call it."""

    def __post_init__(self) -> None:
        self.id = f"{self.backend.name}/{self.model}"


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """A model as clients know it.

    `balance` is `weighted`, `least-loaded` or `sticky`. `fallbacks` are names of other models, tried in order.
    """

    name: str
    targets: tuple[Target, ...]
    owner: str = "inhouse"
    created_at: float = 0.0
    balance: str = "weighted"
    fallbacks: tuple[str, ...] = ()
    shadow: tuple[Target, ...] = ()
    """Targets that get a copy of requests, each as often as its weight says (0..1); their answers reach nobody."""
    version: str = ""
    """Changes when other weights answer under the same name; caches keep versions apart."""
    prompt: str = ""
    """The prompt template that comes before the messages of every request."""
