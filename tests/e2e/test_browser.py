"""The console in a real browser, on the help-desk example: what people see, click and type."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from anyio.from_thread import start_blocking_portal
from playwright.sync_api import Browser, Locator, Page, expect

from browsers import Visit, assert_accessible, picture
from inhouse.cli.helpdesk import NAME
from inhouse.testing.upstream import Reply, says, scripted_upstream
from servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

CARRY_OVER = "How many unused leave days can I carry over to next year?"
STAGES = ["Data", "Training", "Model", "Serving", "App", "Feedback"]
PHONE = {"width": 390, "height": 844}
ENDLESS = {"epochs": 1000, "patience": 0, "batch_size": 16}


@contextmanager
def language_model(server: Server, *replies: Reply) -> Iterator[None]:
    """Connect a language model that says what it is told."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(scripted_upstream(*replies)) as upstream,
        server.client() as client,
    ):
        client.upstreams.connect("told", upstream.url)
        try:
            yield
        finally:
            client.upstreams.disconnect("told")


def follow(page: Page, link: str) -> Page:
    page.get_by_role("link", name=link, exact=True).click()
    page.wait_for_load_state("networkidle")
    return page


def ask(page: Page, question: str) -> Locator:
    """Ask in the open chat; gives the turn with its answer."""
    box = page.get_by_role("textbox", name="Ask a question")
    box.fill(question)
    box.press("Enter")
    return answered(page, question)


def answered(page: Page, question: str) -> Locator:
    """The turn of a question, once its answer is complete."""
    turn = page.locator("li").filter(has=page.get_by_text(question, exact=True)).last
    expect(turn.get_by_role("button", name="Good answer")).to_be_visible()
    return turn


def test_home_shows_the_loop_and_what_to_do_next(visit: Visit):
    page = visit()

    stages = page.get_by_role("region", name="The loop").get_by_role("listitem")
    expect(stages.get_by_role("heading")).to_have_text(STAGES)
    expect(stages.locator("strong").first).to_have_text(re.compile(r"^\d,\d{3}$"))
    expect(page.get_by_text("Next", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name=CARRY_OVER)).to_be_visible()
    picture(page, "home")
    assert_accessible(page)


def test_users_meet_no_page_that_they_may_not_use(visit: Visit, helpdesk_server: Server):
    with helpdesk_server.client() as client:
        client.users.create("ann", role="user")
    page = visit("ann")

    turn = answered(follow(page, CARRY_OVER), CARRY_OVER)
    turn.get_by_role("button", name="Source 1").first.click()
    expect(page.get_by_role("complementary").locator("mark").first).to_be_visible()
    menu = page.get_by_role("navigation", name="Main").get_by_role("listitem")
    entries = menu.all_inner_texts()
    assert "Training" not in entries
    for entry in entries:
        expect(follow(page, entry).get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_role("alert")).to_have_count(0)


def test_a_sign_in_link_works_once(browser: Browser, helpdesk_server: Server):
    with helpdesk_server.client() as client:
        link = helpdesk_server.url + client.users.link("admin")

    with browser.new_context() as first, browser.new_context() as second:
        used = first.new_page().goto(link)
        again = second.new_page().goto(link)

    assert used is not None
    assert used.status == 200
    assert again is not None
    assert again.status in (401, 403)


def test_a_citation_opens_the_passage_that_says_it(visit: Visit):
    page = visit()
    turn = answered(follow(page, CARRY_OVER), CARRY_OVER)

    turn.get_by_role("button", name="Source 1").first.click()

    panel = page.get_by_role("complementary")
    expect(panel).to_contain_text(re.compile(r"Document\s*leave\.en\.pdf\s*Page\s*\d+"))
    expect(panel.locator("mark").first).to_contain_text("Unused annual leave of up to 5 days is carried over")
    picture(page, "chat")
    assert_accessible(page)


def test_an_answer_is_shown_while_it_is_written_and_can_be_stopped(visit: Visit, helpdesk_server: Server):
    page = visit()
    with language_model(helpdesk_server, says("Up to five days. [1] " + "And so on. " * 200, pause_s=0.1)):
        page.goto(f"/chat/{NAME}")
        page.get_by_role("button", name=CARRY_OVER).click()

        expect(page.get_by_text("Up to five days.")).to_be_visible()
        page.get_by_role("button", name="Stop").click()

    expect(page.get_by_text("Stopped.")).to_be_visible()
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_a_correction_reaches_the_inbox_and_is_accepted_by_keyboard(visit: Visit, helpdesk_server: Server):
    question = "I left my Kestrel at home, what now?"
    page = visit()
    page.goto(f"/chat/{NAME}")
    turn = ask(page, question)
    turn.get_by_role("button", name="Bad answer").click()
    turn.get_by_text("Wrong topic").click()
    turn.get_by_label("Right topic").select_option("mfa_device")
    turn.get_by_role("button", name="Send correction").click()
    turn.get_by_role("link", name="Feedback inbox").click()

    expect(page.get_by_role("heading", name=question)).to_be_visible()
    expect(page.get_by_label("Right topic")).to_have_value("mfa_device")
    picture(page, "feedback")
    assert_accessible(page)
    page.keyboard.press("a")

    expect(page.get_by_text("The inbox is empty")).to_be_visible()
    page.get_by_role("tab", name="Accepted").click()
    expect(page.get_by_role("article")).to_contain_text("mfa_device")
    with helpdesk_server.client() as client:
        assert [item["label"] for item in client.feedback.list("accepted")] == ["mfa_device"]


