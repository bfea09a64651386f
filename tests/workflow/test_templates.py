import pytest

from inhouse.workflow.templates import prompt, template
from inhouse.workflow.variables import MISSING, Variables, as_text


def render(text: str, **values: object) -> str:
    variables = Variables()
    variables.put("n", values)
    return template(text).render(variables.find)


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("{{#n.a#}}", "A"),
        ("x{{#n.a#}}y{{#n.a#}}", "xAyA"),
        ("{{#n.o.k#}}", "1"),
        ("{{#n.gone#}} {{#m.a#}}", "n.gone m.a"),
        ("{{ #n.a# }} {{#n#}} {{#n.1a#}} {{# n.a #}}", "{{ #n.a# }} {{#n#}} {{#n.1a#}} {{# n.a #}}"),
        ("{{#n.none#}}|{{#n.yes#}}|{{#n.list#}}", '|True|["ä", 2]'),
        ("{{#context#}}", "{{#context#}}"),
        ("{{#n.photo#}}", "![p.png](http://x/p.png)"),
        ("", ""),
    ],
)
def test_places_are_filled(text: str, rendered: str) -> None:
    photo = {"dify_model_identity": "__dify__file__", "type": "image", "filename": "p.png", "url": "http://x/p.png"}

    assert render(text, a="A", o={"k": 1}, none=None, yes=True, list=["ä", 2], photo=photo) == rendered


def test_a_value_that_looks_like_a_place_stays_as_it_is() -> None:
    assert render("{{#n.a#}}{{#n.b#}}", a="{{#n.secret#}} {{#n", b=".secret#}}", secret="s3cr3t") == (
        "{{#n.secret#}} {{#n.secret#}}"
    )


def test_prompts_know_the_context_place() -> None:
    text = prompt("Use {{#context#}}").render(lambda selector: "sources" if selector == ("context",) else MISSING)

    assert text == "Use sources"


def test_numbers_and_objects_as_text() -> None:
    assert [as_text(value) for value in (1.5, {"a": "中"}, None)] == ["1.5", '{"a": "中"}', ""]
