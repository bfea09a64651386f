"""The gateway: who may use which models, how much, and where requests go."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from inhouse.client.http import Http
from inhouse.client.types import (
    GatewayModel,
    GatewayState,
    KeptRequest,
    KeptRequestDetail,
    KeptRequestsVerified,
    Policy,
    Prompt,
    Usage,
)

UsageBy = Literal["key", "user", "team", "model", "target", "arm", "hour"]


class Gateway:
    """Policies, models, prompts and usage."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def state(self) -> GatewayState:
        """How the gateway is doing."""
        return self._http.get("gateway")

    def policies(self) -> Sequence[Policy]:
        """Every policy in the order that requests pass them, with its settings."""
        return self._http.get("gateway", "policies")["items"]

    def set(self, policy: str, settings: Mapping[str, Any]) -> Policy:
        """Set what a policy does; what is not named gets its default."""
        return self._http.send("PUT", "gateway", "policies", policy, body=dict(settings))

    def reset(self, policy: str) -> None:
        """Give a policy its default settings back."""
        self._http.send("DELETE", "gateway", "policies", policy)

    def models(self) -> Sequence[GatewayModel]:
        """Every model, with its targets and how they are doing."""
        return self._http.get("gateway", "models")["items"]

    def set_model(self, name: str, targets: Sequence[Mapping[str, Any]], **more: Any) -> GatewayModel:
        """Describe a model: `targets` such as `{"upstream": "lab", "model": "qwen", "weight": 1}`.

        `more` may have `balance`, `fallbacks`, `shadow`, `prompt` and `aliases`.
        """
        document = {"targets": [dict(target) for target in targets], **more}
        return self._http.send("PUT", "gateway", "models", name, body=document)

    def delete_model(self, name: str) -> None:
        """Forget the description of a model."""
        self._http.send("DELETE", "gateway", "models", name)

    def prompts(self) -> Sequence[Prompt]:
        """The default version of every prompt."""
        return self._http.get("gateway", "prompts")["items"]

    def prompt_versions(self, name: str) -> Sequence[Prompt]:
        """Every version of a prompt, the newest first."""
        return self._http.get("gateway", "prompts", name)["items"]

    def prompt(self, name: str, version: int) -> Prompt:
        return self._http.get("gateway", "prompts", name, "versions", version)

    def add_prompt(self, name: str, template: str, *, note: str = "") -> Prompt:
        """Add the next version of a prompt: a text with `{{ name }}` places. The first is the default one."""
        return self._http.post("gateway", "prompts", body={"name": name, "template": template, "note": note})

    def choose_prompt(self, name: str, version: int) -> Prompt:
        """Choose the version that requests get which name none."""
        return self._http.send("PUT", "gateway", "prompts", name, "default", body={"version": version})

    def usage(self, by: UsageBy = "model", *, start: float | None = None, end: float | None = None) -> Sequence[Usage]:
        """What was used between two times (unix seconds), in whole hours; the most used first."""
        return self._http.send("GET", "gateway", "usage", params={"by": by, "from": start, "to": end})["items"]

    def requests(
        self,
        *,
        since: float | None = None,
        until: float | None = None,
        key: str = "",
        user: str = "",
        model: str = "",
        status: str = "",
        text: str = "",
        limit: int = 50,
    ) -> Sequence[KeptRequest]:
        """Requests that the audit kept, newest first. `status` is `ok`, `error` or a number."""
        wanted = {"since": since, "until": until, "key": key, "user": user, "model": model, "status": status}
        found: list[KeptRequest] = []
        cursor = ""
        while len(found) < limit:
            params = {**wanted, "text": text, "limit": min(limit - len(found), 500), "cursor": cursor}
            page = self._http.get("gateway", "requests", **params)
            found += page["items"]
            cursor = page["next"]
            if not cursor:
                break
        return found

    def request(self, request_id: str) -> KeptRequestDetail:
        """One request, with what was asked and answered."""
        return self._http.get("gateway", "requests", request_id)

    def verify(self) -> KeptRequestsVerified:
        """Look for the first kept request that was changed, removed or put in. It needs the audit's `chain`."""
        return self._http.get("gateway", "requests", "verify")
