import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from inhouse.models.language.pooling import UnsupportedEncoder
from inhouse.serving.batcher import TooManyTexts
from inhouse.serving.lm.checkpoint import Kind, open_checkpoint
from inhouse.serving.lm.encoder import EncoderModel
from inhouse.serving.lm.piece import ContextLengthExceeded
from inhouse.serving.lm.request import BadParameter
from inhouse.serving.lm.runtime import Plan
from inhouse.serving.lm.runtimes.transformers import TransformersRuntime
from inhouse.testing.encoders import tiny_encoder

MINILM = os.environ.get("INHOUSE_TEST_MINILM", "")
Open = Callable[[Path], EncoderModel]


@pytest.fixture
async def open_encoder() -> AsyncIterator[Open]:
    opened: list[EncoderModel] = []

    def open_encoder(directory: Path) -> EncoderModel:
        checkpoint = open_checkpoint(directory)
        assert checkpoint.kind() is Kind.EMBEDDING
        opened.append(TransformersRuntime().load(Plan("encoder", checkpoint, Kind.EMBEDDING)))
        return opened[-1]

    yield open_encoder
    for encoder in opened:
        await encoder.close()


def by_hand(directory: Path, text: str, pooling: str) -> np.ndarray:
    """The vector of one text as transformers alone gives it."""
    inputs = AutoTokenizer.from_pretrained(directory)(text, return_tensors="pt")
    inputs.pop("token_type_ids", None)
    with torch.inference_mode():
        states = AutoModel.from_pretrained(directory).eval()(**inputs).last_hidden_state[0]
    vector = {"mean_tokens": states.mean(0), "cls_token": states[0], "lasttoken": states[-1]}[pooling]
    return (vector / vector.norm()).numpy()


@pytest.mark.parametrize("pooling", ["mean_tokens", "cls_token", "lasttoken"])
async def test_vectors_are_those_of_the_network_alone(open_encoder: Open, tmp_path: Path, pooling: str):
    directory = tiny_encoder(tmp_path / "model", pooling=pooling)
    texts = ["how many days", "reset my password of the vpn", "年 假"]

    vectors, tokens = await open_encoder(directory).embed(texts)

    expected = np.stack([by_hand(directory, text, pooling) for text in texts])
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert (vectors.dtype, tokens) == (np.float32, 5 + 8 + 4)


async def test_a_plain_encoder_takes_the_mean(open_encoder: Open, tmp_path: Path):
    directory = tiny_encoder(tmp_path / "model")

    vectors, _ = await open_encoder(directory).embed(["how many days"])

    np.testing.assert_allclose(vectors[0], by_hand(directory, "how many days", "mean_tokens"), atol=1e-5)


async def test_fewer_dimensions_are_the_first_ones_at_length_one(open_encoder: Open, tmp_path: Path):
    encoder = open_encoder(tiny_encoder(tmp_path / "model"))

    whole, _ = await encoder.embed(["how many days"])
    short, _ = await encoder.embed(["how many days"], dimensions=4)

    assert short.shape == (1, 4)
    np.testing.assert_allclose(np.linalg.norm(short), 1, atol=1e-6)
    np.testing.assert_allclose(short[0] / short[0, 0], whole[0, :4] / whole[0, 0], rtol=1e-4)


async def test_ids_are_read_as_they_are(open_encoder: Open, tmp_path: Path):
    encoder = open_encoder(tiny_encoder(tmp_path / "model"))

    text, tokens = await encoder.embed(["the leave"])
    ids, same = await encoder.embed([[2, 4, 6, 3]])

    np.testing.assert_allclose(text, ids, atol=1e-6)
    assert tokens == same == 4


async def test_many_callers_share_batches_and_get_their_own_rows(open_encoder: Open, tmp_path: Path):
    encoder = open_encoder(tiny_encoder(tmp_path / "model"))
    texts = [" ".join(["leave", "vpn", "days"][: 1 + number % 3]) for number in range(30)]

    answers = await asyncio.gather(*(encoder.embed([text]) for text in texts))
    alone, _ = await encoder.embed(texts)

    np.testing.assert_allclose(np.concatenate([rows for rows, _ in answers]), alone, atol=1e-5)


async def test_what_cannot_be_embedded_is_refused(open_encoder: Open, tmp_path: Path):
    encoder = open_encoder(tiny_encoder(tmp_path / "model"))

    with pytest.raises(ContextLengthExceeded) as too_long:
        await encoder.embed(["vpn " * 31])
    assert too_long.value.details["param"] == "input"
    for texts in ([], [[]], [[99]], [[-1]]):
        with pytest.raises(BadParameter):
            await encoder.embed(texts)
    for dimensions in (0, 17):
        with pytest.raises(BadParameter, match="16 dimensions"):
            await encoder.embed(["vpn"], dimensions=dimensions)
    with pytest.raises(TooManyTexts):
        await encoder.embed(["vpn"] * 2049)


async def test_a_huge_text_is_refused_without_reading_all_of_it(open_encoder: Open, tmp_path: Path):
    encoder = open_encoder(tiny_encoder(tmp_path / "model"))

    with pytest.raises(ContextLengthExceeded):
        await encoder.embed(["vpn " * 1_000_000])


@pytest.mark.parametrize("pooling", ["max_tokens", "weightedmean_tokens"])
def test_an_unknown_pooling_is_refused(open_encoder: Open, tmp_path: Path, pooling: str):
    directory = tiny_encoder(tmp_path / "model", pooling=pooling)

    with pytest.raises(UnsupportedEncoder, match=pooling):
        open_encoder(directory)


def test_an_unknown_layer_is_refused(open_encoder: Open, tmp_path: Path):
    directory = tiny_encoder(tmp_path / "model", pooling="mean_tokens")
    (directory / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Dense"}]))

    with pytest.raises(UnsupportedEncoder, match="'Dense'"):
        open_encoder(directory)


@pytest.mark.skipif(not MINILM, reason="INHOUSE_TEST_MINILM names no directory with all-MiniLM-L6-v2")
async def test_a_real_encoder_tells_what_belongs_together(open_encoder: Open):
    encoder = open_encoder(Path(MINILM))

    vectors, _ = await encoder.embed(
        ["How many days of leave do I have?", "What is my annual holiday allowance?", "My VPN does not connect."]
    )

    alike, unlike = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert alike > unlike + 0.2
    np.testing.assert_allclose(
        vectors[0], by_hand(Path(MINILM), "How many days of leave do I have?", "mean_tokens"), atol=1e-4
    )
