"""A directory in the layout of Hugging Face becomes a version that can be served, measured and released."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inhouse.core.errors import Invalid
from inhouse.core.ids import now
from inhouse.models.spans import tags_of
from inhouse.training.export import FORMAT, write_artifact
from inhouse.training.networks.bases import resolve_base
from inhouse.training.sealed import digest, draft, seal

KINDS = ("classify", "tag", "embed", "rerank", "chat")
_COPIED = (".safetensors", ".json", ".txt", ".model", ".jinja")
_SAMPLES = ["Hello there.", "How many days of leave do I have left this year?", "我还有几天年假？", "x " * 200]
_PAIRS = [(text, other) for text in _SAMPLES for other in _SAMPLES[:2]]
_MAX_LENGTH = 512
_SIGNATURES = {
    "classify": {"inputs": {"text": "string"}, "outputs": {"label": "string", "scores": "map"}},
    "tag": {"inputs": {"text": "string"}, "outputs": {"spans": "list"}},
    "rerank": {"inputs": {"text": "string", "other": "string"}, "outputs": {"score": "number"}},
    "embed": {"inputs": {"text": "string"}, "outputs": {"vector": "list"}},
    "chat": {"inputs": {"messages": "list"}, "outputs": {"message": "object"}},
}


class KindUnclear(Invalid):
    """The directory does not say what its model is for."""


class NotImported(Invalid):
    """The directory cannot become a version of that kind."""


def import_directory(source: Path, directory: Path, *, kind: str, lineage: Mapping[str, Any]) -> dict[str, Any]:
    """Write an artifact from a model directory; return its kind and lineage. Nothing in it is ever run."""
    source = resolve_base(source)
    config = _config(source)
    kind = kind or kind_of(source, config)
    if kind not in KINDS:
        raise NotImported(f"There is no kind {kind!r} to import.", hint="Known: " + ", ".join(KINDS))
    weights = {path.name: digest(path) for path in sorted(source.glob("*.safetensors"))}
    lineage = {**lineage, "base": source.name, "base_digest": weights}
    if kind == "chat":
        _copy(source, directory, config, lineage)
    elif kind == "embed":
        _embed(source, directory, lineage)
    else:
        _headed(source, directory, kind, lineage)
    return {"kind": kind, "lineage": lineage}


def kind_of(source: Path, config: Mapping[str, Any]) -> str:
    """What a model directory is for, as its files say."""
    named = config.get("architectures")
    architecture = str(named[0]) if isinstance(named, list) and named else ""
    if (source / "modules.json").exists() or (source / "1_Pooling").is_dir():
        return "embed"
    if architecture.endswith("ForSequenceClassification"):
        return "rerank" if len(config.get("id2label", {0: 0, 1: 1})) == 1 else "classify"
    for ending, kind in (("ForTokenClassification", "tag"), ("ForCausalLM", "chat"), ("LMHeadModel", "chat")):
        if architecture.endswith(ending):
            return kind
    if architecture.endswith(("Model", "ForMaskedLM")):
        return "embed"
    raise KindUnclear(f"{source.name!r} does not say what its model is for.", hint="Give its kind: " + ", ".join(KINDS))


def _headed(source: Path, directory: Path, kind: str, lineage: Mapping[str, Any]) -> None:
    """An encoder with a head of transformers, exported to ONNX like one that was trained here."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer

    opened: Any = AutoModelForTokenClassification if kind == "tag" else AutoModelForSequenceClassification
    safe = {"local_files_only": True, "trust_remote_code": False}
    try:
        model = opened.from_pretrained(source, dtype=torch.float32, use_safetensors=True, **safe)
        tokenizer = AutoTokenizer.from_pretrained(source, **safe)
    except (OSError, ValueError, KeyError) as error:
        raise NotImported(f"The model in {source.name!r} cannot be loaded: {error}") from error
    if not tokenizer.is_fast:
        raise NotImported(f"{source.name!r} has no tokenizer.json.", hint="Save its fast tokenizer there.")
    names = [model.config.id2label[number] for number in range(model.config.num_labels)]
    labels, settings = _labels(kind, names, model)
    longest = min(
        _MAX_LENGTH, tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", _MAX_LENGTH)
    )
    network = _network(kind, model, tokenizer, settings)
    backend = tokenizer.backend_tokenizer
    backend.enable_truncation(longest)
    backend.enable_padding(pad_id=tokenizer.pad_token_id or 0, pad_token=tokenizer.pad_token or "[PAD]")
    manifest = {
        "kind": kind,
        "created_at": now(),
        "labels": labels,
        "signature": _SIGNATURES[kind],
        "max_length": longest,
        "temperature": 1.0,
        "unknown_threshold": 0.0,
        "settings": {**settings, "inputs": list(network.inputs)},
        "metrics": {},
        "lineage": dict(lineage),
    }
    write_artifact(directory, network, backend, manifest, samples=_PAIRS if kind == "rerank" else _SAMPLES)


