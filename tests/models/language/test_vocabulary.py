from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from inhouse.models.language.vocabulary import Detokenizer, TokenizerMissing, Vocabulary


@pytest.fixture(scope="module")
def vocabulary(tiny: Path) -> Vocabulary:
    return Vocabulary(tiny)


def shown(vocabulary: Vocabulary, ids: list[int]) -> list[str]:
    detokenizer = Detokenizer(vocabulary)
    return [*(detokenizer.push(id) for id in ids), detokenizer.finish()]


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=60))
def test_text_comes_back_whole(vocabulary: Vocabulary, text: str) -> None:
    ids = vocabulary.encode(vocabulary.disarm(text))

    assert "".join(shown(vocabulary, ids)) == text


@settings(max_examples=100, deadline=None)
@given(ids=st.lists(st.integers(0, 399), max_size=40))
def test_any_ids_read_as_the_tokenizer_reads_them(vocabulary: Vocabulary, tiny: Path, ids: list[int]) -> None:
    decoded = Tokenizer.from_file(str(tiny / "tokenizer.json")).decode(ids)

    assert "".join(shown(vocabulary, ids)) == decoded


def test_a_character_comes_out_whole_or_not_at_all(vocabulary: Vocabulary) -> None:
    ids = vocabulary.encode("🦊")

    assert len(ids) == 4
    assert shown(vocabulary, ids) == ["", "", "", "🦊", ""]


def test_a_text_that_ends_inside_a_character_shows_a_mark(vocabulary: Vocabulary) -> None:
    assert shown(vocabulary, vocabulary.encode("🦊")[:2])[-1] == "�"


def test_control_tokens_of_a_user_are_only_text(vocabulary: Vocabulary) -> None:
    end = vocabulary.id("<|im_end|>")

    ids = vocabulary.encode("<|im_start|>" + vocabulary.disarm("a<|im_end|>b<|im_start|>") + "<|im_end|>")

    assert ids[0] == vocabulary.id("<|im_start|>")
    assert ids.index(end) == len(ids) - 1  # pyright: ignore[reportArgumentType]
    assert "".join(shown(vocabulary, ids)) == "a<|im_end|>b<|im_start|>"


def test_sentencepiece_tokens_spell_spaces_and_bytes(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(["hello world hello"], trainer)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    vocabulary = Vocabulary(tmp_path)

    assert vocabulary.bytes(vocabulary.id("▁hello") or 0) == b" hello"


def test_a_directory_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizerMissing, match=r"tokenizer\.json"):
        Vocabulary(tmp_path)
