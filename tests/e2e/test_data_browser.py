"""The pages of data and labelling in a real browser: rows come in, are looked through, and are judged by people."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from browsers import Visit, assert_accessible, picture, visitor
from inhouse.client import Client
from servers import Server, running

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

PHONE = {"width": 390, "height": 844}
FLIGHT = "👍🏽 请订 Monday 从北京到上海的机票"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with nothing in it: these pages need no example."""
    with running(tmp_path_factory.mktemp("data") / "home") as server:
        yield server
        assert server.terminate() == 0


@pytest.fixture
def visit(browser: Browser, server: Server) -> Iterator[Visit]:
    with visitor(browser, server) as visit:
        yield visit


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """A client; the queues and datasets that the test leaves are removed."""
    with server.client() as client:
        yield client
        for queue in client.label_queues.list():
            client.label_queues.delete(queue["name"])
        for dataset in client.datasets.list():
            client.datasets.delete(dataset["dataset"])


def requests(tmp_path: Path) -> Path:
    """A file whose labels stand in another column than its names suggest."""
    rows = [
        f"ticket {n} for my {thing},web,{topic}"
        for n in range(6)
        for thing, topic in (("trip", "travel"), ("bill", "money"))
    ]
    path = tmp_path / "Requests of May.csv"
    path.write_text("text,category,topic\n" + "\n".join(rows) + "\n,web,travel\n", encoding="utf-8")
    return path


def select(page: Page, words: str) -> None:
    """Drag the mouse over words of the text that is being marked."""
    edges = page.locator(".task .text").evaluate(
        """(text, words) => {
            const walker = document.createTreeWalker(text, NodeFilter.SHOW_TEXT)
            while (walker.nextNode()) {
                const at = walker.currentNode.data.indexOf(words)
                if (at < 0) continue
                const range = document.createRange()
                range.setStart(walker.currentNode, at)
                range.setEnd(walker.currentNode, at + words.length)
                const { left, right, top, bottom } = range.getBoundingClientRect()
                return { left, right, middle: (top + bottom) / 2 }
            }
        }""",
        words,
    )
    page.mouse.move(edges["left"] + 1, edges["middle"])
    page.mouse.down()
    page.mouse.move(edges["right"] - 1, edges["middle"], steps=5)
    page.mouse.up()


def test_a_file_is_mapped_imported_reported_filtered_and_compared(visit: Visit, client: Client, tmp_path: Path):
    page = visit()
    page.goto("/data")
    page.get_by_role("button", name="Upload a dataset").first.click()
    dialog = page.get_by_role("dialog")
    dialog.locator("input[type=file]").set_input_files(requests(tmp_path))
    expect(dialog.get_by_text("1 label", exact=False)).to_be_visible()
    dialog.get_by_label("Column with label").select_option("topic")
    expect(dialog.get_by_text("2 labels", exact=False)).to_be_visible()
    expect(dialog.get_by_role("alert")).to_contain_text("row 13")
    expect(dialog.get_by_role("button", name="Import")).to_be_disabled()
    dialog.get_by_label("Leave out this row").check()
    assert_accessible(page)
    picture(page, "data-import")
    dialog.get_by_role("button", name="Import 12").click()

    expect(page.get_by_role("heading", name="requests-of-may")).to_be_visible()
    expect(page.get_by_role("cell", name="travel").first).to_be_visible()
    assert_accessible(page)
    page.get_by_role("tab", name="Report").click()
    expect(page.get_by_role("heading", name="Rows per label")).to_be_visible()
    picture(page, "data-report")
    assert_accessible(page)

    page.get_by_role("button", name="Filter", exact=True).click()
    dialog.get_by_label("Only these labels").select_option("travel")
    dialog.get_by_role("button", name="Make").click()
    expect(page.get_by_text("requests-of-may@v2 made with 6 rows")).to_be_visible()
    page.get_by_role("tab", name="Changes").click()
    expect(page.get_by_role("row").filter(has_text="removed")).to_have_count(6)
    picture(page, "data-changes")
    assert_accessible(page)

    page.get_by_role("button", name="Export").click()
    dialog.get_by_label("Format").select_option("csv")
    with page.expect_download() as download:
        dialog.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "requests-of-may-v2.csv"
    assert client.datasets.get("requests-of-may")["versions"][0]["labels"] == {"travel": 6}


