import sys
from pathlib import Path

import pytest

from inhouse.core.registry import NameTaken, Registry, UnknownName

PACKAGE = "inhouse.knowledge.parsers"


@pytest.mark.parametrize(("kind", "group"), [("node", "inhouse.nodes"), ("policy", "inhouse.policies")])
def test_plug_ins_of_other_packages_are_imported(
    kind: str, group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"a_{kind}_of_others"
    (tmp_path / f"{module}.py").touch()
    about = tmp_path / f"{module}-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1\n")
    (about / "entry_points.txt").write_text(f"[{group}]\nit = {module}\n")
    monkeypatch.syspath_prepend(tmp_path)

    Registry(kind, package=PACKAGE).load()

    assert sys.modules.pop(module)


def test_a_name_is_given_once() -> None:
    registry: Registry[int] = Registry("policy", package=PACKAGE)
    registry.add("one", 1)

    with pytest.raises(NameTaken, match="Two policies are named 'one'"):
        registry.add("one", 2)


def test_an_unknown_name_tells_the_known_ones() -> None:
    registry: Registry[int] = Registry("number", package=PACKAGE)
    registry.add("one", 1)

    with pytest.raises(UnknownName) as raised:
        registry["two"]

    assert raised.value.hint == "Known: one"
