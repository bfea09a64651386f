"""The gateway's pages in a real browser: what administrators set there holds for programs at once."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from browsers import Visit, assert_accessible, picture
from inhouse.client import Client
from inhouse.testing.language import tiny_adapter, tiny_language_model
from servers import Server, stand_in

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

HOSTILE = "<img src=x onerror=\"document.title = 'taken'\"> hello"
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def client(helpdesk_server: Server) -> Iterator[Client]:
    """A server with two models behind it; what the test sets is taken back."""
    with helpdesk_server.client() as client, stand_in(["small", "large"]) as lab:
        client.upstreams.connect("lab", lab.url)
        try:
            yield client
        finally:
            client.upstreams.disconnect("lab")
            for policy in client.gateway.policies():
                if policy["source"] == "api":
                    client.gateway.reset(policy["name"])


def tab(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Gateway").get_by_role("link", name=name, exact=True).click()


def cells(page: Page, model: str) -> Locator:
    """The cells of the row that begins with a model's name."""
    named = page.get_by_role("cell", name=model, exact=True)
    return page.get_by_role("row").filter(has=named).get_by_role("cell")


def describe_assistant(page: Page) -> None:
    """Describe a model whose requests go to two models of the lab in turn."""
    page.get_by_role("button", name="Describe a model").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name for clients").fill("assistant")
    dialog.get_by_role("button", name="Add a target").click()
    for place, name in enumerate(["small", "large"]):
        target = dialog.get_by_role("listitem").nth(place)
        target.get_by_label("Server").select_option("lab")
        target.get_by_label("Model").fill(name)
        target.get_by_label("Arm").fill(name)
    assert_accessible(page)
    dialog.get_by_role("button", name="Save").click()


def limit(page: Page, key_id: str) -> None:
    """Let one key make two requests a minute."""
    page.get_by_role("link", name="Rate limits").click()
    page.get_by_role("button", name="Add").click()
    rule = page.get_by_role("group", name="Who may make how many requests")
    rule.get_by_label("Who").fill(f"key:{key_id}")
    rule.get_by_label("Requests a minute").fill("2")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved and in force.")).to_be_visible()


def test_what_is_set_in_the_console_holds_for_programs(visit: Visit, helpdesk_server: Server, client: Client):
    client.gateway.set("audit", {"enabled": True})
    key = client.keys.create("till", ["chat:run"])
    page = visit()
    page.goto("/gateway")
    expect(page.get_by_role("combobox", name="Model")).to_contain_text("small")
    assert_accessible(page)

    tab(page, "Models")
    expect(page.get_by_role("button", name="small", exact=True)).to_be_visible()
    describe_assistant(page)
    expect(page.get_by_role("button", name="assistant", exact=True)).to_be_visible()
    for name in ("lab/small", "lab/large"):
        expect(cells(page, name).first).to_be_visible()
    picture(page, "gateway-models")
    assert_accessible(page)

    tab(page, "Usage")
    expect(page.get_by_label("Period")).to_be_visible()
    expect(cells(page, "assistant")).to_have_count(0)

    tab(page, "Policies")
    limit(page, key["id"])
    picture(page, "gateway-policy")
    assert_accessible(page)
    assert [ask(helpdesk_server, key["key"]) for _ in range(3)] == [200, 200, 429]

    tab(page, "Usage")
    page.reload()
    expect(cells(page, "assistant").nth(1)).to_have_text("3")
    picture(page, "gateway-usage")
    assert_accessible(page)

    tab(page, "Requests")
    page.get_by_label("Status").select_option("ok")
    page.get_by_role("row").filter(has_text="assistant").first.get_by_role("button").click()
    panel = page.get_by_role("complementary", name="Request")
    expect(panel).to_contain_text("<img src=x")
    assert panel.locator("img").count() == 0
    picture(page, "gateway-request")
    assert_accessible(page)


def ask(server: Server, key: str) -> int:
    """The status of one question to the assistant."""
    question = {"model": "assistant", "messages": [{"role": "user", "content": HOSTILE}]}
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(base_url=server.url, headers=headers, trust_env=False) as http:
        return http.post("/v1/chat/completions", json=question).status_code


