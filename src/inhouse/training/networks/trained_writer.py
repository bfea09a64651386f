"""A model that `generate` trained, as a writer of other wordings."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peft import PeftModel

from inhouse.training.networks.causal import longest_for, open_causal
from inhouse.training.networks.lora import check_adapter
from inhouse.training.networks.quiet import quiet
from inhouse.training.networks.tokens import Reader
from inhouse.training.networks.writing import write
from inhouse.training.paraphrase import INSTRUCTION, asked

TOKENS = 64
AT_ONCE = 32


class TrainedWriter:
    """Opens a version of the kind `chat`, or one of the kind `adapter` beside its base."""

    def __init__(self, version: Path, *, base: Path | None = None, temperature: float = 1.0, seed: int = 0) -> None:
        settings = json.loads((version / "manifest.json").read_bytes())["settings"]
        directory = base or version
        model = open_causal(directory)
        self._reader = Reader(
            directory, max_length=longest_for(model, 1024), template=settings.get("chat_template", "own")
        )
        self._model: Any = model
        if base:
            check_adapter(version, base)
            with quiet():
                self._model = PeftModel.from_pretrained(model, str(version)).merge_and_unload()
        self._instruction: str = settings.get("instruction", INSTRUCTION)
        self._temperature = temperature
        self._seed = seed

    def write(self, questions: Sequence[str], count: int) -> list[list[str]]:
        """So many wordings of each question."""
        talks = [asked(question, self._instruction) for question in questions for _ in range(count)]
        answers: list[str] = []
        for start in range(0, len(talks), AT_ONCE):
            chance = {"temperature": self._temperature, "seed": self._seed + start}
            answers += write(self._model, self._reader, talks[start : start + AT_ONCE], tokens=TOKENS, **chance)
        return [answers[start : start + count] for start in range(0, len(answers), count)]
