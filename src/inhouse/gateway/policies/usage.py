"""Keep account of requests, tokens and cost for every key, user, team, model, server and arm."""

from pydantic import BaseModel, ConfigDict, Field

from inhouse.gateway.call import Call, Outcome
from inhouse.gateway.policy import Policy, Settings, policy
from inhouse.gateway.prices import Price

_HOUR_S = 3600


class PriceOf(BaseModel):
    """What a model costs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        min_length=1, max_length=300, description="server/model, model, or name here; * stands for any text."
    )
    input: float = Field(default=0, ge=0, le=1e9, description="For a million tokens that the model reads.")
    output: float = Field(default=0, ge=0, le=1e9, description="For a million tokens that it writes.")


class UsageSettings(Settings):
    """What models cost."""

    prices: tuple[PriceOf, ...] = Field(
        default=(), max_length=1000, description="Prices; the first that fits counts. Without one there is no cost."
    )
    currency: str = Field(default="USD", min_length=1, max_length=8, description="In which the prices are.")


@policy("usage", order=10, settings=UsageSettings)
class Usage(Policy[UsageSettings]):
    """Writes every request into the ledger, behind the answer."""

    def configure(self, settings: UsageSettings) -> None:
        self.settings = settings
        self.surroundings.prices.set([(one.model, Price(one.input, one.output)) for one in settings.prices])

    def settle(self, call: Call, outcome: Outcome) -> None:
        used = self.surroundings.prices.used(call, outcome)
        spending = self.surroundings.spending
        if spending is None:
            return
        who = call.principal
        spending.record(
            (
                who.workspace_id,
                int(self.surroundings.now()) // _HOUR_S,
                who.key_id,
                who.person,
                who.team,
                call.route.name,
                call.target.id if call.target is not None else "",
                call.arm,
            ),
            outcome.status,
            bool(call.cache),
            used,
        )