@pytest.mark.usefixtures("client")
def test_a_model_is_tried_from_a_phone_in_the_dark(visit: Visit):
    page = visit(viewport=PHONE, is_mobile=True, has_touch=True, locale="zh-CN", color_scheme="dark")
    page.goto("/gateway")
    page.get_by_role("combobox", name="模型").select_option("small")
    page.get_by_label("问题").fill("Who are you?")
    page.get_by_role("button", name="发送").tap()

    expect(page.get_by_role("status", name="回答")).to_contain_text("Who are you?")
    expect(page.get_by_text("首个 token", exact=True)).to_be_visible()
    picture(page, "phone-gateway")
    assert_accessible(page)
    for place in ("/models", "/local", "/policies", "/policies/limits", "/keys", "/usage", "/requests", "/prompts"):
        page.goto(f"/gateway{place}")
        expect(page.get_by_role("navigation", name="网关").locator("[aria-current]")).to_be_in_viewport()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert_accessible(page)


def test_a_model_of_this_machine_is_loaded_adapted_tried_and_unloaded(visit: Visit, tmp_path: Path):
    base = tiny_language_model(tmp_path / "base")
    adapter = tiny_adapter(tmp_path / "adapter", base)
    page = visit()
    page.goto("/gateway/local")

    page.get_by_role("button", name="Load a model").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("tiny")
    dialog.get_by_label("Directory").fill(str(base))
    dialog.get_by_role("button", name="Load", exact=True).click()
    expect(cells(page, f"tiny {base}").nth(1)).to_have_text("loaded")
    page.get_by_role("button", name="Add adapter").click()
    dialog.get_by_label("Name").fill("polite")
    dialog.get_by_label("Directory").fill(str(adapter))
    dialog.get_by_role("button", name="Add adapter").click()
    expect(page.get_by_text("tiny:polite")).to_be_visible()
    picture(page, "gateway-local")
    assert_accessible(page)

    tab(page, "Overview")
    page.get_by_role("combobox", name="Model").select_option("tiny:polite")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("In all", exact=True)).to_be_visible()
    expect(page.get_by_role("status", name="Answer")).not_to_be_empty()

    tab(page, "Local models")
    page.get_by_role("button", name="Unload").click()
    page.get_by_role("dialog").get_by_role("button", name="Unload").click()
    expect(page.get_by_text("No model runs here yet")).to_be_visible()


PLAIN = "You are the help desk.\nAnswer briefly."
FRIENDLY = "You are the friendly help desk.\nAnswer briefly."


def test_a_prompt_gets_a_second_version_and_is_compared(visit: Visit, helpdesk_server: Server):
    page = visit()
    page.goto("/gateway/prompts")
    for name, template in (("New prompt", PLAIN), ("New version", FRIENDLY)):
        page.get_by_role("button", name=name).first.click()
        dialog = page.get_by_role("dialog")
        if name == "New prompt":
            dialog.get_by_role("textbox", name="Name", exact=True).fill("desk")
        dialog.get_by_label("Template").fill(template)
        dialog.get_by_role("button", name="Save").click()
        expect(dialog).to_have_count(0)

    page.get_by_label("Compare with").select_option("1")
    expect(page.locator("del")).to_have_text("You are the help desk.")
    expect(page.locator("ins")).to_have_text("You are the friendly help desk.")
    assert_accessible(page)
    page.get_by_role("button", name="Make default").click()
    expect(page.get_by_role("row").filter(has=page.get_by_text("default", exact=True))).to_contain_text("v2")
    with helpdesk_server.client() as client:
        assert [(one["name"], one["version"]) for one in client.gateway.prompts()] == [("desk", 2)]


def test_who_may_only_look_finds_nothing_to_change(visit: Visit, client: Client):
    client.users.create("vera", role="viewer")
    page = visit("vera")
    page.goto("/gateway/models")

    expect(page.get_by_text("gateway:write")).to_be_visible()
    expect(page.get_by_role("button", name="small", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Describe a model")).to_have_count(0)
    page.goto("/gateway/policies/limits")
    expect(page.get_by_role("spinbutton").first).to_be_disabled()
    expect(page.get_by_role("button", name="Save")).to_have_count(0)
    expect(page.get_by_role("link", name="Requests", exact=True)).to_have_count(0)
