import time

import pytest

from inhouse.core.errors import InhouseError
from inhouse.workflow.jinja import TemplateForbidden, TemplateInvalid, TemplateTooHeavy, render_jinja

BIG = "'a' * 100000"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("Hello {{ name }}!", "Hello Ann!"),
        ("{% for item in items %}{{ loop.index }}:{{ item }} {% endfor %}", "1:x 2:y "),
        ("{{ items | join(', ') }}", "x, y"),
        ("{{ items | map('upper') | join }}", "XY"),
        ("{{ name ~ 1 ~ name }}", "Ann1Ann"),
        ("{{ table.get('a', {}).b }}", "1"),
        ("{{ name | replace('n', 'm') }}", "Amm"),
        ("{{ [1, 2, 3] | sum }} {{ (2.345 | round(1)) * 2 }}", "6 4.6"),
        ("{{ [1, 2] | tojson }}", "[1, 2]"),
        ("{% macro twice(x) %}{{ x }}{{ x }}{% endmacro %}{{ twice('ab') }}", "abab"),
        ("{% set n = namespace(i=0) %}{% for _ in range(3) %}{% set n.i = n.i + 1 %}{% endfor %}{{ n.i }}", "3"),
        ("{{ missing }}{{ missing | default('none') }}", "none"),
        ("{{ 'yes' if items and name.startswith('A') else 'no' }}", "yes"),
        ("{{ '{{ name }}' }}", "{{ name }}"),
    ],
)
def test_ordinary_templates_work(source: str, text: str) -> None:
    assert render_jinja(source, {"name": "Ann", "items": ["x", "y"], "table": {"a": {"b": 1}}}) == text


def test_values_are_never_read_as_templates() -> None:
    assert render_jinja("{{ x }}", {"x": "{{ 7 * 7 }}{% if %}"}) == "{{ 7 * 7 }}{% if %}"


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('id') }}",
        "{{ ''|attr('__class__') }}",
        "{{ ''['__class__'] ~ ''['__class__'].__mro__ }}",
        "{{ [].append(1) }}",
        "{{ self._TemplateReference__context.environment }}",
        "{{ range.__self__.open('/etc/passwd') }}",
        "{{ lipsum(n=10**9) }}",
        "{{ '%s' | format(1) }}",
        "{{ '%999999999d' % 1 }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ '{:>9999999999}'.format(1) }}",
        "{{ 'a'.ljust(10 ** 10) }}",
        "{{ dict.fromkeys(range(9)) }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{{ ''.encode().decode() }}",
        "{{ x.__init__.__globals__ }}",
    ],
)
def test_the_way_out_of_the_sandbox_is_shut(source: str) -> None:
    with pytest.raises((TemplateInvalid, TemplateForbidden)):
        render_jinja(source, {"x": {}})


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a' * 10 ** 10 }}",
        "{{ 2 ** 99999999999 }}",
        "{{ range(10 ** 12) | list }}",
        "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
        "{% set n = namespace(x='aa') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{% set n = namespace(x='aa') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{% set n = namespace(x='aa') %}{% for i in range(99) %}{% set n.x %}{{ n.x * 2 }}{% endset %}{% endfor %}",
        "{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x=1) %}{% for i in range(99) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x|tojson }}",
        "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(50) }}",
        f"{{{{ ({BIG}) | replace('a', {BIG}) | length }}}}",
        f"{{{{ ([{BIG}] * 1000) | join | length }}}}",
        f"{{{{ range(9999) | map('replace', '1', {BIG}) | list | length }}}}",
        f"{{% set s = {BIG} %}}{{% for i in range(9999) %}}{{{{ s }}}}{{% endfor %}}",
        "{% for i in range(9999) %}" + "x" * 10_000 + "{% endfor %}",
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "x" * 100_000,
    ],
)
def test_bombs_end_early_and_small(source: str) -> None:
    started = time.thread_time()

    with pytest.raises(TemplateTooHeavy):
        render_jinja(source, {})

    assert time.thread_time() - started < 2


@pytest.mark.parametrize(
    "source", ["{% if", "{{ 1 / 0 }}", "{{ x.y.z }}", "{{ 1 + 'a' }}", "{{ 'a' | nothing }}", "{{ f() }}"]
)
def test_a_faulty_template_says_what_is_wrong(source: str) -> None:
    with pytest.raises(TemplateInvalid, match="template"):
        render_jinja(source, {})


def test_every_failure_is_one_of_ours() -> None:
    with pytest.raises(InhouseError):
        render_jinja("{{ [1, 'a'] | sort }}", {})
