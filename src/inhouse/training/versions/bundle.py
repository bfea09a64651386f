"""A zip that runs a model where there is neither this platform nor torch."""

import json
import zipfile
from importlib import resources
from io import BytesIO
from pathlib import Path

from inhouse.core.errors import Invalid
from inhouse.models.store import ModelVersion

KINDS = ("classify", "embed", "rerank")
NEEDED = ("model.onnx", "tokenizer.json", "manifest.json")
_REQUIREMENTS = "numpy\nonnxruntime\ntokenizers\n"


class NoBundle(Invalid):
    """This version cannot be bundled."""


def bundle(version: ModelVersion, directory: Path, *, variant: str) -> bytes:
    """Pack network, tokenizer, manifest and the program that runs them."""
    if version.kind not in KINDS:
        raise NoBundle(f"Models of the kind {version.kind!r} have no bundle.", hint="Known: " + ", ".join(KINDS))
    missing = [name for name in NEEDED if not (directory / name).is_file()]
    if missing:
        raise NoBundle(f"{version.reference} has no {missing[0]}.", hint="Take its int8 or onnx variant.")
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in NEEDED[:2]:
            archive.write(directory / name, name)
        manifest = json.loads((directory / NEEDED[2]).read_bytes())
        files = {name: entry for name, entry in manifest["files"].items() if name in NEEDED}
        archive.writestr(NEEDED[2], json.dumps({**manifest, "files": files}, ensure_ascii=False, indent=1))
        archive.writestr("run.py", resources.files("inhouse.training.edge").joinpath("run.py").read_text("utf-8"))
        archive.writestr("requirements.txt", _REQUIREMENTS)
        archive.writestr("README.md", _readme(version, variant))
    return packed.getvalue()


def _readme(version: ModelVersion, variant: str) -> str:
    weights = "8-bit integers" if variant == "int8" else variant or "32-bit numbers"
    return f"""# {version.reference}

A model of the kind `{version.kind}`, weights as {weights}, digest `{version.digest}`.

    python -m venv .venv && .venv/bin/pip install -r requirements.txt
    .venv/bin/python run.py "a text" "another"

Each line of the answer is JSON. The same files run on x86-64 and on ARM (aarch64, Apple silicon): onnxruntime,
tokenizers and numpy have wheels for both. From Python:

    from pathlib import Path
    from run import Model
    Model(Path(".")).predict(["a text"])
"""
