from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from inhouse.serving.lm.checkpoint import Kind, open_checkpoint
from inhouse.serving.lm.piece import ContextLengthExceeded
from inhouse.serving.lm.request import BadParameter
from inhouse.serving.lm.reranker import NotAReranker, RerankerModel
from inhouse.serving.lm.runtime import Plan
from inhouse.serving.lm.runtimes.transformers import TransformersRuntime
from inhouse.testing.encoders import tiny_reranker

DOCUMENTS = ["the vpn", "30 days of leave", "reset my password", "年 假"]
Open = Callable[[Path], RerankerModel]


@pytest.fixture
async def open_reranker() -> AsyncIterator[Open]:
    opened: list[RerankerModel] = []

    def open_reranker(directory: Path) -> RerankerModel:
        checkpoint = open_checkpoint(directory)
        assert checkpoint.kind() is Kind.RERANK
        opened.append(TransformersRuntime().load(Plan("reranker", checkpoint, Kind.RERANK)))
        return opened[-1]

    yield open_reranker
    for reranker in opened:
        await reranker.close()


async def test_scores_are_those_of_the_network_alone(open_reranker: Open, tmp_path: Path):
    directory = tiny_reranker(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(directory)
    network = AutoModelForSequenceClassification.from_pretrained(directory).eval()

    scores, tokens = await open_reranker(directory).rank("how many days", DOCUMENTS)

    pairs = [tokenizer("how many days", document, return_tensors="pt") for document in DOCUMENTS]
    with torch.inference_mode():
        expected = [torch.sigmoid(network(**pair).logits[0, 0]).item() for pair in pairs]
    assert scores == pytest.approx(expected, abs=1e-5)
    assert tokens == sum(pair["input_ids"].shape[1] for pair in pairs)
    assert max(scores) - min(scores) > 0.01


async def test_a_long_document_is_read_to_where_the_context_ends(open_reranker: Open, tmp_path: Path):
    reranker = open_reranker(tiny_reranker(tmp_path / "model"))

    scores, tokens = await reranker.rank("vpn", ["days " * 1000, "days " * 29])

    assert scores[0] == pytest.approx(scores[1])
    assert tokens == 64


async def test_what_cannot_be_ranked_is_refused(open_reranker: Open, tmp_path: Path):
    reranker = open_reranker(tiny_reranker(tmp_path / "model"))

    with pytest.raises(BadParameter):
        await reranker.rank("vpn", [])
    with pytest.raises(ContextLengthExceeded):
        await reranker.rank("vpn " * 30, ["days"])


def test_a_classifier_is_no_reranker(open_reranker: Open, tmp_path: Path):
    directory = tiny_reranker(tmp_path / "model", labels=3)

    with pytest.raises(NotAReranker, match="3 scores"):
        open_reranker(directory)
