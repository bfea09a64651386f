import io
import json
import logging

import pytest

from inhouse.core.logs import JsonFormatter, redact


@pytest.mark.parametrize(
    "secret",
    [
        "ih_key_AbCdEf12_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG1a2b3c4d",
        "sk-0123456789abcdef",
        "Bearer abc.def.ghi",
        "postgresql://user:pa55word@host/db",
    ],
)
def test_secrets_never_reach_the_log(secret: str) -> None:
    line = redact(f"failed with {secret} at the door")

    assert "[redacted]" in line
    assert not {"0123456789abcdef", "abc.def.ghi", "pa55word"} & set(line.replace("@", " ").replace(":", " ").split())
    assert "pa55word" not in line
    assert "at the door" in line


def test_a_line_is_json_with_its_extras() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.Logger("test")  # a private one
    logger.addHandler(handler)

    logger.warning("gone: %s", "模型", extra={"request_id": "req_1"})

    entry = json.loads(stream.getvalue())
    assert (entry["message"], entry["level"], entry["request_id"]) == ("gone: 模型", "warning", "req_1")
