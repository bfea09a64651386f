import pytest

from inhouse.core.blobs import BlobNotFound, Blobs
from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.data.augmenter import BadAugmentation, augmenters
from inhouse.data.curation import (
    BadEdit,
    Curation,
    DatasetInUse,
    DifferentForms,
    Edit,
    NoSuchRow,
    NothingChosen,
    Part,
)
from inhouse.data.datasets import DatasetNotFound, Datasets, NothingLeft
from inhouse.data.examples import Example, Form, question
from inhouse.data.file import file_kinds
from inhouse.data.filters import Filter
from inhouse.data.format import LANGUAGES, formats, texts
from inhouse.data.split import LeaksIntoTest

from .conftest import Known, Scripted, rows


@pytest.fixture
def desk(datasets: Datasets, principal: Principal) -> str:
    datasets.create_from(principal, "desk", [*rows("leave", 20), *rows("travel", 20, "travel")], note="")
    return "desk"


def test_a_filter_makes_a_version_with_fewer_rows(
    curation: Curation, datasets: Datasets, principal: Principal, desk: str
) -> None:
    chosen = Filter(labels=["leave"], search="NUMBER 1", min_length=15)

    made = curation.filter(principal, desk, chosen)

    assert (made.number, made.parent) == (2, 1)
    assert {row.text for row in datasets.examples(principal, desk)} == {f"leave number {n}" for n in range(10, 20)}
    assert made.origin["filter"] == {"labels": ["leave"], "search": "NUMBER 1", "min_length": 15}
    assert made.origin["removed"] == 30


def test_a_filter_that_keeps_all_or_nothing_makes_no_version(
    curation: Curation, datasets: Datasets, principal: Principal, desk: str
) -> None:
    with pytest.raises(NothingChosen):
        curation.filter(principal, desk, Filter(labels=["leave", "travel"]))
    with pytest.raises(NothingLeft):
        curation.filter(principal, desk, Filter(labels=["unknown"]))

    assert len(datasets.versions(principal, desk)) == 1


def test_an_edited_row_stays_in_its_split(
    curation: Curation, datasets: Datasets, principal: Principal, desk: str
) -> None:
    held = datasets.examples(principal, desk, split="test")[0]
    gone = datasets.examples(principal, desk, split="train")[0]

    made = curation.edit(principal, desk, [Edit(held.id, label="other"), Edit(gone.id, remove=True)])

    after = {row.text: row for row in datasets.examples(principal, desk)}
    assert (after[held.text].label, after[held.text].split) == ("other", "test")
    assert gone.text not in after
    assert made.origin == {"op": "edit", "changed": 1, "removed": 1}


def test_an_edit_cannot_leak_nor_repeat_nor_name_what_is_not_there(
    curation: Curation, datasets: Datasets, principal: Principal, desk: str
) -> None:
    held = datasets.examples(principal, desk, split="test")[0]
    first, second = datasets.examples(principal, desk, split="train")[:2]

    with pytest.raises(LeaksIntoTest):
        curation.edit(principal, desk, [Edit(first.id, text=held.text.upper())])
    with pytest.raises(BadEdit, match="same"):
        curation.edit(principal, desk, [Edit(first.id, text=second.text)])
    with pytest.raises(BadEdit, match="empty"):
        curation.edit(principal, desk, [Edit(first.id, text="  ")])
    with pytest.raises(NoSuchRow):
        curation.edit(principal, desk, [Edit("nonsense", remove=True)])


def test_a_difference_names_rows_added_removed_and_changed(
    curation: Curation, datasets: Datasets, principal: Principal, desk: str
) -> None:
    first, second = datasets.examples(principal, desk, split="train")[:2]
    curation.edit(principal, desk, [Edit(first.id, label="other"), Edit(second.id, remove=True)])
    datasets.add(principal, desk, [Example("something new", "leave")], note="")

    changes = curation.diff(principal, desk, 1, 3)

    assert [(one.kind, (one.after or one.before or first).text) for one in changes] == [
        ("changed", first.text),
        ("added", "something new"),
        ("removed", second.text),
    ]


