"""What a language model in training writes: a few samples for the report, many texts for synthetic rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from inhouse.data.examples import Form
from inhouse.training.conversations import Message, conversation_of
from inhouse.training.dataset import Row, Splits
from inhouse.training.networks.quiet import quiet
from inhouse.training.networks.student import Student
from inhouse.training.networks.tokens import Reader


def write_samples(student: Student, splits: Splits, *, count: int, tokens: int) -> list[dict[str, str]]:
    """What the model answers to held-out questions, beside what it should have."""
    asked = [pair for row in splits.test or splits.dev or splits.train for pair in _questions(row, splits.form)][:count]
    answers = write(student.network.model, student.reader, [messages for messages, _ in asked], tokens=tokens)
    shown = zip(asked, answers, strict=True)
    return [
        {"prompt": str(messages[-1].get("content", "")), "expected": expected, "answer": answer}
        for (messages, expected), answer in shown
    ]


def write(
    model: Any,
    reader: Reader,
    conversations: Sequence[Sequence[Message]],
    *,
    tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[str]:
    """An answer to each conversation; the likeliest one at temperature 0."""
    if not conversations:
        return []
    prompts = [reader.vocabulary.encode(reader.prompt(messages)) for messages in conversations]
    room = max(1, reader.max_length - tokens)
    prompts = [ids[-room:] for ids in prompts]
    width = max(map(len, prompts))
    pad = model.generation_config.pad_token_id or 0
    ids = torch.tensor([[pad] * (width - len(one)) + one for one in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in prompts], device=model.device)
    chance = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    with torch.random.fork_rng(devices=[]), torch.inference_mode(), quiet():
        torch.manual_seed(seed)
        written = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=tokens, pad_token_id=pad, **chance)
    return [_text(reader, row[width:].tolist(), _ends(model)) for row in written]


def _questions(row: Row, form: Form) -> list[tuple[list[Message], str]]:
    if form is Form.PREFERENCE:
        return [(row.content["messages"], row.content["chosen"])]
    if form is Form.RATING:
        return [(row.content["messages"], row.content["answer"] if row.content["good"] else "")]
    if form is Form.TEXT and not row.label:
        return []
    messages = conversation_of(row, form)
    last = max(number for number, message in enumerate(messages) if message["role"] == "assistant")
    return [(messages[:last], str(messages[last].get("content", "")))] if last else []


def _text(reader: Reader, ids: Sequence[int], ends: set[int]) -> str:
    end = next((place for place, id in enumerate(ids) if id in ends), len(ids))
    kept = (id for id in ids[:end] if id not in reader.vocabulary.special)
    return b"".join(map(reader.vocabulary.bytes, kept)).decode(errors="replace").strip()


def _ends(model: Any) -> set[int]:
    ends = model.generation_config.eos_token_id
    return set(ends) if isinstance(ends, list) else {ends}
