"""What a variant costs and what it is worth, measured in a process that does nothing else."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inhouse.models.label_scores import SEVERAL
from inhouse.training.dataset import Row
from inhouse.training.sealed import MANIFEST
from inhouse.training.variants import Run, open_variant

MAX_ROWS = 1000
TIMED = 200
BATCH = 32
_WARM = 3


def texts_of(kind: str, rows: Sequence[Row]) -> list[Any]:
    """What a model of this kind reads of each row: its text, or the pair that it is one side of."""
    if kind == "rerank":
        return [(row.text, str(row.content.get("other", ""))) for row in rows]
    return [row.text for row in rows]


def measure(variant: str, directory: Path, rows: Sequence[Row]) -> tuple[dict[str, Any], np.ndarray]:
    """Run a variant over rows: its figures, and what its network said, for comparing it with another."""
    manifest = json.loads((directory / MANIFEST).read_bytes())
    texts = texts_of(manifest["kind"], rows[:MAX_ROWS])
    run = open_variant(variant, directory)
    cpu_ms = _cpu_ms(run, texts[:TIMED])
    outputs = _outputs(run, manifest["kind"], texts)
    figures = {
        "rows": len(texts),
        "cpu_ms": round(cpu_ms, 4),
        "memory_mb": round(_peak_memory_mb(), 1),
        "size_mb": round(sum(file.stat().st_size for file in directory.rglob("*") if file.is_file()) / 1e6, 3),
    }
    accuracy = _accuracy(manifest, rows[:MAX_ROWS], outputs)
    return {**figures, **({} if accuracy is None else {"accuracy": round(accuracy, 6)})}, outputs


def compare(
    kind: str, figures: dict[str, Any], reference: Mapping[str, Any], ours: np.ndarray, theirs: np.ndarray
) -> None:
    """Add to a variant's figures how far it agrees with the reference, and how many points it loses against it."""
    agreement = _agreement(kind, ours, theirs)
    figures["agreement"] = round(agreement, 6)
    if "accuracy" in reference:
        figures["loss"] = round(100 * (reference["accuracy"] - figures["accuracy"]), 3)
    else:
        figures["loss"] = round(100 * (1 - agreement), 3)
    figures["speedup"] = round(reference["cpu_ms"] / max(figures["cpu_ms"], 1e-6), 2)


def _cpu_ms(run: Run, texts: Sequence[Any]) -> float:
    """Milliseconds of one thread for a text that comes alone, tokenizer included."""
    for text in texts[:_WARM]:
        run([text])
    started = time.process_time()
    for text in texts:
        run([text])
    return 1000 * (time.process_time() - started) / max(len(texts), 1)


def _outputs(run: Run, kind: str, texts: Sequence[Any]) -> np.ndarray:
    """One row a text, or the best tag of each of its tokens: texts of a tagger differ in length."""
    if kind == "tag":
        return np.concatenate([run([text])[0].argmax(-1) for text in texts])
    return np.concatenate([run(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)])


def _accuracy(manifest: Mapping[str, Any], rows: Sequence[Row], outputs: np.ndarray) -> float | None:
    """The share of rows whose label comes first; rows with a label that the model does not know say nothing."""
    if manifest["kind"] != "classify" or manifest.get("settings", {}).get(SEVERAL):
        return None
    numbers = {label: number for number, label in enumerate(manifest["labels"])}
    judged = [
        (numbers[row.label], best) for row, best in zip(rows, outputs.argmax(-1), strict=True) if row.label in numbers
    ]
    return float(np.mean([label == best for label, best in judged])) if judged else None


def _agreement(kind: str, ours: np.ndarray, theirs: np.ndarray) -> float:
    """From 0 to 1: the same answer, the same direction of the vector, or the same probability."""
    if kind == "tag":
        return float(np.mean(ours == theirs))
    if kind == "classify":
        return float(np.mean(ours.argmax(-1) == theirs.argmax(-1)))  # of several labels, the likeliest
    if kind == "embed":
        lengths = np.linalg.norm(ours, axis=-1) * np.linalg.norm(theirs, axis=-1)
        return float(np.mean((ours * theirs).sum(-1) / np.maximum(lengths, 1e-12)))
    return float(1 - np.mean(np.abs(_sigmoid(ours) - _sigmoid(theirs))))


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def _peak_memory_mb() -> float:
    """The most that this process ever held. `getrusage` would count the parent that it was forked from."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