def test_a_trace_shows_each_step_of_an_answer(visit: Visit):
    page = visit()
    page.goto(f"/chat/{NAME}")
    turn = ask(page, "How do guests get a code for the office Wi-Fi?")
    turn.get_by_role("link", name="How it was answered").click()

    steps = page.locator("main ol").get_by_role("button")
    expect(steps.filter(has_text="knowledge-retrieval")).to_have_count(1)
    assert {"start", "classify", "knowledge-retrieval", "llm", "answer"} <= set(
        steps.locator("small").all_inner_texts()
    )
    steps.filter(has_text="classify").click()
    expect(page.get_by_role("complementary")).to_contain_text("wifi_access")
    picture(page, "trace")
    assert_accessible(page)
    page.goto("/traces")
    expect(page.get_by_role("row").filter(has_text="office Wi-Fi").first).to_be_visible()
    picture(page, "traces")


def test_a_run_keeps_its_curve_over_a_reload_and_stops_when_told(visit: Visit, helpdesk_server: Server):
    with helpdesk_server.client() as client:
        run = client.runs.start(dataset=NAME, model="curve", config=ENDLESS)
    page = visit()
    page.goto(f"/training/{run['id']}")
    expect(page.locator("canvas").first).to_be_visible()
    reached = wait_for_step(page, 20)

    page.reload()

    assert wait_for_step(page, reached) >= reached
    assert ink(page.locator("canvas").first) > 0.002
    page.get_by_role("button", name="Save and stop").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()


def test_a_finished_run_shows_its_curves_and_held_out_figures(visit: Visit):
    page = visit()
    page.goto("/training")
    page.get_by_role("row").filter(has_text="helpdesk-intent").last.get_by_role("link").first.click()

    expect(page.get_by_text("succeeded")).to_be_visible()
    expect(page.locator("canvas")).to_have_count(4)
    expect(page.get_by_text("Weakest classes")).to_be_visible()
    assert ink(page.locator("canvas").first) > 0.002
    picture(page, "run")
    assert_accessible(page)


def test_language_and_theme_are_kept(visit: Visit):
    page = visit()
    page.get_by_role("button", name="Language: 中文").click()
    page.get_by_role("button", name="主题").click()
    page.get_by_role("button", name="主题").click()

    page.reload()

    expect(page.get_by_role("heading", name="首页")).to_be_visible()
    root = page.locator("html")
    expect(root).to_have_attribute("lang", re.compile("^zh"))
    expect(root).to_have_attribute("data-theme", "dark")
    picture(page, "home-zh-dark")
    assert_accessible(page)


def test_the_chat_fits_a_phone(visit: Visit):
    page = visit(viewport=PHONE, device_scale_factor=2, is_mobile=True, has_touch=True, locale="zh-CN")
    page.goto(f"/chat/{NAME}")
    question = "工牌弄丢了，补办要多久、要不要钱？"
    page.get_by_role("button", name=question).tap()
    turn = page.locator("li").filter(has=page.get_by_text(question, exact=True)).last
    expect(turn.get_by_role("button", name="有帮助").or_(turn.locator("[aria-pressed]")).first).to_be_visible()
    picture(page, "phone-chat")

    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    expect(page.get_by_role("textbox")).to_be_in_viewport()
    turn.locator(".citation").first.tap()
    expect(page.get_by_role("complementary")).to_be_in_viewport()
    picture(page, "phone-passage")


HOSTILE = """Look:

![pixel](https://evil.example/steal.png) and ![local](/api/v1/me)

<script>document.title = 'taken'</script> <img src=x onerror="document.title = 'taken'">

[click me](javascript:document.title='taken') [data](data:text/html,taken) <iframe src="https://evil.example"></iframe>

[honest](https://example.com/page) and the end."""


def test_an_answer_cannot_run_or_load_anything(visit: Visit, helpdesk_server: Server):
    page = visit()
    with language_model(helpdesk_server, says(HOSTILE)):
        page.goto(f"/chat/{NAME}")
        turn = ask(page, CARRY_OVER)

    expect(turn).to_contain_text("and the end.")
    assert turn.locator("img, script, iframe, [onerror]").count() == 0
    links = turn.locator(".markdown a").evaluate_all(
        "links => links.map(({ href, target, rel }) => [href, target, rel])"
    )
    assert ["https://example.com/page", "_blank", "noopener noreferrer"] in links
    assert all(href.startswith("https://") for href, _, _ in links)
    turn.get_by_text("click me").click()
    expect(page).to_have_title("Help desk · inhouse")


def wait_for_step(page: Page, least: int) -> int:
    """Wait until the run shows that it reached a step; gives the step that it shows."""
    figure = page.get_by_text(re.compile(r"^[\d,]+ / [\d,]+$")).first
    while (step := int(figure.inner_text().partition(" / ")[0].replace(",", ""))) < least:
        page.wait_for_timeout(100)
    return step


def ink(canvas: Locator) -> float:
    """The share of a canvas that is drawn on."""
    return canvas.evaluate(
        """canvas => {
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
            return data.filter((value, index) => index % 4 === 3 && value > 0).length / (data.length / 4)
        }"""
    )
