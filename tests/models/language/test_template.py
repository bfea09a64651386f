import pytest

from inhouse.models.language.template import CHATML, BrokenTemplate, ChatTemplate, RefusedByTemplate

HELLO = [{"role": "user", "content": "hello"}]
BOMBS = [
    "{{ range(10**9) | list }}",
    "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
    "{% for i in range(9999) %}{{ 'x' * 10000 }}{% endfor %}",
    "{{ 'a' * 10**9 }}",
    "{{ 10 ** 10 ** 10 }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ 'a'.ljust(10**9) }}",
    "{{ messages | tojson(indent=10**9) }}",
    "{{ ('a' * 10000).replace('a', 'b' * 10000) }}",
    "{{ ('a' * 10000) | replace('a', 'b' * 10000) }}",
    "{{ ('a' * 10000).join('b' * 10000) }}",
    "{% set n = namespace(s='a') %}{% for i in range(64) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
    "{% set n = namespace(s='a') %}{% for i in range(64) %}{% set n.s = n.s + n.s %}{% endfor %}",
    "{% set n = namespace(s='a') %}{% for i in range(64) %}{% set n.s %}{{ n.s }}{{ n.s }}{% endset %}{% endfor %}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
]


@pytest.mark.parametrize("source", BOMBS)
def test_a_template_that_never_ends_is_stopped(source: str) -> None:
    with pytest.raises(BrokenTemplate):
        ChatTemplate(source).render(HELLO)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.__init__.__globals__ }}",
        "{{ raise_exception.__globals__.sys }}",
        "{{ messages.append(1) }}",
    ],
)
def test_there_is_no_way_out(source: str) -> None:
    with pytest.raises(BrokenTemplate, match="unsafe"):
        ChatTemplate(source).render(HELLO)


@pytest.mark.parametrize("source", ["{% if %}", "{{ 'a' | center(9) }}", "{{"])
def test_a_template_that_cannot_be_read_says_so(source: str) -> None:
    with pytest.raises(BrokenTemplate, match="cannot be read"):
        ChatTemplate(source)


def test_a_template_may_refuse_messages() -> None:
    template = ChatTemplate("{{ raise_exception('roles must alternate') }}")

    with pytest.raises(RefusedByTemplate, match="roles must alternate"):
        template.render(HELLO)


def test_what_training_marks_is_only_text() -> None:
    template = ChatTemplate("{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}")

    assert template.render(HELLO) == "hello"


def test_loops_know_where_they_are() -> None:
    template = ChatTemplate(
        "{% for m in messages %}{% if not loop.last %}{% continue %}{% endif %}"
        "{{ loop.index }}/{{ loop.length }} {{ m.content ~ '!' }} {{ bos_token }}{% endfor %}",
        bos_token="<s>",
    )

    assert template.render([*HELLO, *HELLO]) == "2/2 hello! <s>"


def test_a_model_without_a_template_gets_a_plain_one() -> None:
    text = ChatTemplate(CHATML).render(HELLO, add_generation_prompt=True)

    assert text == "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"


def test_a_template_works_again_after_it_was_stopped() -> None:
    template = ChatTemplate("{% for i in range(n) %}{{ 'x' * 9000 }}{% endfor %}")
    with pytest.raises(BrokenTemplate):
        template.render(HELLO, n=9000)

    assert template.render(HELLO, n=1) == "x" * 9000


@pytest.mark.parametrize("name", ["messages", "self", "_turns", "range", "bos_token"])
def test_values_never_replace_what_the_template_relies_on(name: str) -> None:
    template = ChatTemplate("{% for i in range(2) %}{{ bos_token ~ messages[0].content }}{% endfor %}", bos_token="<s>")

    assert template.render(HELLO, **{name: "x"}) == "<s>hello<s>hello"