def test_a_mix_has_the_shares_and_keeps_what_is_held_out(
    curation: Curation, datasets: Datasets, principal: Principal
) -> None:
    for name in ("base", "domain", "hard"):
        datasets.create_from(principal, name, rows(name, 200), note="")
    parts = [Part("base", None, 70), Part("domain", 1, 20), Part("hard", None, 10)]

    made, mixed = curation.mix(principal, "all", parts, seed=3)

    train = [row for row in mixed.rows if row.split == "train"]
    assert mixed.taken == {"base@v1": 140, "domain@v1": 40, "hard@v1": 20}
    assert len(train) == 200
    assert made.splits == {"dev": 90, "test": 90, "train": 200}
    assert curation.mix(principal, "again", parts, seed=3)[0].digest == made.digest
    assert curation.mix(principal, "other", parts, seed=4)[0].digest != made.digest


def test_a_mix_trains_on_nothing_that_a_part_holds_out(
    curation: Curation, datasets: Datasets, principal: Principal
) -> None:
    datasets.create_from(principal, "base", rows("base", 50), note="")
    held = datasets.examples(principal, "base", split="test")
    datasets.create_from(principal, "domain", [*rows("domain", 50), *held], note="", shares={})

    _, mixed = curation.mix(principal, "all", [Part("base", None, 0.5), Part("domain", None, 0.5)])

    questions = {question(row, Form.TEXT) for row in mixed.rows if row.split != "train"}
    assert mixed.leaking == len(held)
    assert not [row for row in mixed.rows if row.split == "train" and question(row, Form.TEXT) in questions]


def test_the_next_version_of_a_mix_still_holds_out_what_the_first_did(
    curation: Curation, datasets: Datasets, principal: Principal
) -> None:
    datasets.create_from(principal, "base", rows("base", 50), note="")
    datasets.create_from(principal, "domain", rows("domain", 50), note="")
    first, _ = curation.mix(principal, "all", [Part("base", None, 1)])

    second, _ = curation.mix(principal, "all", [Part("domain", None, 1)])

    held = {row.text for row in datasets.rows(first, split="test")}
    assert second.parent == 1
    assert held < {row.text for row in datasets.rows(second, split="test")}


def test_rows_of_two_forms_are_not_mixed(curation: Curation, datasets: Datasets, principal: Principal) -> None:
    datasets.create_from(principal, "texts", rows("base", 5), note="")
    datasets.create_from(principal, "pairs", [Example("a", content={"other": "b"})], form=Form.PAIR, note="")

    with pytest.raises(DifferentForms):
        curation.mix(principal, "all", [Part("texts", None, 0.5), Part("pairs", None, 0.5)])


async def test_mistyped_rows_are_marked_and_only_for_training(
    curation: Curation, datasets: Datasets, principal: Principal, desk: str
) -> None:
    made = await curation.augment(principal, desk, "typo", {"rate": 0.1}, count=15, seed=1)

    new = [row for row in datasets.rows(made.version) if row.is_synthetic]
    originals = {row.id: row for row in datasets.examples(principal, desk, 1)}
    assert len(new) == made.added > 10
    assert {(row.source, row.split) for row in new} == {("synthetic:typo", "train")}
    assert all(originals[row.meta["from"]].label == row.label for row in new)
    assert made.version.splits["test"] == 6


async def test_the_same_seed_makes_the_same_typos(curation: Curation, principal: Principal, desk: str) -> None:
    first = await curation.augment(principal, desk, "typo", {}, count=9, version=1, seed=5)
    second = await curation.augment(principal, desk, "typo", {}, count=9, version=1, seed=5)

    assert first.version.digest == second.version.digest


