import httpx
import pytest

from inhouse.apps.publish import AppExists, AppNotFound, Apps
from inhouse.core.principal import Principal

from .conftest import FACE, Desk


async def test_an_app_is_published_changed_and_listed(desk: Desk, ann: httpx.AsyncClient):
    new = {"name": "second", "workflow": "help", "title": "Second", "suggested": [{"en": "Leave?", "zh": "请假？"}]}
    published = await ann.post("/apps", json=new)
    changed = await ann.put("/apps/second", json={**new, "opener": {"en": "Hi", "zh": "您好"}})

    assert published.status_code == 201
    assert published.json()["title"] == {"en": "Second", "zh": "Second"}
    assert changed.json()["opener"] == {"en": "Hi", "zh": "您好"}
    assert (await ann.get("/apps/second")).json() == changed.json()
    assert [app["name"] for app in (await ann.get("/apps")).json()["items"]] == ["second", "helpdesk"]


def test_apps_survive_a_restart(desk: Desk, principal: Principal):
    restarted = Apps(desk.db, desk.workflows)
    restarted.refresh()

    assert restarted.list(principal) == desk.apps.list(principal)


def test_without_a_name_the_first_app_answers(desk: Desk, principal: Principal):
    desk.apps.publish(principal, "second", "help", FACE)

    assert desk.apps.get(principal, "").name == "helpdesk"


def test_a_taken_name_is_refused(desk: Desk, principal: Principal):
    with pytest.raises(AppExists):
        desk.apps.publish(principal, "helpdesk", "help", FACE)


def test_another_workspace_has_its_own_apps(desk: Desk, stranger: Principal):
    with pytest.raises(AppNotFound) as refused:
        desk.apps.get(stranger, "")

    assert refused.value.hint == "Publish a workflow as an app first."


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"name": "Not a name"}, 422),
        ({"workflow": "nowhere"}, 404),
        ({"title": {"en": "Only English"}}, 422),
        ({"title": 7}, 422),
    ],
)
async def test_an_app_that_cannot_be_published_is_refused(
    desk: Desk, ann: httpx.AsyncClient, change: dict[str, object], status: int
):
    body = {"name": "new", "workflow": "help", "title": "New", **change}

    assert (await ann.post("/apps", json=body)).status_code == status
