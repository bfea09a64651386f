from pathlib import Path

import pytest

from inhouse.testing.encoders import tiny_reranker
from inhouse.training.explain import NotExplainable, explain
from inhouse.training.networks.open import open_network
from inhouse.training.versions.explain import Explainer, NotExplained
from inhouse.training.versions.imports import import_directory


def test_the_weights_add_up_to_what_the_text_changes(artifact: Path):
    found = explain(open_network(artifact), "please reset my password")

    assert found.label == "password"
    assert sum(token.weight for token in found.tokens) == pytest.approx(found.logit - found.baseline, abs=1e-4)
    assert abs(found.gap) < 1e-4


def test_tokens_lie_in_the_text_and_the_telling_ones_weigh_most(artifact: Path):
    text = "please reset my password"

    tokens = explain(open_network(artifact), text).tokens

    assert all(text[token.start : token.end] == token.text for token in tokens)
    weight = {word: sum(t.weight for t in tokens if start <= t.start < start + len(word)) for word, start in PLACES}
    assert max(weight, key=weight.__getitem__) == "password"


PLACES = [("please", 0), ("reset", 7), ("my", 13), ("password", 16)]


def test_another_label_can_be_asked_for(artifact: Path):
    opened = open_network(artifact)

    found = explain(opened, "please reset my password", label="printer")

    assert found.label == "printer"
    assert found.score < 0.5
    with pytest.raises(NotExplainable, match="'weather'"):
        explain(opened, "please", label="weather")


def test_the_path_through_an_encoder_leaves_hardly_anything_over(tmp_path: Path):
    import_directory(tiny_reranker(tmp_path / "base", labels=3), tmp_path / "artifact", kind="classify", lineage={})

    found = explain(open_network(tmp_path / "artifact"), "how many days leave")

    total = sum(token.weight for token in found.tokens)
    assert total + found.gap == pytest.approx(found.logit - found.baseline, abs=1e-6)
    assert abs(found.gap) <= 0.005 * max(1.0, abs(found.logit - found.baseline))
    assert [token.text for token in found.tokens] == ["how", "many", "days", "leave"]


@pytest.mark.slow
def test_a_process_beside_the_server_explains_and_survives_bad_questions(artifact: Path, tmp_path: Path):
    explainer = Explainer()
    try:
        with pytest.raises(NotExplained, match="'weather'"):
            explainer.explain(artifact, "please", label="weather")
        with pytest.raises(NotExplained):
            explainer.explain(tmp_path, "please")
        found = explainer.explain(artifact, "打印机卡纸")
    finally:
        explainer.close()

    assert found["label"] == "printer"
    assert [token["text"] for token in found["tokens"]][-1] == "纸"
