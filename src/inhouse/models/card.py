"""The card of a model version: what it is, what it learned from, how good it is, and what not to use it for."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from inhouse.models.store import Evaluation, ModelVersion, Variant

_DOES = {
    "classify": "Sorts a text into one of its labels.",
    "tag": "Finds and labels places in a text.",
    "embed": "Turns a text into a vector: texts that mean the same lie close together.",
    "rerank": "Says how well a text answers another.",
    "chat": "Continues a conversation.",
    "adapter": "Changes how a language model answers; it is loaded on top of its base.",
    "tabular": "Predicts a value from named features.",
}
_MADE = (
    ("recipe", "Recipe"),
    ("config", "Settings"),
    ("seed", "Seed"),
    ("base", "Base"),
    ("base_digest", "Digest of the base"),
    ("dataset", "Dataset"),
    ("dataset_digest", "Digest of the dataset"),
    ("source", "Imported from"),
    ("run_id", "Run"),
    ("study_id", "Study"),
    ("code_version", "inhouse"),
    ("machine", "Machine"),
)
_MOST_CLASSES = 200


def card(
    version: ModelVersion,
    *,
    manifest: Mapping[str, Any],
    aliases: Collection[str] = (),
    variants: Sequence[Variant] = (),
    evaluations: Sequence[Evaluation] = (),
) -> str:
    """Write the card as Markdown, from what is on record and nothing else."""
    sections = [
        _head(version, aliases),
        _figures(version.metrics),
        _classes(version.metrics.get("per_class", {})),
        _calibration(version, manifest),
        _evaluations(evaluations),
        _variants(variants),
        _lineage(version.lineage),
        _limits(version, manifest),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _head(version: ModelVersion, aliases: Collection[str]) -> str:
    made = datetime.fromtimestamp(version.created_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    facts = [
        ("Kind", version.kind),
        ("Aliases", ", ".join(sorted(aliases))),
        ("Registered", f"{made} by {version.owner_id}"),
        ("Size", f"{version.size_bytes / 1e6:.1f} MB"),
        ("Digest", f"`{version.digest}`"),
        ("Labels", ", ".join(version.labels)),
    ]
    lines = [f"# {version.reference}", "", _DOES.get(version.kind, "")]
    lines += ["", *(f"- {name}: {value}" for name, value in facts if value)]
    return "\n".join(lines + (["", version.note] if version.note else []))


def _figures(metrics: Mapping[str, Any]) -> str:
    numbers = {name: value for name, value in metrics.items() if _is_number(value)}
    if not numbers:
        return "## Figures\n\nNothing was measured when it was made."
    return "## Figures\n\n" + _table(("Figure", "Value"), ((name, _number(value)) for name, value in numbers.items()))


def _classes(per_class: Mapping[str, Mapping[str, Any]]) -> str:
    if not per_class:
        return ""
    weakest = sorted(per_class.items(), key=lambda item: (item[1].get("f1", 0.0), item[0]))
    shown = (
        (label, *(_number(score.get(name, 0.0)) for name in ("precision", "recall", "f1", "support")))
        for label, score in weakest[:_MOST_CLASSES]
    )
    return "## Per class, weakest first\n\n" + _table(("Class", "Precision", "Recall", "F1", "Rows"), shown)


def _calibration(version: ModelVersion, manifest: Mapping[str, Any]) -> str:
    if version.kind != "classify":
        return ""
    lines = [f"- Temperature: {_number(manifest.get('temperature', 1.0))}"]
    if "ece" in version.metrics:
        lines.append(f"- Expected calibration error: {_number(version.metrics['ece'])} (0 is honest)")
    if thresholds := manifest.get("settings", {}).get("thresholds"):
        lines.append("- Thresholds: " + ", ".join(f"{label} {_number(value)}" for label, value in thresholds.items()))
    else:
        lines.append(f"- Below {_number(manifest.get('unknown_threshold', 0.0))} an answer counts as unknown")
    return "## Calibration\n\n" + "\n".join(lines)


def _evaluations(evaluations: Sequence[Evaluation]) -> str:
    done = [one for one in evaluations if one.status == "ready"]
    if not done:
        return ""
    rows = (
        (
            f"{one.dataset}@v{one.dataset_version} {one.split}",
            ", ".join(f"{name} {_number(value)}" for name, value in one.metrics.items() if _is_number(value)),
        )
        for one in done
    )
    return "## Evaluations\n\n" + _table(("Rows", "Figures"), rows)


def _variants(variants: Sequence[Variant]) -> str:
    if not variants:
        return ""
    rows = ((one.name, _variant_state(one), *(_cell(one.figures.get(name)) for name in _MEASURED)) for one in variants)
    return "## Variants, as measured\n\n" + _table(("Variant", "State", *_MEASURED.values()), rows)


_MEASURED = {
    "accuracy": "Accuracy",
    "agreement": "Agreement",
    "cpu_ms": "CPU ms a text",
    "memory_mb": "Memory, MB",
    "size_mb": "Size, MB",
}


def _variant_state(variant: Variant) -> str:
    return f"{variant.status}: {variant.reason}" if variant.reason else variant.status


def _lineage(lineage: Mapping[str, Any]) -> str:
    made = [(title, lineage[name]) for name, title in _MADE if lineage.get(name) not in (None, "", {})]
    if not made:
        return ""
    return "## Lineage\n\n" + "\n".join(f"- {title}: {_cell(value)}" for title, value in made)


def _limits(version: ModelVersion, manifest: Mapping[str, Any]) -> str:
    limits = []
    if version.kind != "tabular" and (longest := manifest.get("max_length")):
        limits.append(f"It reads at most {longest} tokens of a text.")
    if version.kind == "classify":
        limits.append("It knows these labels and no others; what fits none of them is to come out as unknown.")
    per_class = version.metrics.get("per_class", {})
    if weak := sorted(label for label, score in per_class.items() if score.get("support") and score["f1"] < 0.5):
        limits.append(f"It is more often wrong than right on: {', '.join(weak)}.")
    if thin := sorted(label for label, score in per_class.items() if 0 < score.get("support", 0) < 5):
        limits.append(f"Judged on fewer than five rows, so hardly known: {', '.join(thin)}.")
    if not version.metrics:
        limits.append("It was never measured here.")
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits) if limits else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if _is_number(value):
        return _number(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_cell(item)}" for name, item in value.items())
    return str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
