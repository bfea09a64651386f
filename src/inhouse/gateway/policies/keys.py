"""Let keys, users and teams use only the models and endpoints that are theirs."""

from fnmatch import fnmatchcase

from pydantic import Field

from inhouse.core.errors import Denied
from inhouse.core.principal import Principal
from inhouse.gateway.call import Call, Endpoint
from inhouse.gateway.policy import Policy, Settings, Surroundings, policy
from inhouse.gateway.subjects import Rule

_MAX_KNOWN = 10_000


class ModelNotAllowed(Denied):
    """The model exists, but not for this key."""


class EndpointNotAllowed(Denied):
    """The endpoint is not for this key."""


class Allowed(Rule):
    """What somebody may use. Who is named by a rule may use what their rules say, and nothing else."""

    endpoints: tuple[Endpoint, ...] = Field(default=(), max_length=20, description="Endpoints; all where empty.")


class KeysSettings(Settings):
    """Who may use which models and endpoints, besides what each key's own list says."""

    rules: tuple[Allowed, ...] = Field(
        default=(), max_length=1000, description="Who may use what. Who no rule names may use everything."
    )


@policy("keys", order=20, settings=KeysSettings)
class Keys(Policy[KeysSettings]):
    """Refuses models and endpoints that are not for who asks."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        surroundings.may_use = self.allows
        self._known: dict[tuple[str, str, tuple[str, ...], str, str, int], bool] = {}

    def configure(self, settings: KeysSettings) -> None:
        self.settings = settings
        self._known = {}

    def admit(self, call: Call) -> None:
        who = call.principal
        if not who.models and not self.settings.rules:
            return
        # The endpoint by its id: an enumeration's hash is slow.
        place = (who.user_id, who.team, who.models, call.route.name, call.model, id(call.endpoint))
        known = self._known  # before the rules: what older ones allow must not get among what newer ones allow
        if place not in known:
            self._check(call)
            if len(known) >= _MAX_KNOWN:
                known.clear()
            known[place] = True

    def allows(self, principal: Principal, *names: str) -> bool:
        """Whether somebody may use a model that goes by these names, on some endpoint."""
        if principal.models and not _fits(principal.models, names):
            return False
        rules = [rule for rule in self.settings.rules if rule.counts(principal)]
        return not rules or any(rule.fits(name) for rule in rules for name in names)

    def _check(self, call: Call) -> None:
        names = {call.route.name, call.model}
        if not self.allows(call.principal, *names):
            raise ModelNotAllowed(
                f"This key may not use the model {call.model!r}.",
                hint="Ask an administrator for a key that may.",
                param="model",
            )
        rules = [rule for rule in self.settings.rules if rule.counts(call.principal)]
        fitting = [rule for rule in rules if any(rule.fits(name) for name in names)]
        if fitting and not any(not rule.endpoints or call.endpoint in rule.endpoints for rule in fitting):
            raise EndpointNotAllowed(
                f"This key may not use /v1/{call.endpoint} with the model {call.model!r}.",
                hint="Ask an administrator for a key that may.",
            )


def _fits(patterns: tuple[str, ...], names: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)
