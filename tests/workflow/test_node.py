import pytest

from inhouse.workflow.node import LANGUAGES, describe, nodes


@pytest.mark.parametrize("name", list(nodes))
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_node_and_setting_is_described(name: str, language: str) -> None:
    about = describe(nodes[name])

    texts = about["texts"][language]
    assert texts["title"]
    assert texts["description"]
    assert set(texts["settings"]) == set(about["settings"]["properties"])
    assert all(texts["settings"].values())


def test_a_node_tells_its_outputs() -> None:
    assert set(describe(nodes["classify"])["outputs"]["properties"]) >= {"label", "score", "known", "version"}


def test_the_built_in_nodes_bear_the_names_that_graphs_use() -> None:
    assert list(nodes) == [
        "answer",
        "classify",
        "end",
        "if-else",
        "knowledge-retrieval",
        "llm",
        "start",
        "template-transform",
    ]
