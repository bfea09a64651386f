"""What the documents say of files and settings is true."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from documents import ROOT
from inhouse.core.settings import Settings

DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").glob("*.md")]
OPERATOR = ROOT / "docs" / "guide" / "operator.md"
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    text = _FENCED.sub("", document.read_text(encoding="utf-8"))

    for target, anchor in _LINK.findall(text):
        path = (document.parent / target).resolve() if target else document
        assert path.exists(), f"{document.name} links to {target!r}"
        assert not anchor or anchor in anchors(path), f"{document.name} links to {target}#{anchor}"


def anchors(document: Path) -> set[str]:
    """What GitHub makes of the headings."""
    headings = _HEADING.findall(_FENCED.sub("", document.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_settings_table_of_the_operators_guide_is_complete() -> None:
    table = "\n".join(["| variable | default | what it does |", "|---|---|---|", *rows(Settings, "INHOUSE_")])

    assert table in OPERATOR.read_text(encoding="utf-8"), f"Put this into {OPERATOR.name}:\n{table}"


def rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        variable = f"{prefix}{name.upper()}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from rows(field.annotation, f"{variable}__")
        else:
            yield f"| `{variable}` | {shown(field)} | {field.description} |"


def shown(field: FieldInfo) -> str:
    default = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    return f"`{default}`" if default not in ("", []) else ""
