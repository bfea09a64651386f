from pathlib import Path

import pytest

from inhouse.core.settings import BadSettings, load_settings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_an_argument_wins_over_the_environment_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inhouse.toml").write_text('port = 1\nlog_level = "DEBUG"\nhost = "127.0.0.2"\n')
    monkeypatch.setenv("INHOUSE_PORT", "2")
    monkeypatch.setenv("INHOUSE_HOST", "127.0.0.3")

    settings = load_settings(port=3)

    assert (settings.port, settings.host, settings.log_level) == (3, "127.0.0.3", "DEBUG")


def test_nested_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INHOUSE_SERVING__THREADS", "4")

    assert load_settings().serving.threads == 4


def test_a_bad_value_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INHOUSE_SERVING__THREADS", "none")

    with pytest.raises(BadSettings, match=r"serving\.threads") as raised:
        load_settings()

    assert "INHOUSE_SERVING__THREADS" in raised.value.hint


def test_an_unknown_setting_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "inhouse.toml").write_text("prot = 1\n")

    with pytest.raises(BadSettings, match="prot"):
        load_settings()


def test_a_key_is_never_shown() -> None:
    assert "sk-secret" not in repr(load_settings(llm={"key": "sk-secret"}))
