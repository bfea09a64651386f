import json
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from inhouse.core.principal import Principal
from inhouse.models.registry import ModelRegistry
from inhouse.training.versions.bundle import bundle

ALONE = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "inhouse"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
import runpy
runpy.run_path("run.py", run_name="__main__")
"""


def test_a_bundle_answers_where_there_is_neither_torch_nor_the_platform(
    registry: ModelRegistry, principal: Principal, artifact: Path, tmp_path: Path
):
    version = registry.get(principal, "intent", 1)
    with zipfile.ZipFile(BytesIO(bundle(version, artifact, variant=""))) as archive:
        archive.extractall(tmp_path)

    command = [sys.executable, "-I", "-c", ALONE, "forgot the password", "打印机卡纸"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, text=True, env={})

    answers = [json.loads(line)["scores"] for line in done.stdout.splitlines()]
    assert [max(scores, key=scores.__getitem__) for scores in answers] == ["password", "printer"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix in (".md", ".py", ".txt", ".onnx")) == [
        "README.md",
        "model.onnx",
        "requirements.txt",
        "run.py",
    ]


def test_the_runner_stays_small():
    source = Path(sys.modules["inhouse.training.versions.bundle"].__file__ or "").parents[1] / "edge" / "run.py"

    code = [line for line in source.read_text().splitlines() if line.strip()]

    assert len(code) < 60


@pytest.mark.parametrize("missing", ["model.onnx", "tokenizer.json"])
def test_a_variant_without_a_network_for_the_edge_is_refused(
    registry: ModelRegistry, principal: Principal, tmp_path: Path, missing: str
):
    from inhouse.training.versions.bundle import NEEDED, NoBundle

    for name in set(NEEDED) - {missing}:
        (tmp_path / name).write_bytes(b"{}")

    with pytest.raises(NoBundle, match=missing):
        bundle(registry.get(principal, "intent", 1), tmp_path, variant="bf16")
