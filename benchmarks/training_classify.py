"""Measure how fast and how well a classifier is tuned on one thread: speed beside two loops, accuracy on CLINC150.

python benchmarks/training.py --json --data DIR --encoder DIR      is how it is meant to be run

Each measurement is a process of its own (`--one`): speeds in rounds, so that all meet the same noise, and one process
for each seed. Time is processor time. A run's `cpu_s` counts all from the start of its process to the trained weights:
imports, reading, tokenising and the dev rows after each epoch; `cpu_s_whole` also the evaluation and the export.
"""

import argparse
import contextlib
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

from programs import CannotRun, environment, tell

ROUNDS, SEEDS = 2, 3
SAMPLE = 16_000
SECONDS = {"tutorial": 13.0, "trainer": 12.0, "ours": 12.0}
"""Processor time of a contestant in a round, its start not counted."""
STEPS_BEFORE = 3
"""The first steps warm up."""
BATCH = 64
TUTORIAL_BATCH, TUTORIAL_LENGTH = 32, 128
UNKNOWN = "oos"

Rows = list[tuple[str, str]]


class Enough(Exception):
    """The time of a contestant is over."""


def measure(data: Path, encoder: Path, *, rounds: int = ROUNDS, seeds: int = SEEDS) -> dict[str, Any]:
    """Speeds, and the accuracy of the recipe's defaults on CLINC150, the medians of some seeds."""
    with tempfile.TemporaryDirectory() as directory:
        write_splits(Path(directory), clinc(data))
        speeds = measure_speed(Path(directory), encoder, rounds=rounds)
        return {**speeds, **measure_accuracy(Path(directory), encoder, seeds=seeds)}


def measure_speed(splits: Path, encoder: Path, *, rounds: int = ROUNDS) -> dict[str, Any]:
    """Rows learned per second of processor time, and how many times as many ours learns."""
    found: dict[str, list[float]] = {name: [] for name in SECONDS}
    for number in range(rounds):
        for name, rates in found.items():
            rates.append(_in_process(name, splits, encoder)["rows_per_cpu_s"])
            tell(f"round {number + 1}: {name} learns {rates[-1]:.1f} rows per second")
    return {
        "rows_per_cpu_s": {name: round(median(rates), 1) for name, rates in found.items()},
        "speed_vs_tutorial": _times(found["ours"], found["tutorial"]),
        "speed_vs_trainer": _times(found["ours"], found["trainer"]),
    }