async def test_typos_are_not_made_of_made_up_rows(curation: Curation, datasets: Datasets, principal: Principal) -> None:
    made_up = rows("x", 5, source="synthetic:typo", split="train")
    datasets.start(principal, "desk", made_up, form=Form.TEXT, note="", origin={})

    with pytest.raises(BadAugmentation, match="no training rows"):
        await curation.augment(principal, "desk", "typo", {}, count=5)


async def test_templates_are_filled_with_values(
    curation: Curation, datasets: Datasets, principal: Principal, desk: str
) -> None:
    settings = {
        "templates": [{"text": "I lost my {device}", "label": "lost"}],
        "slots": {"device": ["phone", "laptop"]},
    }

    made = await curation.augment(principal, desk, "template", settings, count=10)

    new = {(row.text, row.label) for row in datasets.rows(made.version) if row.is_synthetic}
    assert new == {("I lost my phone", "lost"), ("I lost my laptop", "lost")}


async def test_rows_are_templates_for_other_values(
    curation: Curation, datasets: Datasets, principal: Principal
) -> None:
    datasets.create_from(principal, "desk", [Example("Where is my Laptop bag?", "bag")], note="")

    made = await curation.augment(principal, "desk", "template", {"slots": {"d": ["laptop", "phone"]}}, count=9, seed=2)

    assert [row.text for row in datasets.rows(made.version) if row.is_synthetic] == ["Where is my phone bag?"]


async def test_marked_places_move_with_the_values_that_fill_them(
    curation: Curation, datasets: Datasets, principal: Principal
) -> None:
    texts_ = [("Ann met Bo", [(0, 3), (8, 10)]), ("Call Christina", [(5, 14)])]
    marked = [
        Example(text, content={"spans": [{"start": a, "end": b, "label": "name"} for a, b in places]})
        for text, places in texts_
    ]
    datasets.create_from(principal, "names", marked, form=Form.SPANS, note="", shares={})

    made = await curation.augment(principal, "names", "template", {}, count=20)

    new = [row for row in datasets.rows(made.version) if row.is_synthetic]
    words = {row.text[span["start"] : span["end"]] for row in new for span in row.content["spans"]}
    assert words == {"Ann", "Bo", "Christina"}


async def test_paraphrases_say_what_they_cost_and_skip_what_failed(
    curation: Curation, datasets: Datasets, principal: Principal, writer: Scripted
) -> None:
    datasets.create_from(principal, "desk", rows("ask", 4), note="", shares={})
    writer.fails_at = "number 2"

    made = await curation.augment(principal, "desk", "paraphrase", {"model": "m", "per_row": 2}, count=100)

    assert (made.added, made.failed, made.tokens, made.cost) == (6, 1, 21, 0.75)
    new = {row.text for row in datasets.rows(made.version) if row.is_synthetic}
    assert {"ask number 1 please", "could you ask number 1"} < new
    assert made.version.origin["cost"] == 0.75


async def test_a_model_that_never_answers_ends_it_early(
    curation: Curation, datasets: Datasets, principal: Principal, writer: Scripted
) -> None:
    datasets.create_from(principal, "desk", rows("ask", 100), note="")
    writer.fails_at = "ask"

    with pytest.raises(BadAugmentation, match="The model is away"):
        await curation.augment(principal, "desk", "paraphrase", {"model": "m"}, count=100)

    assert len(writer.asked) <= 8
    assert len(datasets.versions(principal, "desk")) == 1


async def test_what_a_model_writes_is_not_taken_when_it_is_held_out(
    curation: Curation, datasets: Datasets, principal: Principal, writer: Scripted, desk: str
) -> None:
    held = datasets.examples(principal, desk, split="test")[0]
    writer.answer = f"{held.text}!\nsomething else"

    made = await curation.augment(principal, desk, "generate", {"model": "m"}, count=30)

    assert made.added == 1
    assert made.dropped > 0


