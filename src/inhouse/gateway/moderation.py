"""The guard as a model: `/v1/moderations` passes the same policies as every other request."""

from typing import Any

from inhouse.gateway import wire
from inhouse.gateway.call import Call, Reply
from inhouse.gateway.chain import Chain
from inhouse.gateway.route import Route, Target

MODERATOR = "inhouse-guard"


class Moderator:
    """Says which of the guard's rules match a text."""

    name = "inhouse"

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    async def send(self, call: Call, model: str) -> Reply:
        given = call.json("input")
        texts = [given] if isinstance(given, str) else [_words(item) for item in given]
        result: dict[str, Any] = await self._chain["guard"].moderate(texts)
        return Reply(wire.encode({"id": f"modr-{call.request_id}", "model": model, **result}))


def moderation(chain: Chain) -> Route:
    return Route(MODERATOR, (Target(Moderator(chain), MODERATOR),), "inhouse")


def _words(item: Any) -> str:
    return item if isinstance(item, str) else str(item.get("text", ""))
