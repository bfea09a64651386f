"""What the documents say of files and settings is true."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from documents import ROOT
from inhouse.core.settings import LocalModel, Settings
from inhouse.gateway.configuration import policy_settings, route_document, texts
from inhouse.gateway.policy import policies
from inhouse.gateway.subjects import Rule

DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").glob("*.md")]
OPERATOR = ROOT / "docs" / "guide" / "operator.md"
GATEWAY = ROOT / "docs" / "guide" / "gateway.md"
LANGUAGE_MODELS = ROOT / "docs" / "guide" / "language-models.md"
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_TOML = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
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


def test_the_settings_table_of_the_gateways_guide_is_complete() -> None:
    table = "\n".join(["| setting | default | what it does |", "|---|---|---|", *policy_rows()])

    assert table in GATEWAY.read_text(encoding="utf-8"), f"Put this into {GATEWAY.name}:\n{table}"


def test_the_settings_table_of_language_models_is_complete() -> None:
    table = "\n".join(["| setting | default | what it does |", "|---|---|---|", *setting_rows(LocalModel, "")])

    assert table in LANGUAGE_MODELS.read_text(encoding="utf-8"), f"Put this into {LANGUAGE_MODELS.name}:\n{table}"


@pytest.mark.parametrize("document", [OPERATOR, GATEWAY, LANGUAGE_MODELS], ids=lambda path: path.stem)
def test_the_examples_of_the_settings_file_can_be_used(document: Path) -> None:
    examples = _TOML.findall(document.read_text(encoding="utf-8"))

    for example in examples:
        found = Settings(**tomllib.loads(example))
        for name, settings in found.gateway.policies.items():
            policy_settings(name, settings)
        for name, described in found.gateway.models.items():
            route_document(name, described)
    assert examples


def policy_rows() -> Iterator[str]:
    """Every policy in its order with its settings. What all rules have in common is told once, before the table."""
    for name in sorted(policies, key=lambda name: policies[name].order):
        yield f"| **{name}** |  | {texts(name)['en']['description']} |"
        yield from setting_rows(policies[name].settings_type, "")


def setting_rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    common = [(name, field.default, field.description) for name, field in Rule.model_fields.items()]
    for name, field in model.model_fields.items():
        if (name, field.default, field.description) in common:
            continue
        choices = ", ".join(f"`{choice}`" for choice in literals(field.annotation) if choice)
        yield f"| `{prefix}{name}` | {shown(field)} | {field.description}{choices and f' Known: {choices}.'} |"
        for part in parts(field.annotation):
            yield from setting_rows(part, f"{prefix}{name}.")


def parts(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a list or a table of settings is made of."""
    for one in get_args(annotation):
        if isinstance(one, type) and issubclass(one, BaseModel):
            yield one
        else:
            yield from parts(one)


def literals(annotation: Any) -> Iterator[str]:
    """The texts that a setting may have, where only some are allowed."""
    for one in get_args(annotation):
        if get_origin(annotation) is Literal:
            yield one
        else:
            yield from literals(one)


def rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        variable = f"{prefix}{name.upper()}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from rows(field.annotation, f"{variable}__")
        else:
            yield f"| `{variable}` | {shown(field)} | {field.description} |"


def shown(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    default = default.get_secret_value() if isinstance(default, SecretStr) else default
    default = ", ".join(default) if isinstance(default, tuple) else default
    return f"`{default}`" if default not in ("", [], None, PydanticUndefined) else ""
