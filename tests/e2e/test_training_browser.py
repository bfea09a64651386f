"""Training and models in a real browser: started, watched, judged, exported, explained and asked."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from browsers import Visit, assert_accessible, picture
from inhouse.client import Client
from servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

PHONE = {"width": 390, "height": 844}
PEOPLE = ["Anna Berg", "Li Wei", "Max Stein", "Eva Kern", "Tom Ford"]
CITIES = ["Berlin", "Paris", "Oslo", "Shanghai", "Rome", "Kyoto"]
PATTERNS = ["{person} lives in {place}.", "Please send it to {person} in {place}.", "From {place}, {person} wrote."]
SLOW_MS = 120_000
"""A machine that also runs other tests takes its time to train."""


@pytest.fixture(scope="module")
def letters(helpdesk_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A dataset of marked names and places."""
    file = tmp_path_factory.mktemp("letters") / "letters.jsonl"
    file.write_text("\n".join(json.dumps(_letter(number)) for number in range(90)))
    with helpdesk_server.client() as client:
        client.datasets.create("letters", file)
        yield "letters"


@pytest.fixture(scope="module")
def tagger(helpdesk_server: Server, letters: str) -> str:
    """A model with two versions that were trained differently."""
    with helpdesk_server.client() as client:
        for epochs in (4, 8):
            run = client.runs.start(dataset=letters, model="spotter", recipe="tag", config={"epochs": epochs})
            client.runs.wait(run["id"])
    return "spotter"


def _letter(number: int) -> dict[str, object]:
    parts = {"person": PEOPLE[number % 5], "place": CITIES[number % 6]}
    text = PATTERNS[number % 3].format(**parts)
    found = {label: text.index(part) for label, part in parts.items()}
    spans = [{"start": at, "end": at + len(parts[label]), "label": label} for label, at in found.items()]
    return {"text": text, "spans": spans}


def tab(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Version").get_by_role("link", name=name, exact=True).click()


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has_text=name)


def tick(pair: Locator) -> None:
    expect(pair).to_have_count(2)
    for box in pair.all():
        box.check()


def test_a_training_is_started_from_its_dataset_and_watched_to_its_version(visit: Visit, letters: str):
    page = visit()
    page.goto(f"/training?dataset={letters}")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("radio", name="Tagger")).to_be_checked()
    expect(dialog.get_by_placeholder("letters-tagger")).to_be_visible()
    assert_accessible(page)
    dialog.get_by_text("Advanced").click()
    dialog.get_by_role("spinbutton", name="Epochs How often").fill("2")
    expect(dialog.get_by_text("--recipe tag --set epochs=2")).to_be_visible()
    picture(page, "training-start")
    dialog.get_by_role("button", name="Start training").click()

    version = page.get_by_role("link", name="letters-tagger:1")
    version.wait_for(timeout=SLOW_MS)
    expect(page.locator("canvas")).to_have_count(4)
    expect(page.get_by_text("Exact places")).to_be_visible()
    assert_accessible(page)
    version.click()
    expect(page.get_by_role("heading", name="letters-tagger:1").first).to_be_visible()


def test_datasets_are_offered_only_to_recipes_that_learn_from_them(visit: Visit, letters: str):
    page = visit()
    page.goto(f"/training?dataset={letters}")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("combobox", name="Dataset")).to_have_value(letters)

    dialog.get_by_role("radio", name="Reranker").check()

    expect(dialog.get_by_text("No dataset has such rows (pairs of texts).")).to_be_visible()
    expect(dialog.get_by_role("button", name="Start training")).to_be_disabled()


def test_settings_are_searched_and_the_best_trial_becomes_a_version(visit: Visit, letters: str):
    page = visit()
    page.goto(f"/training?dataset={letters}")
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("checkbox", name="Search for the best settings").check()
    dialog.get_by_role("spinbutton", name="Trials").fill("2")
    dialog.get_by_placeholder("letters-tagger").fill("searched")
    dialog.get_by_text("Advanced").click()
    dialog.get_by_role("spinbutton", name="Epochs How often").fill("1")
    dialog.get_by_role("button", name="Start search").click()

    page.get_by_role("link", name="searched:1").wait_for(timeout=SLOW_MS)
    expect(page.get_by_role("row")).to_have_count(3)
    expect(row(page, "Best")).to_have_count(1)
    picture(page, "study")
    assert_accessible(page)
    page.get_by_role("link", name="Compare the best").click()
    expect(page.get_by_role("rowheader", name="learning_rate")).to_be_visible()
    assert_accessible(page)


