"""The data room over HTTP, through the client and the command line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from inhouse.cli.main import app as command_line
from inhouse.client import Client
from inhouse.core.errors import Conflict, Denied, Invalid, NotFound

CSV = "text,label,user\n" + "".join(
    f"{word} number {n},{word},{'ann' if n == 3 else ''}\n" for word in ("leave", "travel") for n in range(20)
)


@pytest.fixture
def desk(client: Client, request: pytest.FixtureRequest) -> str:
    name = request.node.name.lower().replace("[", ".").replace("]", "")[:90]
    client.datasets.create(name, ("rows.csv", CSV.encode()))
    return name


def test_a_preview_shows_form_format_and_bad_rows(client: Client) -> None:
    lines = [json.dumps({"instruction": "a", "output": "b"}), json.dumps({"instruction": "a", "output": ""})]

    found = client.datasets.preview(("rows.jsonl", "\n".join(lines).encode()))

    assert (found["form"], found["format"], found["count"], found["problem_count"]) == ("chat", "alpaca", 1, 1)


def test_form_format_and_columns_can_be_told(client: Client) -> None:
    data = b"q,who,amount\n1,x,2\n"

    found = client.datasets.preview(
        ("rows.txt", data), {"label": "amount", "features": ["who"]}, form="table", format="csv"
    )

    assert found["mapping"] == {"label": "amount", "features": ["who"]}
    with pytest.raises(Invalid, match="form 'nonsense'"):
        client.datasets.preview(("rows.csv", data), form="nonsense")


@pytest.mark.parametrize("format_", ["csv", "jsonl", "xlsx", "parquet", "doccano", "label-studio"])
def test_an_export_can_be_imported_again(client: Client, desk: str, format_: str) -> None:
    data = client.datasets.export(desk, 1, format=format_)
    suffix = next(one["suffix"] for one in client.datasets.formats() if one["name"] == format_)

    again = client.datasets.create(f"{desk}-again", (f"rows.{suffix}", data), format=format_)

    first = client.datasets.get(desk)["versions"][0]
    assert (again["labels"], again["splits"]) == (first["labels"], first["splits"])


def test_an_export_in_a_format_for_other_rows_says_which_fit(client: Client, desk: str) -> None:
    with pytest.raises(Invalid, match="alpaca") as raised:
        client.datasets.export(desk, 1, format="alpaca")

    assert "doccano" in raised.value.hint


def test_rows_are_filtered_edited_and_compared(client: Client, desk: str) -> None:
    client.datasets.filter(desk, labels=["leave"])
    row = client.datasets.examples(desk, 2, split="train", search="NUMBER 1")["items"][0]
    client.datasets.edit(desk, [{"id": row["id"], "label": "other"}])

    found = client.datasets.diff(desk, 1, 3, kind="changed")

    assert (found["added"], found["removed"], found["changed"], found["total"]) == (0, 20, 1, 1)
    assert found["items"][0]["after"]["label"] == "other"


def test_rows_of_any_form_are_added_and_checked(client: Client, desk: str) -> None:
    name = f"{desk}-chat"
    chat = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    client.datasets.create(name, ("rows.jsonl", json.dumps(chat).encode()))
    chat["messages"][0]["content"] = "another"

    assert client.datasets.add(name, [{"content": chat, "user": "ann"}])["count"] == 2
    with pytest.raises(Invalid, match="row 1, column 'messages'"):
        client.datasets.add(name, [{"text": "a", "label": "b"}])


def test_a_mix_an_augmentation_and_a_report(client: Client, desk: str) -> None:
    name = f"{desk}-mix"

    mixed = client.datasets.mix(name, {f"{desk}@v1": 100}, size=20)
    made = client.datasets.augment(name, "typo", count=5, rate=0.1)
    found = client.datasets.report(name, 2)

    assert mixed["taken"] == {f"{desk}@v1": 20}
    assert made["added"] == 5 - made["dropped"] == found["synthetic"] == found["sources"]["synthetic:typo"]
    assert {one["name"] for one in client.datasets.augmenters()} == {"typo", "template", "paraphrase", "generate"}


def test_a_user_is_erased_and_a_dataset_deleted(client: Client, desk: str) -> None:
    client.datasets.add(desk, [{"text": "one more", "label": "leave", "user": f"{desk}-user"}])

    erased = client.datasets.erase(f"{desk}-user")

    assert (erased["rows"], erased["versions"], erased["made"]) == (1, [f"{desk}@v2"], [f"{desk}@v3"])
    client.datasets.delete(desk)
    with pytest.raises(NotFound):
        client.datasets.get(desk)


def test_who_may_only_read_changes_nothing(client: Client, address: str, desk: str) -> None:
    key = client.keys.create("reader", ["dataset:read"])["key"]

    with Client(address, key) as reader:
        assert reader.datasets.report(desk, 1)["count"] == 40
        for change in (
            lambda: reader.datasets.erase("ann"),
            lambda: reader.datasets.delete(desk),
            lambda: reader.datasets.augment(desk, "typo", count=1),
            lambda: reader.datasets.filter(desk, labels=["leave"]),
        ):
            with pytest.raises(Denied):
                change()


def test_two_datasets_cannot_have_one_name(client: Client, desk: str) -> None:
    with pytest.raises(Conflict):
        client.datasets.create(desk, ("rows.csv", CSV.encode()))


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # a command ends with its process, which hangs up for it
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_command_line_does_the_same(client: Client, address: str, tmp_path: Path) -> None:
    key = client.keys.create("writer", ["dataset:*"])["key"]
    file = tmp_path / "rows.csv"
    file.write_text(CSV.replace("text,label", "question,intent"))

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(command_line, ["--url", address, "--key", key, "data", *arguments])
        assert done.exit_code == 0, done.output
        return done.output

    run("preview", str(file), "--map", "text=question")
    run("import", str(file), "--name", "cli-desk", "--map", "text=question", "--label", "intent")
    run("filter", "cli-desk", "--label", "leave")
    run("augment", "cli-desk", "typo", "--count", "3", "--set", "rate=0.2")
    run("mix", "cli-mix", "cli-desk@v1=50", "cli-desk@v3=50", "--size", "4")
    run("export", "cli-desk", "--format", "csv", "--out", str(tmp_path / "out.csv"))
    assert "20 removed" in run("diff", "cli-desk", "1", "2")
    assert "synthetic" in run("report", "cli-desk")
    assert "cli-desk@v4" in run("erase", "ann", "--yes")
    assert "parquet" in run("formats")
    run("rm", "cli-mix")
    assert (tmp_path / "out.csv").read_text().startswith("text,")