@pytest.mark.parametrize(
    ("how", "settings", "message"),
    [
        ("typo", {"rate": 3}, "rate"),
        ("typo", {"nonsense": 1}, "nonsense"),
        ("template", {}, "no template"),
        ("template", {"templates": [{"text": "{x}", "label": "a"}]}, "without values"),
        ("paraphrase", {}, "model"),
    ],
)
async def test_settings_that_do_not_fit_say_why(
    curation: Curation, principal: Principal, desk: str, how: str, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(BadAugmentation, match=message):
        await curation.augment(principal, desk, how, settings, count=5)


def test_who_asked_to_be_forgotten_is_in_no_version(
    db: Database, blobs: Blobs, principal: Principal, lineage: Known
) -> None:
    datasets = Datasets(db, blobs)
    curation = Curation(datasets, lineage=lineage)
    first = datasets.create_from(principal, "desk", [*rows("ours", 20), *rows("hers", 5, user="ann")], note="")
    datasets.add(principal, "desk", [Example("one more", "leave")], note="")
    datasets.create_from(principal, "other", rows("other", 5), note="")
    lineage.models = {"desk@v1": ["intent:1"], "other@v1": ["intent:2"]}

    erased = curation.erase(principal, "ann")

    assert (erased.rows, sorted(erased.versions), erased.made) == (10, ["desk@v1", "desk@v2"], ["desk@v3"])
    assert erased.models == ["intent:1"]
    for version in datasets.versions(principal, "desk"):
        assert "ann" not in {row.user for row in datasets.rows(version)}
    after = datasets.get(principal, "desk", 1)
    assert (after.count, after.erased) == (20, 5)
    assert after.origin["erased"][0]["digest"] == first.digest
    with pytest.raises(BlobNotFound):
        blobs.get(first.digest)


def test_rows_made_of_somebodys_words_are_forgotten_with_them(
    curation: Curation, datasets: Datasets, principal: Principal
) -> None:
    made = Example("ours nubmer", "leave", source="synthetic:typo", split="train", user="ann")
    kept = rows("ours", 3, split="train")
    datasets.start(principal, "desk", [made, *kept], form=Form.TEXT, note="", origin={})

    assert curation.erase(principal, "ann").rows == 1


def test_erasing_does_not_reach_into_another_workspace(
    curation: Curation, datasets: Datasets, principal: Principal, stranger: Principal
) -> None:
    datasets.create_from(stranger, "desk", rows("theirs", 3, user="ann"), note="")

    assert curation.erase(principal, "ann").rows == 0
    assert len(datasets.examples(stranger, "desk")) == 3


def test_rows_that_another_dataset_has_too_stay_there(
    curation: Curation, datasets: Datasets, principal: Principal
) -> None:
    for name in ("one", "two"):
        datasets.create_from(principal, name, rows("same", 5), note="")

    curation.delete(principal, "one")

    assert len(datasets.examples(principal, "two")) == 5
    with pytest.raises(DatasetNotFound):
        datasets.get(principal, "one")


def test_a_dataset_that_a_model_learned_from_is_not_deleted(
    curation: Curation, datasets: Datasets, principal: Principal, lineage: Known, desk: str
) -> None:
    lineage.models = {"desk@v1": ["intent:1"]}
    with pytest.raises(DatasetInUse, match="intent:1"):
        curation.delete(principal, desk)

    lineage.models, lineage.others = {}, ["the queue triage"]
    with pytest.raises(DatasetInUse, match="triage"):
        curation.delete(principal, desk)

    assert datasets.get(principal, desk).number == 1


@pytest.mark.parametrize(
    ("package", "names"),
    [
        ("inhouse.data.files", list(file_kinds)),
        ("inhouse.data.formats", list(formats)),
        ("inhouse.data.augmenters", list(augmenters)),
    ],
)
def test_every_plug_in_is_named_in_each_language(package: str, names: list[str]) -> None:
    for name in names:
        said = texts(package, name)
        assert all(said[language]["title"] for language in LANGUAGES)
        fields = augmenters[name].model_fields.keys() if package.endswith("augmenters") else set()
        assert all(said[language].get("fields", {}).keys() == set(fields) for language in LANGUAGES)
