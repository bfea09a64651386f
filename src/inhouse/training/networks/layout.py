"""The files of a language model's directory that are neither weights nor settings."""

import shutil
from pathlib import Path

_BESIDE = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.jinja")
"""What a model needs beside its weights and settings, as it came."""


def copy_beside(source: Path, target: Path) -> None:
    """Copy tokenizer and chat template."""
    for pattern in _BESIDE:
        for file in source.glob(pattern):
            if file.is_file():
                shutil.copyfile(file, target / file.name)
