import pytest

from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.gateway.policies.prompts import PromptNotFound
from inhouse.gateway.prompts import BadTemplate, Prompts, variables


@pytest.fixture
def prompts(db: Database) -> Prompts:
    return Prompts(db)


def test_the_first_version_is_the_default_until_another_is_chosen(prompts: Prompts, principal: Principal):
    prompts.add(principal, "desk", "Help!")
    second = prompts.add(principal, "desk", "Help {{ who }}!", "personal")

    assert (second.version, second.is_default) == (2, False)
    assert prompts.find("default", "desk") == "Help!"
    assert prompts.choose(principal, "desk", 2).is_default
    assert prompts.find("default", "desk") == "Help {{ who }}!"
    assert prompts.find("default", "desk", 1) == "Help!"
    assert [one.version for one in prompts.versions(principal, "desk")] == [2, 1]
    assert [one.version for one in prompts.list(principal)] == [2]


def test_another_server_sees_prompts_after_a_refresh(prompts: Prompts, db: Database, principal: Principal):
    other = Prompts(db)
    prompts.add(principal, "desk", "Help!")

    other.refresh()

    assert other.find("default", "desk") == "Help!"


def test_workspaces_do_not_share_prompts(prompts: Prompts, principal: Principal, stranger: Principal):
    prompts.add(principal, "desk", "Help!")

    assert prompts.find("elsewhere", "desk") is None
    assert prompts.list(stranger) == []
    with pytest.raises(PromptNotFound):
        prompts.choose(stranger, "desk", 1)
    with pytest.raises(PromptNotFound):
        prompts.versions(stranger, "desk")
    with pytest.raises(PromptNotFound):
        prompts.version(principal, "desk", 2)


@pytest.mark.parametrize("template", ["{{ a.b }}", "{{ a | upper }}", "{% for x in y %}", "{{ }}", "{{ 1 }}"])
def test_a_template_has_places_and_nothing_else(prompts: Prompts, principal: Principal, template: str):
    with pytest.raises(BadTemplate):
        prompts.add(principal, "desk", template)


def test_the_places_of_a_template_are_its_variables():
    assert variables('{{ b }} {{a}} {{ b }} {"json": {}}') == ["a", "b"]
