import os
from pathlib import Path
from typing import Any

import pytest

from inhouse.core.db import Database, DatabaseAway
from inhouse.core.errors import NotFound
from inhouse.core.principal import Principal
from inhouse.core.settings import BadSettings, Settings, load_settings
from inhouse.core.settings import Gateway as FileSettings
from inhouse.gateway import store
from inhouse.gateway.configuration import (
    BadPolicySettings,
    BadRoute,
    Configuration,
    NotSet,
    SetInFile,
    route_document,
    texts,
)
from inhouse.gateway.policies.limits import LimitsSettings
from inhouse.gateway.policy import policies
from inhouse.gateway.schemas import RouteDocument

LIMITS = {"rules": [{"requests_per_minute": 60}]}
ROUTE: dict[str, Any] = {"targets": [{"upstream": "lab", "model": "told"}]}


class File:
    """A settings file that says what we want, whatever is in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.says: FileSettings | BadSettings = FileSettings()
        self._time = 1_000_000_000
        path.touch()

    def write(self, says: FileSettings | BadSettings) -> None:
        self.says = says
        self._time += 1_000_000_000
        os.utime(self.path, ns=(self._time, self._time))

    def read(self) -> FileSettings:
        if isinstance(self.says, BadSettings):
            raise self.says
        return self.says


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "inhouse.toml")


@pytest.fixture
def heard() -> list[str]:
    return []


@pytest.fixture
def configuration(db: Database, file: File, heard: list[str]) -> Configuration:
    return Configuration(db, file=file.path, read=file.read, changed=lambda: heard.append("changed"))


def requests_per_minute(configuration: Configuration, workspace: str = "default") -> int | None:
    found = configuration.policies(workspace)["limits"]
    assert isinstance(found, LimitsSettings)
    return found.rules[0].requests_per_minute


def test_settings_are_kept_and_others_are_told(
    configuration: Configuration, db: Database, principal: Principal, heard: list[str]
):
    configuration.put_policy(principal, "limits", LIMITS)
    configuration.put_policy(principal, "limits", {"rules": [{"requests_per_minute": 7}]})

    another = Configuration(db)
    another.refresh()

    assert [requests_per_minute(one) for one in (configuration, another)] == [7, 7]
    assert configuration.source_of_policy(principal, "limits") == "api"
    assert heard == ["changed"] * 2


def test_deleted_settings_are_the_default_ones(configuration: Configuration, principal: Principal):
    configuration.put_policy(principal, "limits", LIMITS)

    configuration.delete_policy(principal, "limits")

    assert configuration.policies("default") == {}
    with pytest.raises(NotSet):
        configuration.delete_policy(principal, "limits")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"rule": []}, "rule: Extra"),
        ({"rules": [{"requests_per_minute": 0}]}, "rules.0.requests_per_minute"),
        ({"rules": [{"subject": "me"}]}, "rules.0.subject"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(
    configuration: Configuration, principal: Principal, settings: dict[str, Any], told: str
):
    with pytest.raises(BadPolicySettings, match=told):
        configuration.put_policy(principal, "limits", settings)

    assert configuration.policies("default") == {}


def test_an_unknown_policy_is_told(configuration: Configuration, principal: Principal):
    with pytest.raises(NotFound, match="'limit'"):
        configuration.put_policy(principal, "limit", {})


def test_workspaces_have_their_own_settings(configuration: Configuration, principal: Principal, stranger: Principal):
    configuration.put_policy(principal, "limits", LIMITS)
    configuration.put_route(principal, "chat", RouteDocument.model_validate(ROUTE))

    assert (configuration.policies("elsewhere"), configuration.routes("elsewhere")) == ({}, {})
    with pytest.raises(NotSet):
        configuration.delete_route(stranger, "chat")


def test_a_model_is_described_and_forgotten(configuration: Configuration, db: Database, principal: Principal):
    document = RouteDocument.model_validate({**ROUTE, "aliases": ["gpt-4o"], "balance": "sticky"})
    configuration.put_route(principal, "org/chat:7b", document)
    another = Configuration(db)
    another.refresh()

    assert another.routes("default") == {"org/chat:7b": document}
    configuration.delete_route(principal, "org/chat:7b")

    assert configuration.routes("default") == {}


@pytest.mark.parametrize("name", ["", " ", "a b", "*a", "x" * 201, "名", "a\n"])
def test_a_model_has_a_name_that_clients_can_write(configuration: Configuration, principal: Principal, name: str):
    with pytest.raises(BadRoute):
        configuration.put_route(principal, name, RouteDocument.model_validate(ROUTE))


@pytest.mark.parametrize(
    "document",
    [{}, {"targets": []}, {"targets": [{**ROUTE["targets"][0], "weight": 0}]}, {**ROUTE, "balance": "dice"}],
    ids=str,
)
def test_a_model_without_anything_that_answers_is_refused(document: dict[str, Any]):
    with pytest.raises(BadRoute):
        route_document("chat", document)


def test_the_file_wins_and_is_changed_there_only(db: Database, principal: Principal):
    says = FileSettings(policies={"limits": LIMITS}, models={"chat": ROUTE})
    earlier = Configuration(db)
    earlier.put_policy(principal, "limits", {"rules": [{"requests_per_minute": 7}]})
    configuration = Configuration(db, says)
    configuration.refresh()

    assert requests_per_minute(configuration) == 60
    assert configuration.source_of_policy(principal, "limits") == "toml"
    assert configuration.source_of_route(principal, "chat") == "toml"
    with pytest.raises(SetInFile):
        configuration.put_policy(principal, "limits", {})
    with pytest.raises(SetInFile):
        configuration.delete_route(principal, "chat")


def test_policies_of_the_file_hold_for_everybody_and_models_for_the_first_workspace(db: Database):
    configuration = Configuration(db, FileSettings(policies={"limits": LIMITS}, models={"chat": ROUTE}))

    assert requests_per_minute(configuration, "elsewhere") == 60
    assert configuration.routes("elsewhere") == {}


def test_a_server_does_not_start_with_a_wrong_file(db: Database):
    with pytest.raises(BadPolicySettings):
        Configuration(db, FileSettings(policies={"limits": {"rules": 1}}))


def test_a_changed_file_is_in_force_at_once(configuration: Configuration, file: File, heard: list[str]):
    assert not configuration.watch()
    file.write(FileSettings(policies={"limits": LIMITS}))

    assert configuration.watch()

    assert requests_per_minute(configuration) == 60
    assert heard == ["changed"]
    assert not configuration.watch()


@pytest.mark.parametrize("bad", [BadSettings("Line 3 is no TOML."), FileSettings(policies={"limits": {"rules": 1}})])
def test_a_bad_file_keeps_the_old_settings(configuration: Configuration, file: File, bad: Any):
    file.write(FileSettings(policies={"limits": LIMITS}))
    configuration.watch()

    file.write(bad)
    assert not configuration.watch()

    assert requests_per_minute(configuration) == 60
    assert configuration.file_error
    file.write(FileSettings())
    configuration.watch()
    assert (configuration.file_error, configuration.policies("default")) == ("", {})


def test_a_file_that_could_not_be_taken_over_is_tried_again(sqlite: Database, file: File):
    away = [DatabaseAway("The database does not answer.")]

    def changed() -> None:
        if away:
            raise away.pop()

    configuration = Configuration(sqlite, file=file.path, read=file.read, changed=changed)
    file.write(FileSettings(policies={"limits": LIMITS}))

    with pytest.raises(DatabaseAway):
        configuration.watch()

    assert configuration.watch()


def test_what_an_other_release_stored_is_ignored_and_told(db: Database, principal: Principal):
    with db.write() as conn:
        store.save_policy(conn, principal, "gone", {"a": 1})
        store.save_policy(conn, principal, "limits", {"rules": 1})
        store.save_policy(conn, principal, "keys", {})
    configuration = Configuration(db)

    configuration.refresh()

    assert list(configuration.policies("default")) == ["keys"]
    assert [problem.what for problem in configuration.problems] == ["policy 'gone'", "policy 'limits'"]


def test_toml_is_read_with_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inhouse.toml").write_text(
        "[[gateway.policies.limits.rules]]\nrequests_per_minute = 60\n"
        '[gateway.models.chat]\ntargets = [{upstream = "lab", model = "told"}]\n'
    )

    found = load_settings().gateway

    assert found == FileSettings(policies={"limits": LIMITS}, models={"chat": ROUTE})
    (tmp_path / "inhouse.toml").write_text("[gateway\n")
    with pytest.raises(BadSettings, match=r"inhouse\.toml cannot be read"):
        load_settings()
    assert Settings.model_config.get("toml_file") == Path("inhouse.toml")


@pytest.mark.parametrize("name", ["usage", "keys", "prompts", "limits", "budget"])
def test_the_console_can_draw_every_setting_in_both_languages(name: str):
    for found in texts(name).values():
        assert found["title"]
        assert found["description"]
        assert found["settings"].keys() == policies[name].settings_type.model_fields.keys()