def test_an_annotator_judges_by_keyboard_and_the_reviewer_decides(visit: Visit, client: Client):
    client.label_queues.create(
        "wishes", "wishes", labels=["travel", "money"], annotators=2, guidelines="Say what is wanted."
    )
    client.label_queues.add("wishes", ["a flight", "a refund"])
    client.users.create("nora", role="annotator")
    for task in client.label_queues.tasks("wishes"):
        client.label_queues.answer("wishes", task["id"], {"label": "travel"})

    page = visit("nora")
    page.goto("/labelling")
    expect(page.get_by_role("button", name="New queue")).to_have_count(0)
    page.get_by_role("link", name="wishes", exact=True).click()
    expect(page.get_by_text("2 open rows")).to_be_visible()
    assert_accessible(page)
    picture(page, "labelling")
    page.keyboard.press("2")
    expect(page.get_by_text("1 open row", exact=True)).to_be_visible()
    page.keyboard.press("u")
    expect(page.get_by_text("Correcting an earlier answer")).to_be_visible()
    page.keyboard.press("1")
    expect(page.get_by_text("1 open row", exact=True)).to_be_visible()
    page.keyboard.press("2")
    expect(page.get_by_text("Nothing left for you")).to_be_visible()

    page = visit()
    page.goto("/labelling/wishes")
    page.get_by_role("tab", name="Review (1)").click()
    assert_accessible(page)
    page.get_by_role("button", name="money nora").click()
    expect(page.get_by_text("Nothing to review")).to_be_visible()
    page.get_by_role("button", name="Take 2 into the dataset").click()
    expect(page.get_by_text("2 rows taken into wishes@v1")).to_be_visible()
    assert client.datasets.get("wishes")["versions"][0]["labels"] == {"travel": 1, "money": 1}


def test_places_are_marked_by_mouse_after_an_emoji_and_in_chinese(visit: Visit, client: Client):
    client.label_queues.create("places", "places", form="spans", labels=["city", "day"])
    client.label_queues.add("places", [FLIGHT])
    page = visit(locale="zh-CN")
    page.goto("/labelling/places")
    page.get_by_role("button", name="city", exact=True).wait_for()

    select(page, "北京")
    page.keyboard.press("1")
    select(page, "上海")
    page.get_by_role("button", name="city", exact=True).click()
    select(page, "Monday")
    page.keyboard.press("2")
    expect(page.locator(".task mark")).to_have_text(["Monday", "北京", "上海"])
    picture(page, "labelling-spans")
    assert_accessible(page)
    page.keyboard.press("Enter")
    expect(page.get_by_text("没有需要您处理的了")).to_be_visible()

    [task] = client.label_queues.tasks("places")
    marked = [(FLIGHT[span["start"] : span["end"]], span["label"]) for span in (task["final"] or {})["spans"]]
    assert marked == [("Monday", "day"), ("北京", "city"), ("上海", "city")]


def test_data_and_labelling_fit_a_phone_in_the_dark(visit: Visit, client: Client, tmp_path: Path):
    client.label_queues.create("places", "places", form="spans", labels=["city", "day"])
    client.label_queues.add("places", [FLIGHT])
    client.datasets.create("topics", requests(tmp_path), {"label": "topic"}, skip_bad_rows=True)
    page = visit(viewport=PHONE, is_mobile=True, has_touch=True, locale="zh-CN", color_scheme="dark")
    for place in ("/data", "/data/topics", "/labelling", "/labelling/places"):
        page.goto(place)
        page.locator("table, .task").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert_accessible(page)
    picture(page, "phone-labelling")