def test_two_runs_and_two_versions_are_compared(visit: Visit, tagger: str):
    page = visit()
    page.goto("/training")
    tick(row(page, f"{tagger}:").get_by_role("checkbox"))
    page.get_by_role("link", name="Compare 2").click()
    expect(row(page, "epochs")).to_contain_text(re.compile("[48]"))
    expect(page.locator("canvas").first).to_be_visible()
    picture(page, "runs-compared")
    assert_accessible(page)

    page.goto(f"/models/{tagger}")
    tick(page.get_by_role("checkbox"))
    page.get_by_role("link", name="Compare", exact=True).click()
    expect(row(page, "epochs")).to_contain_text("84")
    assert_accessible(page)


def test_a_classifier_is_judged_and_its_mistakes_are_explained(visit: Visit):
    page = visit()
    page.goto("/models/helpdesk-intent/versions/1/evaluation")
    page.get_by_role("button", name="Evaluate").click()
    matrix = page.get_by_role("region", name="Confusion matrix")
    matrix.wait_for(timeout=SLOW_MS)
    expect(page.get_by_role("img", name="Reliability diagram")).to_be_visible()
    assert_accessible(page)

    mistake = matrix.get_by_role("button").first
    label = (mistake.get_attribute("aria-label") or "").partition(" taken for ")[0]
    mistake.click()
    expect(page.get_by_role("combobox", name="True label")).to_have_value(label)
    picture(page, "evaluation")
    page.get_by_role("link", name="why?").first.click()

    expect(page.get_by_text(re.compile("What speaks for"))).to_be_visible(timeout=SLOW_MS)
    picture(page, "explanation")
    assert_accessible(page)


def test_a_variant_is_made_and_measured_and_the_version_is_asked(visit: Visit, tagger: str):
    page = visit()
    page.goto(f"/models/{tagger}/versions/2/variants")
    page.get_by_role("button", name="Make int8", exact=True).click()
    expect(row(page, "int8").get_by_text("ready")).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_role("link", name="Download int8")).to_be_visible()
    picture(page, "variants")
    assert_accessible(page)

    tab(page, "Try it")
    page.get_by_label("Text").fill("Anna Berg lives in Oslo.")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("mark").first).to_contain_text("Anna Berg")
    assert_accessible(page)


def test_a_protected_version_cannot_be_deleted(visit: Visit, tagger: str, helpdesk_server: Server):
    page = visit()
    page.goto(f"/models/{tagger}/versions/1")
    page.get_by_label("What others should know").fill("The first one.")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Protect from deletion").click()
    expect(page.get_by_text("protected", exact=True)).to_be_visible()
    picture(page, "version")
    assert_accessible(page)

    expect(page.get_by_role("button", name="Delete")).to_be_disabled()
    page.get_by_role("button", name="Protect from deletion").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("dialog", name=f"Delete {tagger}:1?")).to_be_visible()
    with helpdesk_server.client() as client:
        assert _version(client, tagger, 1)["note"] == "The first one."


def _version(client: Client, name: str, number: int) -> dict[str, object]:
    return next(dict(one) for one in client.models.get(name)["versions"] if one["number"] == number)


def test_an_alias_is_set_and_removed(visit: Visit, tagger: str):
    page = visit()
    page.goto(f"/models/{tagger}")
    page.get_by_role("textbox", name="Alias").fill("steady")
    page.get_by_role("combobox", name="Version").select_option("2")
    page.get_by_role("button", name="Set").click()

    expect(row(page, "v2")).to_contain_text("steady")
    page.get_by_role("button", name="Remove the alias steady").click()
    expect(row(page, "v2")).not_to_contain_text("steady")


def test_an_import_needs_a_name_and_a_file(visit: Visit, tmp_path: Path):
    archive = tmp_path / "nothing.zip"
    archive.write_bytes(b"PK\x05\x06" + b"\x00" * 18)
    page = visit()
    page.goto("/models")
    page.get_by_role("button", name="Import").click()
    dialog = page.get_by_role("dialog")
    bring = dialog.get_by_role("button", name="Import")
    expect(bring).to_be_disabled()
    dialog.locator("input[type=file]").set_input_files(archive)
    dialog.get_by_role("textbox", name="Model").fill("brought")

    expect(bring).to_be_enabled()
    expect(dialog.get_by_text("inhouse model import nothing.zip --name brought")).to_be_visible()
    assert_accessible(page)


def test_all_of_it_fits_a_phone_in_the_dark(visit: Visit, tagger: str, letters: str):
    page = visit(viewport=PHONE, is_mobile=True, has_touch=True, locale="zh-CN", color_scheme="dark")
    version = f"/models/{tagger}/versions/2"
    places = ("/training", f"/training?dataset={letters}", "/models", f"/models/{tagger}", version)
    for place in (*places, f"{version}/evaluation", f"{version}/variants", f"{version}/try"):
        page.goto(place)
        expect(page.get_by_role("heading", level=1).or_(page.get_by_role("dialog")).first).to_be_visible()
        expect(page.locator(".loading")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], place
        assert_accessible(page)
    picture(page, "phone-version")
