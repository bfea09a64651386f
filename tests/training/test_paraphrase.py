from collections.abc import Sequence

import numpy as np

from inhouse.data.examples import Example, Form
from inhouse.training.dataset import Row
from inhouse.training.paraphrase import paraphrases, rephrasings

WORDS = ("reset", "my", "password", "forgot", "lost", "it", "weather")


def embed(texts: Sequence[str]) -> np.ndarray:
    """Vectors of word counts: texts are alike by the words they share."""
    counts = np.array([[text.lower().split().count(word) for word in WORDS] for text in texts], dtype=float)
    return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)


class Wordings:
    """Writes what it was given."""

    def __init__(self, *wordings: str) -> None:
        self._wordings = list(wordings)

    def write(self, questions: Sequence[str], count: int) -> list[list[str]]:
        return [self._wordings for _ in questions]


def test_only_wordings_within_the_band_are_kept_and_marked_as_synthetic() -> None:
    question = Example("reset my password", "password", split="train")
    writer = Wordings("Reset, my password!", "lost my password", "the weather", "")

    made = list(paraphrases([question], writer, embed, band=(0.5, 0.99)))

    assert [row.text for row in made] == ["lost my password"]
    assert (made[0].source, made[0].label, made[0].split) == ("synthetic:generate", "password", "train")
    assert made[0].meta == {"of": question.id, "similarity": 0.6667}


def test_of_wordings_that_are_alike_only_the_first_is_kept() -> None:
    question = Example("reset my password", split="train")

    made = list(paraphrases([question], Wordings("lost my password", "my password lost"), embed, band=(0.5, 0.99)))

    assert [row.text for row in made] == ["lost my password"]


def test_held_out_questions_are_not_reworded_nor_written_again() -> None:
    held_out, known = Example("lost my password", split="test"), Example("reset my password", split="train")

    made = list(paraphrases([held_out, known], Wordings("Lost my password", "forgot my password"), embed, band=(0, 1)))

    assert [(row.text, row.meta["of"]) for row in made] == [("forgot my password", known.id)]


def test_pairs_that_are_alike_are_learned_both_ways() -> None:
    rows = [
        Row("1", "a b", "", content={"other": "c d", "score": 1.0}),
        Row("2", "x", "", content={"other": "y", "score": 0}),
    ]

    made = rephrasings(rows, Form.PAIR, instruction="Say: {question}", partners=1, seed=0)

    said = [[message["content"] for message in row.content["messages"]] for row in made]
    assert said == [["Say: a b", "c d"], ["Say: c d", "a b"]]


def test_texts_of_one_label_are_turned_into_each_other() -> None:
    rows = [Row(str(number), text, label) for number, (text, label) in enumerate([("a", "x"), ("b", "x"), ("c", "y")])]

    made = rephrasings(rows, Form.TEXT, instruction="{question}", partners=2, seed=0)

    said = {tuple(message["content"] for message in row.content["messages"]) for row in made}
    assert said == {("a", "b"), ("b", "a")}
