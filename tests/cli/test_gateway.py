"""How the command line reads settings, targets and time spans."""

from typing import Any

import pytest

from inhouse.cli.gateway import NoSettings, _settings, _target
from inhouse.cli.key import NoDuration, _seconds


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (["default=desk"], {"default": "desk"}),
        (["default="], {"default": ""}),
        (["size=3", "share=0.5", "enabled=true"], {"size": 3, "share": 0.5, "enabled": True}),
        (['rules=[{"cost": 1}]', 'name="1"'], {"rules": [{"cost": 1}], "name": "1"}),
        (['{"rules": []}'], {"rules": []}),
    ],
    ids=str,
)
def test_settings_are_written_as_name_and_value(words: list[str], settings: dict[str, Any]):
    assert _settings(words) == settings


@pytest.mark.parametrize("words", [["default"], ["rules=[1"], ["{"]], ids=str)
def test_what_is_no_setting_is_told(words: list[str]):
    with pytest.raises(NoSettings):
        _settings(words)


def test_a_target_is_a_server_and_its_model():
    assert _target("lab/org/qwen:7b=0.5") == {"upstream": "lab", "model": "org/qwen:7b", "weight": 0.5}
    assert _target("lab/qwen")["weight"] == 1


@pytest.mark.parametrize("text", ["lab", "lab/", "lab/qwen=much"])
def test_what_is_no_target_is_told(text: str):
    with pytest.raises(NoSettings):
        _target(text)


@pytest.mark.parametrize(("text", "seconds"), [("30m", 1800), ("12h", 43_200), ("30d", 2_592_000), ("1y", 31_536_000)])
def test_a_key_ends_after_a_time_span(text: str, seconds: float):
    assert _seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5h", "soon"])
def test_what_is_no_time_span_is_told(text: str):
    with pytest.raises(NoDuration):
        _seconds(text)
