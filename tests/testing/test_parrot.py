import json

import pytest

from inhouse.testing import parrot

TREE = {
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 3, "maxLength": 5},
                "kind": {"enum": ["leaf", "branch"]},
                "size": {"type": "integer", "exclusiveMinimum": 2, "maximum": 9},
                "parent": {"anyOf": [{"type": "null"}, {"type": ["string", "null"], "format": "uuid"}]},
                "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
            },
            "required": ["name", "kind", "size", "parent", "children"],
        }
    },
    "$ref": "#/$defs/Node",
}


def ask(question: str, **body: object) -> parrot.Said:
    return parrot.chat({"model": "parrot", "messages": [{"role": "user", "content": question}], **body}, 0)


def tool(name: str, **properties: object) -> dict[str, object]:
    return {"type": "function", "function": {"name": name, "parameters": {"properties": properties}}}


def test_tokens_joined_are_the_text() -> None:
    text = "  two  words\n"

    assert "".join(parrot.tokens(text)) == text


def test_a_value_fits_its_schema_however_deep_the_schema_refers_to_itself() -> None:
    value = parrot.fitting(TREE, "a tree of 7 nodes, called 'linden'")

    assert (value["name"], value["kind"], value["size"]) == ("linde", "leaf", 7)
    assert len(value["children"]) == 1
    assert json.loads(json.dumps(value)) == value


def test_the_same_request_has_the_same_answer_and_another_seed_another() -> None:
    assert ask("hi", seed=1) == ask("hi", seed=1) != ask("hi", seed=2)


@pytest.mark.parametrize(
    ("limits", "text", "reason"),
    [({"max_tokens": 2}, "You said:", "length"), ({"stop": [" That"]}, "You said: hi there", "stop")],
)
def test_an_answer_keeps_to_its_limits(limits: dict[str, object], text: str, reason: str) -> None:
    said = ask("hi there", **limits)

    assert (said.text, said.finish_reason) == (text, reason)


def test_tools_that_the_question_names_are_called_with_what_it_says() -> None:
    tools = [tool("add", a={"type": "integer"}), tool("greet", who={"type": "string"}), tool("other")]

    said = ask("greet 'Ann', then add 3", tools=tools)

    assert said.calls == [("add", '{"a": 3}'), ("greet", '{"who": "Ann"}')]
    assert ask("hi", tools=tools, tool_choice="none").calls == ()


def test_pictures_are_described() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}

    assert parrot.last_question([{"role": "user", "content": [picture]}]) == "[image/png, 4 characters]"
