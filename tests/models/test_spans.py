"""From scores to spans: what is decoded makes sense, is the likeliest, and lies where it should in long texts."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing

from inhouse.models.spans import Span, SpanFinder, Tensors, decode, moves_of, tags_of, windows_of

VOCABULARY = {token: number for number, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abxy "])}


def scores(tokens: int, labels: int) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float64, (tokens, 2 * labels + 1), elements=st.floats(-50, 50))


@given(st.lists(st.integers(0, 30).flatmap(lambda tokens: scores(tokens, 3)), min_size=1, max_size=4))
def test_an_inside_tag_only_ever_goes_on_with_what_was_begun(texts: list[np.ndarray]):
    tags = tags_of(["a", "b", "c"])

    paths = decode(texts, moves_of(3))

    assert [len(path) for path in paths] == [len(text) for text in texts]
    for path in paths:
        named = ["O", *(tags[tag] for tag in path)]
        for before, tag in pairwise(named):
            assert not tag.startswith("I-") or before in (f"B-{tag[2:]}", tag)


@given(scores(4, 2), arrays(np.float64, (5, 5), elements=st.floats(-5, 5)))
def test_the_decoded_tags_are_the_likeliest_of_all(text: np.ndarray, learned: np.ndarray):
    moves = moves_of(2) + learned

    def worth(path: tuple[int, ...]) -> float:
        steps = zip((0, *path), path, strict=False)
        return sum(moves[before, tag] for before, tag in steps) + sum(text[np.arange(4), path])

    [path] = decode([text], moves)

    assert worth(tuple(path.tolist())) == pytest.approx(max(map(worth, product(range(5), repeat=4))))


def test_texts_decoded_together_get_the_tags_they_get_alone():
    chance = np.random.default_rng(0)
    texts = [chance.normal(size=(length, 7)) for length in (0, 1, 9, 40)]
    moves = moves_of(3) + chance.normal(size=(7, 7))

    together = decode(texts, moves)

    assert [path.tolist() for path in together] == [decode([text], moves)[0].tolist() for text in texts]


def characters() -> Tokenizer:
    tokenizer = Tokenizer(WordLevel(VOCABULARY, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return tokenizer


def finder(*, max_length: int = 8, stride: int = 2, temperature: float = 1.0) -> SpanFinder:
    """Marks every run of a's and b's: `a` begins, `b` goes on."""

    def run(tensors: Tensors) -> np.ndarray:
        ids = tensors["input_ids"]
        said = np.where(ids == VOCABULARY["a"], 1, np.where(ids == VOCABULARY["b"], 2, 0))
        return 4.0 * np.eye(3, dtype=np.float32)[said]

    return SpanFinder(characters(), ["run"], run, max_length=max_length, stride=stride, temperature=temperature)


def places(text: str, **settings: int) -> list[tuple[int, int]]:
    return [(span.start, span.end) for span in finder(**settings).find([text])[0]]


def test_spans_have_places_in_the_text_and_say_how_sure_they_are():
    [[first, second, third]] = finder().find(["xab yaab"])

    assert (first.start, first.end, first.label) == (1, 3, "run")
    assert [(second.start, second.end), (third.start, third.end)] == [(5, 6), (6, 8)]
    assert first.score == pytest.approx((np.exp(4) + 1) / (np.exp(4) + 2))
    assert first.wire("xab yaab")["text"] == "ab"


@pytest.mark.parametrize(("max_length", "stride"), [(8, 0), (8, 2), (9, 3), (12, 5), (400, 10)])
def test_windows_change_nothing_about_where_a_long_text_is_marked(max_length: int, stride: int):
    text = "xx" + "abbbbbbbbbbb yy " * 7 + "ab"

    assert places(text, max_length=max_length, stride=stride) == [
        (at, at + (12 if at < 110 else 2)) for at in range(2, 116, 16)
    ]


@given(st.text("abx ", max_size=60), st.integers(6, 20))
def test_any_text_is_marked_in_windows_as_in_one_piece(text: str, max_length: int):
    assert places(text, max_length=max_length, stride=1) == places(text, max_length=1000)


def test_where_windows_disagree_the_one_that_sees_more_around_the_token_decides():
    def run(tensors: Tensors) -> np.ndarray:
        """Says `B` at the edges of what it sees, surely, and nothing at all elsewhere, half as surely."""
        length = tensors["attention_mask"].sum(1) - 2
        said = np.zeros((*tensors["input_ids"].shape, 3))
        said[:, :, 0] = 2.0
        for row, last in zip(said, length, strict=True):
            row[[1, last], 1] = 3.0
        return said

    blinkered = SpanFinder(characters(), ["run"], run, max_length=10, stride=4)

    assert [(span.start, span.end) for span in blinkered.find(["x" * 20])[0]] == [(0, 1), (19, 20)]


def test_every_token_of_a_text_lies_in_some_window_at_its_place():
    tokenizer = characters()
    tokenizer.enable_truncation(7, stride=2)

    windows = windows_of(tokenizer.encode("abxy ab xyxy"), 2)

    assert [(window.first, window.last) for window in windows] == [(0, 5), (3, 8), (6, 11), (9, 12)]
    assert windows[1].encoding.offsets[windows[1].own] == [(3, 4), (4, 5), (5, 6), (6, 7), (7, 8)]


def test_nothing_is_found_in_nothing():
    assert finder().find(["", " ", "ab", ""]) == [[], [], [Span(0, 2, "run", pytest.approx(0.98, abs=0.02))], []]
    assert finder().find([]) == []


def test_a_higher_temperature_lowers_the_scores_and_moves_no_span():
    [[sharp]], [[soft]] = finder().find(["xab"]), finder(temperature=4.0).find(["xab"])

    assert (sharp.start, sharp.end) == (soft.start, soft.end)
    assert sharp.score > soft.score