def _network(kind: str, model: Any, tokenizer: Any, settings: Mapping[str, Any]) -> Any:
    """The network of ours that reads what this model reads."""
    from inhouse.training.networks.pair_scorer import EncoderPairScorer, SegmentedPairScorer
    from inhouse.training.networks.pretrained import Pretrained
    from inhouse.training.networks.token_tagger import EncoderTagger

    if kind == "tag":
        return EncoderTagger(model, tokenizer, settings["tags"])
    if kind == "classify":
        return Pretrained(model, tokenizer)
    has_segments = "token_type_ids" in tokenizer.model_input_names and getattr(model.config, "type_vocab_size", 0) > 1
    return (SegmentedPairScorer if has_segments else EncoderPairScorer)(model, tokenizer)


def _labels(kind: str, names: list[str], model: Any) -> tuple[list[str], dict[str, Any]]:
    """The labels, and what else of them the manifest is to say."""
    if kind == "rerank":
        return [], {}
    if kind == "classify":
        return names, {"multi_label": model.config.problem_type == "multi_label_classification"}
    labels = sorted({name.partition("-")[2] for name in names if name != "O"})
    tags = tags_of(labels)
    if set(tags) != set(names):
        raise NotImported("The tags of the model are not O and, for each type, B- and I-.", hint=", ".join(names[:20]))
    order = [names.index(tag) for tag in tags]
    head = model.get_submodule("classifier")
    for parameter in head.parameters():
        parameter.data = parameter.data[order].clone()
    return labels, {"tags": tags, "stride": 64}


def _copy(source: Path, directory: Path, config: Mapping[str, Any], lineage: Mapping[str, Any]) -> None:
    """A language model as it is: the runtime of language models reads the same layout."""
    with draft(directory) as partial:
        for path in sorted(source.iterdir()):
            if path.is_file() and path.suffix in _COPIED:
                shutil.copyfile(path, partial / path.name)
        about = {"format": FORMAT, "kind": "chat", "created_at": now(), "labels": [], "signature": _SIGNATURES["chat"]}
        reads = int(config.get("max_position_embeddings", 2048))
        settings = {"chat_template": "own"}
        seal(partial, {**about, "max_length": reads, "settings": settings, "metrics": {}, "lineage": dict(lineage)})


def _embed(source: Path, directory: Path, lineage: Mapping[str, Any]) -> None:
    """An encoder, pooled as its directory says."""
    from inhouse.training.networks.text_encoder import open_encoder

    network, tokenizer = open_encoder(str(source), max_length=_MAX_LENGTH)
    truncation = tokenizer.truncation
    assert truncation is not None
    manifest = {
        "kind": "embed",
        "created_at": now(),
        "labels": [],
        "signature": _SIGNATURES["embed"],
        "max_length": truncation["max_length"],
        "unknown_threshold": 0.0,
        "settings": {"dimensions": network.dimensions, "pooling": network.pooling},
        "metrics": {},
        "lineage": dict(lineage),
    }
    write_artifact(directory, network, tokenizer, manifest, samples=_SAMPLES)


def _config(source: Path) -> dict[str, Any]:
    try:
        config = json.loads((source / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise NotImported(f"config.json of {source.name!r} cannot be read: {error}.") from error
    if not isinstance(config, dict):
        raise NotImported(f"config.json of {source.name!r} is no JSON object.")
    return config