def measure_accuracy(splits: Path, encoder: Path, *, seeds: int = SEEDS) -> dict[str, Any]:
    """What runs of the recipe reach, the median of each figure over the seeds. Seeds run side by side, a core each."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        runs = list(pool.map(lambda seed: _in_process("accuracy", splits, encoder, seed=seed), range(seeds)))
    for seed, run in enumerate(runs):
        tell(f"seed {seed}: {run}")
    return {"runs": runs, **{f"clinc_{name}": median(run[name] for run in runs) for name in runs[0]}}


def measure_files(train: Path, test: Path, encoder: Path) -> dict[str, float]:
    """The accuracy of the recipe's defaults on any two CSV files of text and label."""
    with tempfile.TemporaryDirectory() as directory:
        rows, held_out = read_csv(train), read_csv(test)
        random.Random(0).shuffle(rows)
        dev = max(1, len(rows) // 10)
        write_splits(Path(directory), {"train": rows[dev:], "dev": rows[:dev], "test": held_out})
        return _in_process("accuracy", Path(directory), encoder)


def clinc(data: Path) -> dict[str, Rows]:
    """CLINC150 as we train on it: the rows that are out of scope are labelled so, in each split."""
    content: dict[str, list[list[str]]] = json.loads((data / "data_full.json").read_bytes())
    names = {"train": "train", "dev": "val", "test": "test"}
    return {
        split: [(text, label) for text, label in [*content[name], *content[f"{UNKNOWN}_{name}"]]]
        for split, name in names.items()
    }


def read_csv(path: Path) -> Rows:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


def write_splits(directory: Path, splits: Mapping[str, Rows]) -> None:
    for split, rows in splits.items():
        lines = [
            json.dumps({"id": f"{split}-{number}", "text": text, "label": label})
            for number, (text, label) in enumerate(rows)
        ]
        (directory / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")


def tutorial(splits: Path, encoder: Path, clock: "Clock") -> None:
    """What tutorials show: tokens made row by row, padded to a fixed length, float32, all weights."""
    import torch
    from torch.utils.data import DataLoader, Dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    texts, numbers, labels = _sample(splits)
    tokenizer = AutoTokenizer.from_pretrained(encoder)

    class Texts(Dataset[dict[str, torch.Tensor]]):
        def __len__(self) -> int:
            return len(texts)

        def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
            read = tokenizer(
                texts[place],
                padding="max_length",
                truncation=True,
                max_length=TUTORIAL_LENGTH,
                return_tensors="pt",
            )
            return {**{name: tensor[0] for name, tensor in read.items()}, "labels": torch.tensor(numbers[place])}

    network = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=labels)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-5)
    network.train()
    for batch in DataLoader(Texts(), batch_size=TUTORIAL_BATCH, shuffle=True):
        loss = network(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        clock.count(TUTORIAL_BATCH)


def trainer(splits: Path, encoder: Path, clock: "Clock") -> None:
    """Hugging Face's Trainer, configured as well as we could: rows of like length together, bf16, frozen embeddings."""
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    texts, numbers, labels = _sample(splits)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    network = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=labels)
    network.base_model.embeddings.requires_grad_(False)
    read = tokenizer(texts, truncation=True, max_length=TUTORIAL_LENGTH)["input_ids"]
    rows = [{"input_ids": ids, "labels": number} for ids, number in zip(read, numbers, strict=True)]

    class Counting(TrainerCallback):
        def on_step_end(self, *_: object, **__: object) -> None:
            clock.count(BATCH)

    with tempfile.TemporaryDirectory() as directory:
        arguments = TrainingArguments(
            output_dir=directory,
            per_device_train_batch_size=BATCH,
            num_train_epochs=3,
            learning_rate=2e-4,
            train_sampling_strategy="group_by_length",
            bf16=True,
            use_cpu=True,
            optim="adamw_torch_fused",
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        Trainer(
            model=network,
            args=arguments,
            train_dataset=rows,  # pyright: ignore[reportArgumentType]  # a list has all that it asks of a dataset
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=[Counting()],
        ).train()


def ours(splits: Path, encoder: Path, clock: "Clock") -> None:
    """Our recipe in our loop, as it comes, in batches as large as the Trainer's."""
    from inhouse.training.checkpoint import Checkpoints
    from inhouse.training.dataset import Splits, read_splits
    from inhouse.training.loop import Loop
    from inhouse.training.recipe import configure
    from inhouse.training.task import Fit

    rows = read_splits(splits)
    recipe = configure("classify", {"base": str(encoder), "batch_size": BATCH})
    task = recipe.prepare(Splits(_chosen(rows.train), [], []), seed=0)
    assert not isinstance(task, Fit)
    learn = task.collate

    def counted(items: Sequence[Any]) -> Any:
        clock.count(len(items))
        return learn(items)

    task.collate = counted  # every step begins here; the loop reports only some of them
    with tempfile.TemporaryDirectory() as directory:
        checkpoints = Checkpoints(Path(directory))
        loop = Loop(task, checkpoints=checkpoints, checkpoint_every_s=1e9, emit=_nothing, should_stop=lambda: False)
        loop.run()


def accuracy(splits: Path, encoder: Path, seed: int) -> dict[str, float]:
    """One run of the recipe with its defaults, from the rows to the artifact."""
    from inhouse.training.checkpoint import Checkpoints
    from inhouse.training.dataset import read_splits
    from inhouse.training.loop import Loop
    from inhouse.training.recipe import configure
    from inhouse.training.task import Fit

    recipe = configure("classify", {"base": str(encoder)})
    task = recipe.prepare(read_splits(splits), seed=seed)
    with tempfile.TemporaryDirectory() as directory:
        run = Path(directory)
        if isinstance(task, Fit):
            task.fit(emit=_nothing, should_stop=lambda: False)
        else:
            checkpoints = Checkpoints(run / "checkpoints")
            Loop(task, checkpoints=checkpoints, checkpoint_every_s=60, emit=_nothing, should_stop=lambda: False).run()
        trained = time.process_time()
        metrics = task.finish(run / "artifact", lineage={}, emit=_nothing)
    found = {"accuracy": 100 * metrics["accuracy"], "macro_f1": 100 * metrics["macro_f1"], "ece": 100 * metrics["ece"]}
    if outside := metrics.get("oos"):
        found |= {
            "inscope_at_threshold": 100 * outside["in_scope_accuracy_at_threshold"],
            "oos_recall": 100 * outside["recall"],
            "oos_auroc": 100 * outside["auroc"],
        }
    return {name: round(value, 2) for name, value in found.items()} | {
        "cpu_s": round(trained, 1),
        "cpu_s_whole": round(time.process_time(), 1),
    }


class Clock:
    """Counts rows over a stretch of processor time that begins after some steps."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._steps = self._rows = 0
        self._began = 0.0

    def count(self, rows: int) -> None:
        self._steps += 1
        if self._steps <= STEPS_BEFORE:
            self._began = time.process_time()
            return
        self._rows += rows
        if self.took >= self._seconds:
            raise Enough

    @property
    def took(self) -> float:
        return time.process_time() - self._began

    @property
    def rate(self) -> float:
        return self._rows / self.took


CONTESTANTS: dict[str, Callable[[Path, Path, Clock], None]] = {"tutorial": tutorial, "trainer": trainer, "ours": ours}


def _sample(splits: Path) -> tuple[list[str], list[int], int]:
    """Texts, their labels as numbers, and how many labels there are: the rows in scope."""
    from inhouse.training.dataset import read_splits

    rows = [row for row in _chosen(read_splits(splits).train) if row.label != UNKNOWN]
    names = sorted({row.label for row in rows})
    return [row.text for row in rows], [names.index(row.label) for row in rows], len(names)


def _chosen(rows: Sequence[Any]) -> list[Any]:
    """The same rows for all, in no order."""
    return random.Random(0).sample(rows, min(SAMPLE, len(rows)))


def _times(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return round(median(mine / other for mine, other in zip(ours, theirs, strict=True)), 3)


def _nothing(*_: object, **__: object) -> None: ...


def _in_process(contestant: str, splits: Path, encoder: Path, *, seed: int = 0) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", contestant, "--splits", str(splits), "--encoder", str(encoder)]
    alone = {
        **environment(),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    done = subprocess.run([*command, "--seed", str(seed)], env=alone, capture_output=True, text=True)
    if done.returncode:
        raise CannotRun(f"{contestant} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _one(contestant: str, splits: Path, encoder: Path, seed: int) -> dict[str, float]:
    import torch

    torch.set_num_threads(1)
    if contestant == "accuracy":
        return accuracy(splits, encoder, seed)
    torch.manual_seed(seed)
    clock = Clock(SECONDS[contestant])
    with contextlib.suppress(Enough):
        CONTESTANTS[contestant](splits, encoder, clock)
    return {"rows_per_cpu_s": clock.rate}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--one", choices=[*CONTESTANTS, "accuracy"], required=True, help="what to measure, alone")
    options.add_argument("--splits", type=Path, required=True, help="directory with train, dev and test.jsonl")
    options.add_argument("--encoder", type=Path, required=True, help="directory of a Hugging Face encoder")
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    print(json.dumps(_one(chosen.one, chosen.splits, chosen.encoder, chosen.seed)))


if __name__ == "__main__":
    main()
