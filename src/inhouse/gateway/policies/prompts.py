"""Put a named prompt before the messages: a template with versions, filled with the request's variables."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from inhouse.core.errors import Invalid, NotFound
from inhouse.gateway.call import Call, Endpoint
from inhouse.gateway.policy import Policy, Settings, policy

PLACE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]{0,63})\s*\}\}")
_MAX_CHARS = 256 << 10


class PromptNotFound(NotFound):
    """No prompt template has that name and version."""


class BadPrompt(Invalid):
    """The prompt of a request cannot be filled."""


class PromptsSettings(Settings):
    """Which prompt goes before the messages."""

    default: str = Field(
        default="",
        max_length=64,
        description="Template for chats where neither the request nor the model's route names one; none where empty.",
    )


@policy("prompts", order=25, settings=PromptsSettings)
class Prompts(Policy[PromptsSettings]):
    """Fills the template that a request, its route or the settings name, and puts it first as the system's words.

    A request names one by `"prompt": {"name": …, "version": …, "variables": {…}}`; without a version it gets the
    template's default one. Where the route names one, that one is taken: a request can only fill it.
    """

    @property
    def is_active(self) -> bool:
        return self.surroundings.prompts is not None

    def admit(self, call: Call) -> None:
        if call.endpoint is not Endpoint.CHAT:
            return
        if "prompt" in call.fields:
            asked = call.json("prompt")
            if not isinstance(asked, dict):
                raise BadPrompt("A chat's prompt is an object with a name.", param="prompt")
            asked = self._as_forced(call, asked)
            del call.fields["prompt"]
        elif name := call.route.prompt or self.settings.default:
            asked = {"name": name}
        else:
            return
        self._put_first(call, fill(self._template(asked), _variables(asked)))

    def _as_forced(self, call: Call, asked: dict[str, Any]) -> dict[str, Any]:
        """What was asked for, as the model's route allows it: its prompt is no client's to change, only to fill."""
        forced = call.route.prompt
        if not forced:
            return asked
        if asked.get("name", forced) != forced:
            raise BadPrompt(
                f"The model {call.route.name!r} has a prompt of its own.",
                hint="Leave out the prompt's name, or ask another model.",
                param="prompt",
            )
        return {"name": forced, "variables": asked.get("variables")}

    def _template(self, asked: Mapping[str, Any]) -> str:
        name, version = asked.get("name"), asked.get("version")
        if not isinstance(name, str) or isinstance(version, bool) or not isinstance(version, int | None):
            raise BadPrompt("A prompt has a name, and maybe a version that is a number.", param="prompt")
        prompts = self.surroundings.prompts
        found = prompts.find(self.surroundings.workspace_id, name, version) if prompts is not None else None
        if found is None:
            which = f"{name!r}" if version is None else f"{name!r} version {version}"
            raise PromptNotFound(f"There is no prompt {which}.", param="prompt")
        return found

    def _put_first(self, call: Call, text: str) -> None:
        messages = call.json("messages")
        if not isinstance(messages, list):
            raise BadPrompt("A chat needs a list of messages.", param="messages")
        first = messages[0] if messages else None
        if isinstance(first, dict) and first.get("role") == "system" and isinstance(first.get("content"), str):
            # Many models take no more than one system message.
            messages[0] = {**first, "content": f"{text}\n\n{first['content']}"}
        else:
            messages.insert(0, {"role": "system", "content": text})
        call.put("messages", messages)


def fill(template: str, variables: Mapping[str, str]) -> str:
    """Replace every `{{ name }}`. What is put in is not looked at again."""
    places = PLACE.findall(template)
    missing = sorted({name for name in places if name not in variables})
    if missing:
        raise BadPrompt(
            f"The prompt needs {', '.join(map(repr, missing))}.", hint="Send them as variables.", param="prompt"
        )
    if len(template) + sum(len(variables[name]) for name in places) > _MAX_CHARS:
        raise BadPrompt(f"The filled prompt has more than {_MAX_CHARS} characters.", param="prompt")
    return PLACE.sub(lambda found: variables[found[1]], template)


def _variables(asked: Mapping[str, Any]) -> dict[str, str]:
    given = asked.get("variables") or {}
    if not isinstance(given, dict) or not all(isinstance(value, str | int | float) for value in given.values()):
        raise BadPrompt("A prompt's variables are texts and numbers by name.", param="prompt")
    return {name: str(value) for name, value in given.items()}
