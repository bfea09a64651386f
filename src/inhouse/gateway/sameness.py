"""Whether two requests ask the same: a digest of everything that an answer depends on."""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from inhouse.gateway.call import Call

_LEAVES_NO_TRACE = frozenset(
    {"user", "stream", "stream_options", "metadata", "store", "safety_identifier", "prompt_cache_key", "service_tier"}
)
_sorted = msgspec.json.Encoder(order="sorted").encode


def digest(call: Call, share: str, **instead: Any) -> bytes | None:
    """Equal for requests that ask the same of the same version of a model; None where the body cannot be read.

    `share` says among whom: one `key`, or the `workspace`. `instead` replaces members of the body. The digest is a
    cryptographic one: a collision would show one person's answer to another.
    """
    who = call.principal
    sharer = (who.key_id or who.user_id) if share == "key" else ""
    try:
        body = {
            name: instead[name] if name in instead else msgspec.json.decode(value)
            for name, value in call.fields.items()
            if name not in _LEAVES_NO_TRACE
        }
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return _digest([who.workspace_id, share, sharer, call.endpoint.value, call.route.name, call.route.version], body)


def _digest(scope: list[str], body: Mapping[str, Any]) -> bytes:
    return hashlib.blake2b(_sorted([scope, body]), digest_size=32).digest()
